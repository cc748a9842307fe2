"""The tables of what SGLang's source text accepts: server flags, environment variables, versions asserted at start.

The Python files of one wheel per release are read with ast; nothing of them is imported, run, or written to disk.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import json
import re
import warnings
import zipfile
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sgldoctor.refresh import cache, flags
from sgldoctor.refresh.index import _UNREADABLE, PackageIndexError
from sgldoctor.refresh.sglang import PROJECT, version_of
from sgldoctor.refresh.writing import lined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from packaging.version import Version

    from sgldoctor.refresh.index import IndexFile, PackageIndex

TABLES = ("flags.json", "variables.json", "assertions.json")
SOURCE = f"the package index: the Python files in one wheel of {PROJECT} per release"
READER = "sources-1"
"""Part of the names in the cache: to be raised whenever this module or flags.py reads wheels otherwise."""

_AHEAD = 3  # wheels fetched and not yet read, each of 6 MB at most
_ATTEMPTS = 3
_ASSERTS = b"assert_pkg_version"
_WORTH_READING = re.compile(rb"environ\b|[eE][nN][vV]\w*\(|" + _ASSERTS)
_OF_TESTS = re.compile(r"(?:^|/)(?:tests?/|(?:test_|conftest)[^/]*$)")
_NAME = re.compile(r"[A-Z][A-Z0-9_]+|SGL(?:ANG)?_(?:\w+|\*)")
_FLAG = re.compile(r"\b(?:use|pass|set)\W*?(--[a-z0-9]+(?:-[a-z0-9]+)*)(?![\w{-])", re.IGNORECASE)
_SKIPS = re.compile(r"SGLANG_SKIP_\w*VERSION_CHECK")
_GETS, _SETS = frozenset({"get", "pop", "setdefault", "__getitem__"}), frozenset({"setenv", "delenv", "putenv"})
_HOWS = {"read": "ranges", "set": "sets", "test": "tests"}
"""Who uses a variable, what counts most first, and the name of the field with the releases where it is so."""


def refresh(index: PackageIndex, folder: Path, generated_at: str, kept: Path) -> list[Path]:
    """Write the tables anew and return their paths; an interrupted run leaves the old tables as they were.

    Args:
        index: where the wheels are.
        folder: where the tables go.
        generated_at: the time to write into them.
        kept: a folder for what each wheel said, so that the next run reads new wheels alone.

    Raises:
        PackageIndexError: the index does not answer, or with what cannot be used.
    """
    kept.mkdir(parents=True, exist_ok=True)
    wheels = _wheels(index.files(PROJECT))
    if not wheels:
        raise PackageIndexError(f"the package index lists no wheel of {PROJECT}")
    told = dict(zip(map(str, wheels), _told(index, list(wheels.values()), kept), strict=True))
    paths = []
    for name, rows in zip(TABLES, (_flags(told), _variables(told), _assertions(told)), strict=True):
        path = folder / name
        path.with_suffix(".json.new").write_text(_render(rows, told, generated_at), "utf-8")
        paths.append(path)
    for path in paths:
        path.with_suffix(".json.new").replace(path)
    return paths


def runs(releases: Iterable[str], where: Collection[str], unread: Collection[str] = ()) -> list[list[str]]:
    """Return the first and the last release of each unbroken run; a release not wholly read breaks none."""
    found: list[list[str]] = []
    unbroken = False
    for release in releases:
        if release in where:
            found[-1:] = [[found[-1][0], release]] if unbroken else [*found[-1:], [release, release]]
        unbroken = release in where or (unbroken and release in unread)
    return found


def _wheels(listed: list[IndexFile]) -> dict[Version, IndexFile]:
    """Return one wheel per release, the oldest release first; yanked ones too, as they are installed somewhere."""
    found: dict[Version, IndexFile] = {}
    for file in sorted(listed, key=lambda file: ("x86_64" not in file.name, file.name)):
        if file.name.endswith(".whl") and (version := version_of(file.name)):
            found.setdefault(version, file)
    return {version: found[version] for version in sorted(found)}


def _told(index: PackageIndex, wheels: list[IndexFile], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what each wheel says, from the cache where it stands there; the next ones are fetched meanwhile."""
    kept = {file.name: cache.load(cache.place(folder, file, READER)) for file in wheels}
    wanted, known = deque(file for file in wheels if kept[file.name] is None), dict[bytes, dict[str, Any]]()
    with ThreadPoolExecutor(_AHEAD) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd in the source text
        coming: deque[Future[dict[str, bytes]]] = deque()
        try:
            for file in wheels:
                while wanted and len(coming) < _AHEAD:
                    coming.append(pool.submit(_fetch, index, wanted.popleft()))
                told = kept.pop(file.name)
                if told is None:
                    told = _wheel(file.name, coming.popleft().result(), known)
                    cache.store(cache.place(folder, file, READER), told)
                yield told
        finally:
            for future in coming:
                future.cancel()


