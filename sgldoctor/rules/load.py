"""Finding the rule files and reading them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sgldoctor.errors import RulesError
from sgldoctor.rules.parse import parse_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sgldoctor.rules.model import Problem

YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_EXAMPLES = "\nexamples:"


@lru_cache(maxsize=1)
def rules_folder() -> Path:
    """Return the folder of the shipped rules: inside an installed package, beside it in a source tree.

    Raises:
        RulesError: this installation holds no rules.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "data" / "rules", package.parent / "rules"):
        if (folder / "problems").is_dir():
            return folder
    raise RulesError([f"{package} holds no rules; install sgldoctor again"])


def load_problems(extra: tuple[Path, ...] = (), *, examples: bool = False) -> tuple[Problem, ...]:
    """Return all problems, sorted by id.

    Args:
        extra: further folders or files, from ``--rules``.
        examples: read the examples too, which only validation needs and which are half of every file.

    Raises:
        RulesError: with every error of every file.
    """
    problems = read_problems((rules_folder() / "problems",), examples=examples)
    if extra:
        problems = _with_extra(problems, extra)
    if errors := consequence_errors(problems):
        raise RulesError(errors)
    return problems


def _with_extra(shipped: tuple[Problem, ...], extra: tuple[Path, ...]) -> tuple[Problem, ...]:
    """Return the shipped problems and those of ``--rules``, which are read whole and proved before use."""
    from sgldoctor.rules.validate import problem_errors  # noqa: PLC0415 - it needs this module

    here = {Path(problem.path).resolve() for problem in shipped}
    added = [p for p in read_problems(extra, examples=True) if Path(p.path).resolve() not in here]
    taken = {problem.id: problem for problem in shipped}
    errors = [
        f"{problem.path}: the id {problem.id!r} is taken by {taken[problem.id].path}"
        for problem in added
        if problem.id in taken
    ]
    errors += [error for problem in added for error in problem_errors(problem)]
    if errors:
        raise RulesError(errors)
    return tuple(sorted((*shipped, *added), key=lambda problem: problem.id))


def read_problems(roots: tuple[Path, ...], *, examples: bool) -> tuple[Problem, ...]:
    """Return the problems below some folders, sorted by id, each well-formed by itself.

    Raises:
        RulesError: with every error of every file.
    """
    problems: dict[str, Problem] = {}
    errors: list[str] = []
    for path in _files(roots, errors):
        problem, found = _read(path, examples=examples)
        errors.extend(found)
        if problem is None:
            continue
        if problem.id in problems:
            errors.append(f"{path}: the id {problem.id!r} is taken by {problems[problem.id].path}")
        problems[problem.id] = problem
    if errors:
        raise RulesError(errors)
    return tuple(sorted(problems.values(), key=lambda problem: problem.id))


def consequence_errors(problems: tuple[Problem, ...]) -> list[str]:
    """Return what is wrong with the graph of consequences: unknown ids and cycles."""
    known = {problem.id: problem for problem in problems}
    errors = [
        f"{problem.path}: consequences: there is no problem {name!r}"
        for problem in problems
        for name in problem.consequences
        if name not in known
    ]
    if errors:
        return errors
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            errors.append(f"{known[name].path}: consequences form a cycle: {' -> '.join((*above, name))}")
        elif name not in done:
            for consequence in known[name].consequences:
                walk(consequence, (*above, name))
            done.add(name)

    for name in known:
        walk(name, ())
    return errors


def rules_digest() -> str:
    """Return the SHA-256 over all shipped rule files, so that a report names what it was judged by."""
    digest = hashlib.sha256()
    folder = rules_folder()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".yaml", ".json"}:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - any YAML value
    """Return the contents of a YAML file.

    Raises:
        RulesError: it cannot be read, or is no YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=YamlLoader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RulesError([f"{path}: {_one_line(error)}"]) from None


def _files(roots: tuple[Path, ...], errors: list[str]) -> Iterator[Path]:
    """Yield each file once, also where one root lies in another."""
    seen: set[Path] = set()
    for root in roots:
        if not root.exists():
            errors.append(f"{root}: no such file or folder")
            continue
        paths = sorted(root.rglob("*.yaml")) if root.is_dir() else [root] if root.is_file() else []
        if not paths:
            errors.append(f"{root}: holds no rules (files named *.yaml)")
        for path in paths:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _read(path: Path, *, examples: bool) -> tuple[Problem | None, list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
        # Examples are the last key of a file; leaving them out halves the time that `check` needs to load.
        document = yaml.load(text if examples else text.partition(_EXAMPLES)[0] + "\n", Loader=YamlLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return None, [f"{path}: {_one_line(error)}"]
    return parse_problem(document, path, examples=examples)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
