"""Where texts come from: words, paths, pipes, and what becomes of hostile ones."""

from __future__ import annotations

import gzip
import io
import os
from itertools import pairwise
from pathlib import Path

import pytest

from sgldoctor.errors import InputError, UsageError
from sgldoctor.explain import source
from sgldoctor.explain.source import Block, Source, sources

TEXT = "first\nsecond line\nthird"


def read(*words: str, as_text: bool = False) -> list[tuple[str | None, bytes]]:
    found = sources(list(words), as_text=as_text, follow=False)
    return [(item.name, b"".join(block.data for block in item.blocks())) for item in found]


def blocks(data: bytes) -> list[Block]:
    return list(Source(None, lambda: io.BytesIO(data)).blocks())


def test_words_are_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read("undefined", "symbol:", "_ZN3c10") == [(None, b"undefined symbol: _ZN3c10")]


@pytest.mark.parametrize(
    "word",
    [
        "ImportError: /usr/lib/x.so: cannot open shared object file",
        "a text about server.log",
        "first line\nsee /var/log/server.log",
    ],
)
def test_a_word_with_spaces_is_a_text_though_it_names_paths(word: str) -> None:
    assert read(word) == [(None, word.encode())]


@pytest.mark.parametrize("word", ["logs/server", "server.log", "out.txt", "old.gz"])
def test_a_word_that_looks_like_a_path_is_one(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read(word)
    assert str(caught.value) == f"There is no file {word}. If it is a text to be explained, put --text in front of it."
    assert read(word, as_text=True) == [(None, word.encode())]


def test_a_word_that_names_a_file_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my log").write_text(TEXT)
    assert read("my log") == [("my log", TEXT.encode())]


def test_several_files_are_read_in_order(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("b.log", "a.log")]
    for path in paths:
        Path(path).write_text(path)
    assert read(*paths) == [(path, path.encode()) for path in paths]


def test_a_file_beside_words_that_are_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("server.log").write_text(TEXT)
    with pytest.raises(InputError, match="There is no file nodelog. To explain words that are a text"):
        read("server.log", "nodelog")


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} is a folder. Name the log file in it."):
        read(str(tmp_path))


def test_a_file_that_cannot_be_read_is_named_with_the_reason() -> None:
    with pytest.raises(InputError, match="Cannot read /proc/self/mem: Input/output error."):
        read("/proc/self/mem")


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "renamed").write_bytes(gzip.compress(TEXT.encode()))
    assert read(str(tmp_path / "renamed")) == [(str(tmp_path / "renamed"), TEXT.encode())]


def test_of_damaged_gzip_what_can_be_read_is_read_and_the_rest_is_named() -> None:
    whole = gzip.compress(os.urandom(3 << 20))
    stream = Source("cut.gz", lambda: io.BytesIO(whole[: len(whole) // 2])).blocks()
    assert len(next(stream).data) >= 1 << 20
    with pytest.raises(InputError, match="Cannot read cut.gz: Compressed file ended"):
        list(stream)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_with_and_without_its_mark(encoding: str) -> None:
    (block,) = blocks("Fehler: größer\nzwei\n".encode(encoding))
    assert block == Block("Fehler: größer\nzwei\n".encode(), 1, whole=True)


def test_a_long_input_comes_in_blocks_of_whole_lines_that_know_their_numbers() -> None:
    lines = [b"%d %s\n" % (number, b"x" * 90) for number in range(40_000)]
    found = blocks(b"".join(lines))
    assert len(found) > 3
    assert b"".join(block.data for block in found) == b"".join(lines)
    assert {block.whole for block in found} == {False}
    for block in found[:-1]:
        assert block.data.endswith(b"\n")
        assert block.data.startswith(b"%d " % (block.first - 1))


@pytest.mark.parametrize(("size", "whole"), [(source.SHORT, True), (source.SHORT + 1, False)])
def test_only_a_short_input_is_judged_line_by_line(size: int, *, whole: bool) -> None:
    assert blocks(b"x" * size) == [Block(b"x" * size, 1, whole=whole)]


def test_a_line_longer_than_a_block_comes_in_pieces_that_overlap() -> None:
    data = b"a" * (3 * source.BLOCK) + b"needle" + b"b" * source.BLOCK + b"\nnext"
    found = blocks(data)
    assert max(len(block.data) for block in found) <= 2 * source.BLOCK
    assert [block.first for block in found] == [1] * len(found)
    assert any(b"needle" in block.data for block in found)
    for before, after in pairwise(found):
        assert after.data.startswith(before.data[-source.OVERLAP :]) or before.data.endswith(b"\n")


def test_what_was_read_before_an_interruption_is_still_judged() -> None:
    class Interrupted(io.RawIOBase):
        def __init__(self) -> None:
            self.pieces = [b"one\ntwo"]

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            if self.pieces:
                return self.pieces.pop()
            raise KeyboardInterrupt

    stream = Source("fifo", Interrupted).blocks()  # type: ignore[arg-type]
    assert next(stream) == Block(b"one\ntwo", 1, whole=True)
    with pytest.raises(KeyboardInterrupt):
        next(stream)


def test_a_followed_file_gives_its_lines_as_they_come_and_begins_again_when_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "server.log"
    log.write_text("one\ntw")
    steps = ["one\ntwo\n", "3\n"]
    monkeypatch.setattr("time.sleep", lambda _: log.write_text(steps.pop(0)))
    (followed,) = sources([str(log)], as_text=False, follow=True)
    stream = followed.blocks()
    assert [next(stream).data for _ in range(3)] == [b"one\n", b"two\n", b"3\n"]


@pytest.mark.parametrize("words", [["some text"], ["a.log", "b.log"]])
def test_only_one_log_can_be_followed(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.log", "b.log"):
        Path(name).write_text("")
    with pytest.raises(UsageError, match="--follow goes with one log that grows"):
        sources(words, as_text=False, follow=True)