def _fetch(index: PackageIndex, file: IndexFile) -> dict[str, bytes]:
    """Return the Python files of a wheel; what else it holds is not unpacked."""
    for attempt in range(_ATTEMPTS):
        try:
            with zipfile.ZipFile(io.BytesIO(index.whole(file))) as archive:
                return {path: archive.read(path) for path in archive.namelist() if path.endswith(".py")}
        except _UNREADABLE as error:
            raise PackageIndexError(f"{file.name} is no readable wheel: {error}") from error
        except PackageIndexError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _wheel(name: str, files: dict[str, bytes], known: dict[bytes, dict[str, Any]]) -> dict[str, Any]:
    """Return what a wheel says; `known` keeps what a file says, as most are the same in the next release."""
    found: dict[str, Any] = {"flags": {}, "variables": {}, "asserted": [], "unread": []}

    def module(path: str) -> ast.Module | None:
        try:
            return ast.parse(files[path]) if path in files else None
        except (SyntaxError, ValueError, RecursionError):  # such as the syntax of a newer Python
            found["unread"] = sorted({*found["unread"], path})
            return None

    for path, text in files.items():
        key = hashlib.sha256(text).digest()
        if key not in known:
            tree = module(path) if _WORTH_READING.search(text) else None
            if path in found["unread"]:
                continue
            known[key] = _said(tree, asserts=_ASSERTS in text) if tree else {}
        test = bool(_OF_TESTS.search(path))
        for variable, row in known[key].get("variables", {}).items():
            before = found["variables"].get(variable, {})
            hows = {*before.get("how", []), *(["test"] if test else row["how"])}
            found["variables"][variable] = {**before, **({} if test else row), "how": sorted(hows)}
        found["asserted"] += [] if test else known[key].get("asserted", [])
    found["flags"] = flags.read(functools.cache(module), files)
    if not found["flags"] and flags.SERVER_ARGS not in found["unread"]:
        raise PackageIndexError(f"{name} tells no flags in {flags.SERVER_ARGS}")
    return found


def _said(tree: ast.Module, *, asserts: bool) -> dict[str, Any]:
    return {"variables": variables(tree), "asserted": asserted(tree) if asserts else []}


