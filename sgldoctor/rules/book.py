"""All problems, of which only what a text is compared with is read at once: `explain` answers within a blink.

A shipped rule file is read in whole, with all its checks, when its problem is first asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sgldoctor.errors import RulesError
from sgldoctor.rules.load import YamlLoader, load_problems, read_problems, rules_folder
from sgldoctor.rules.model import Signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sgldoctor.rules.model import Problem

_KEYS = ("title:", "consequences:", "signatures:")
_TOP = re.compile(r"^(?=[a-z_]+:)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outline:
    """What a text is compared with, and what a problem leads to."""

    id: str
    title: str
    consequences: tuple[str, ...]
    signatures: tuple[Signature, ...]


class Book:
    """Problems by their ids: their outlines, and the whole of those that are asked for."""

    def __init__(self, outlines: Mapping[str, Outline], problems: Iterable[Problem] = ()) -> None:
        """Take outlines; those of the problems that are given in whole come from them.

        Args:
            outlines: by id, of problems in the shipped folder.
            problems: further ones, read already.
        """
        self._read = {problem.id: problem for problem in problems}
        self.outlines = dict(outlines) | {
            p.id: Outline(p.id, p.title, p.consequences, p.signatures) for p in self._read.values()
        }
        self._paths: dict[str, Path] = {}

    def __getitem__(self, identity: str) -> Problem:
        """Return a problem.

        Raises:
            KeyError: there is none of that id.
            RulesError: its file holds errors.
        """
        if identity not in self._read:
            self._paths = self._paths or {path.stem: path for path in _files()}
            (self._read[identity],) = read_problems((self._paths[identity],), examples=False)
        return self._read[identity]


def open_book(extra: tuple[Path, ...] = ()) -> Book:
    """Return the shipped problems, and those of ``--rules``, which are proved before use.

    Raises:
        RulesError: with every error of every file of ``--rules``, or a shipped file is no YAML.
    """
    return Book({}, load_problems(extra)) if extra else Book(_outlines())


def _files() -> list[Path]:
    return sorted((rules_folder() / "problems").rglob("*.yaml"))


def _outlines() -> dict[str, Outline]:
    paths = _files()
    parts = ("".join(part for part in _TOP.split(_text(path)) if part.startswith(_KEYS)) for path in paths)
    try:
        documents = list(yaml.load_all("---\n".join(parts), Loader=YamlLoader))
    except yaml.YAMLError:
        load_problems()  # names the file and the place
        raise
    return {path.stem: _outline(path.stem, node or {}) for path, node in zip(paths, documents, strict=True)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\nexamples:")[0] + "\n"
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError([f"{path}: {error}"]) from None


def _outline(identity: str, node: dict[str, Any]) -> Outline:
    signatures = [
        Signature(**{key: tuple(item.get(key, ())) for key in ("all", "any", "none")}, message=item.get("message", ""))
        for item in node.get("signatures", ())
    ]
    return Outline(identity, node.get("title", ""), tuple(node.get("consequences", ())), tuple(signatures))