def variables(tree: ast.Module) -> dict[str, dict[str, Any]]:
    """Return the environment variables that a file names, how each is used, and what a descriptor says of it."""
    texts: dict[str, ast.expr] = {}
    parameters: dict[str, list[str]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            parameters[statement.name] = [argument.arg for argument in statement.args.args]
        elif (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            texts[statement.targets[0].id] = statement.value
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)

    def note(node: ast.AST | None, how: str = "read", **more: Any) -> None:  # noqa: ANN401 - any constant
        name = texts.get(node.id) if isinstance(node, ast.Name) else node
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and _NAME.fullmatch(name.value):
            row = found[name.value]
            row |= {"how": sorted({how, *row.get("how", [])}), **more}

    for node in ast.walk(tree):
        _use(node, note)
        _declaration(node, note)
        if isinstance(node, ast.Call) and "deprecated_env" in _called(node.func):
            given = dict(zip(parameters.get(_called(node.func), []), node.args, strict=False))
            for name, old in given.items():
                if name.startswith(("old", "env")):
                    note(old, deprecated=True, **_instead(given.get("new_name"), given.get("suggestion")))
    return dict(found)


def _use(node: ast.AST, note: Any) -> None:  # noqa: ANN401 - the function above
    """Note what is read from the environment or written into it, through os or through a function of SGLang's own."""
    match node:
        case ast.Subscript(value=owner, slice=name, ctx=context) if _called(owner) == "environ":
            note(name, "read" if isinstance(context, ast.Load) else "set")
        case ast.Compare(left=name, comparators=[owner]) if _called(owner) == "environ":
            note(name)
        case ast.Call(func=ast.Attribute(value=owner, attr=method), args=[name, *_]) if _called(owner) == "environ":
            for key in name.keys if isinstance(name, ast.Dict) else [name]:
                note(key, "read" if method in _GETS else "set")
        case ast.Call(
            func=ast.Attribute(attr="replace"), args=[ast.Constant(value="SGL_"), ast.Constant(value="SGLANG_"), *_]
        ):
            note(ast.Constant("SGL_*"), deprecated=True, replaced_by="SGLANG_*")  # all variables of this prefix
        case ast.Call(func=function, args=[ast.Name() | ast.Constant() as name, *_]):
            called = _called(function)
            if "env" in called.lower() and not called.startswith("Env"):
                note(name, "set" if called in _SETS or called.startswith("set") else "read")


def _declaration(node: ast.AST, note: Any) -> None:  # noqa: ANN401 - the function above
    """Note descriptors, and dictionaries of old names."""
    match node:
        case ast.ClassDef(body=body):
            for field in body:
                _descriptor(field, note)
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys, values=values)):
            for key, value in zip(keys, values, strict=True) if "deprecated" in name.lower() else ():
                if isinstance(value, ast.Constant):
                    note(key, deprecated=True, **_instead(value, None))
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(value, ast.Call) and _called(value.func) == "_DeprecatedEnv":
                    given: dict[str | None, ast.expr] = {word.arg: word.value for word in value.keywords}
                    new = value.args[0] if value.args else given.get("replacement")
                    note(key, deprecated=True, **_instead(new, given.get("note")))


def _descriptor(field: ast.stmt, note: Any) -> None:  # noqa: ANN401 - the function above
    """Note a field such as ``SGLANG_X = EnvBool(True)``."""
    match field:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=function, args=args, keywords=keywords)):
            if (kind := _called(function)).startswith("Env"):
                note(ast.Constant(name), type=kind[3:].removesuffix("WithAlias").lower(),
                     **_named("default", args[0] if args else None))  # fmt: skip
                for word in keywords:
                    if word.arg == "deprecated_name":
                        note(word.value, deprecated=True, replaced_by=name)


def _instead(new: ast.expr | None, advice: ast.expr | None) -> dict[str, Any]:
    """Return as an entry what to use instead: another variable, or the flag that the advice names."""
    for text in (new, advice):
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            if _NAME.fullmatch(text.value):
                return {"replaced_by": text.value}
            if named := _FLAG.search(text.value):
                return {"replaced_by": named[1]}
    return {}


def _named(key: str, node: ast.expr | None) -> dict[str, Any]:
    """Return an entry for a constant."""
    known = isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str)
    return {key: node.value} if known and isinstance(node, ast.Constant) else {}


def _called(node: ast.AST) -> str:
    """Return the last part of a dotted name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def asserted(tree: ast.Module) -> list[dict[str, Any]]:
    """Return the oldest versions that a file's calls of assert_pkg_version let pass, and under which conditions."""
    found: list[dict[str, Any]] = []

    def walk(node: ast.AST, when: tuple[ast.expr, ...]) -> None:
        if isinstance(node, ast.Call) and _called(node.func) == "assert_pkg_version":
            match node.args:
                case [ast.Constant(value=package), ast.Constant(value=minimum), *_]:
                    found.append({"package": package, "minimum": minimum, "when": [ast.unparse(test) for test in when]})
        for inner in ast.iter_child_nodes(node):
            walk(inner, (*when, node.test) if isinstance(node, ast.If) and inner in node.body else when)

    walk(tree, ())
    return found


def _grouped(told: dict[str, Any], values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return each of the values that there were, with the releases where it was so."""
    unread = {release for release, wheel in told.items() if wheel["unread"]}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for release, value in values.items():
        groups[json.dumps(value)].append(release)
    return [{"ranges": runs(told, where, unread), key: json.loads(value)} for value, where in groups.items()]


def _rows(told: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return for each name what every release says of it."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for release, wheel in told.items():
        for name, row in wheel[kind].items():
            found[name][release] = row
    return {name: found[name] for name in sorted(found)}


def _flags(told: dict[str, Any]) -> dict[str, Any]:
    unread, table = {release for release, wheel in told.items() if wheel["unread"]}, {}
    for name, rows in _rows(told, "flags").items():
        last = list(rows.values())[-1]
        row = {
            "ranges": runs(told, rows, unread),
            **{key: last[key] for key in last if key not in {"choices", "deprecated"}},
        }
        if deprecated := [release for release in rows if rows[release].get("deprecated")]:
            row["deprecated"] = runs(told, deprecated, unread)
        if len(actions := _grouped(told, {release: rows[release]["action"] for release in rows}, "action")) > 1:
            row["actions"] = actions
        if choices := {release: rows[release]["choices"] for release in rows if rows[release].get("choices")}:
            row["choices"] = _grouped(told, choices, "values")
        if row.get("default", "") is None:
            del row["default"]
        table[name] = row
    return {"flags": table}


def _variables(told: dict[str, Any]) -> dict[str, Any]:
    unread, table = {release for release, wheel in told.items() if wheel["unread"]}, {}
    for name, rows in _rows(told, "variables").items():
        row: dict[str, Any] = {}
        rest = set(rows)
        for how, key in _HOWS.items():
            where = {release for release in rest if how in rows[release]["how"]}
            if where or how == "read":
                row[key] = runs(told, where, unread)
            rest -= where
        if deprecated := [release for release in rows if rows[release].get("deprecated")]:
            row["deprecated"] = runs(told, deprecated, unread)
        last = list(rows.values())[-1]
        table[name] = row | {key: last[key] for key in ("type", "default", "replaced_by") if key in last}
    return {"variables": table}


def _assertions(told: dict[str, Any]) -> dict[str, Any]:
    packages: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for release, wheel in told.items():
        for row in wheel["asserted"]:
            packages[row["package"]][release] = [row["minimum"], row["when"]]
    table = {}
    for name in sorted(packages):
        groups = _grouped(told, packages[name], "said")
        table[name] = [{"minimum": row["said"][0], "ranges": row["ranges"], "when": row["said"][1]} for row in groups]
    skips = _variables(told)["variables"]
    return {
        "assertions": table,
        "skipped_by": {name: skips[name]["ranges"] for name in skips if _SKIPS.fullmatch(name)},
    }


def _render(rows: dict[str, Any], told: dict[str, Any], generated_at: str) -> str:
    unread = {release: sorted(wheel["unread"]) for release, wheel in told.items() if wheel["unread"]}
    head = {
        "schema_version": 1,
        "generated_at": generated_at,
        "source": SOURCE,
        "releases": list(told),
        "unread": unread,
    }
    return lined({**head, **rows})
