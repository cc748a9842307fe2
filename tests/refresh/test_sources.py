"""The tables of flags, variables and assertions are made from three small wheels of an invented index."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.refresh import flags, sources
from sgldoctor.refresh.index import PackageIndexError
from tests.refresh.test_members import Server, direct, serving, wheel

__all__ = ["direct"]
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
NOW = "2026-01-02T03:04:05Z"
RELEASES = ["0.9.0", "0.10.0rc1", "0.10.0"]
NAMES = [
    "sglang-0.9.0-py3-none-any.whl",
    "sglang-0.10.0rc1-py3-none-any.whl",
    "sglang-0.10.0-cp310-abi3-manylinux2014_x86_64.whl",
]
IGNORED = ["sglang-0.10.0-cp310-abi3-manylinux2014_aarch64.whl", "sglang-0.9.0.tar.gz", "sglang-0.8.0.win32.exe"]
OLD = """
import os
from sglang.kinds import KINDS

class PortArgs:
    def add_cli_args(parser):
        parser.add_argument("--not-the-servers")

class ServerArgs:
    port: int = 30_000

    @staticmethod
    def add_cli_args(parser):
        grown = ["a"]
        grown.append(os.name)
        parser.add_argument("--port", "-p", "--server-port", type=int, default=ServerArgs.port)
        parser.add_argument("--kind", choices=["any"] + list(KINDS), nargs="?")
        parser.add_argument("--grown", choices=grown)
        parser.add_argument("--comes-and-goes", action="store_true", help="Go.")
"""
MIDDLE = OLD.replace(
    ', action="store_true", help="Go."', ', action=DeprecatedAction, help="Deprecated: use --kind b instead."'
)
MIDDLE = MIDDLE.replace('["any"] + list(KINDS)', "sorted({*KINDS, 'c'})").replace(
    '"--grown", ', '"--grown", help="Replaces a deprecated environment variable.", '
)
NEW = """
class ServerArgs:
    def add_cli_args(parser):
        add_cli_args_from_dataclass(parser, ServerArgs)
        parser.add_argument("--old", action=DeprecatedStoreTrueAction, new_flag="--kind=a")
"""
FIELDS = """
class Serving(Struct):
    _NS_PATH = "serving"
    inner: int = 3
    hidden: A[str, Arg(help="Not a flag.", no_cli=True)] = ""
    rank: A[int, Derived(doc="Not a flag.")]
    port: A[int, Arg(help="The port.", aliases=["--server-port"])] = 30000
    kind: A[Optional[Literal["a", "b"]], "The kind."] = None
    comes_back: A[bool, "Comes " f"back."] = False
    names: A[List[str], Arg(cli_name="--all-names")]
    exact: A[bool | None, Arg(help="x", action=argparse.BooleanOptionalAction)] = None
"""
RUNS = {"all": [["0.9.0", "0.10.0"]], "old": [["0.9.0", "0.10.0rc1"]], "new": [["0.10.0", "0.10.0"]]}
FIRST, SECOND = [["0.9.0", "0.9.0"]], [["0.10.0rc1", "0.10.0rc1"]]
FLAGS: dict[str, Any] = {
    "--all-names": {"ranges": RUNS["new"], "action": "store", "nargs": "+", "type": "str"},
    "--comes-and-goes": {
        "ranges": [["0.9.0", "0.10.0rc1"]], "deprecated": SECOND, "action": "DeprecatedAction", "replaced_by": "--kind",
        "actions": [{"action": "store_true", "ranges": FIRST}, {"action": "DeprecatedAction", "ranges": SECOND}],
    },
    "--comes-back": {"ranges": RUNS["new"], "action": "store_true", "default": False},
    "--exact": {"ranges": RUNS["new"], "action": "BooleanOptionalAction"},
    "--grown": {"ranges": RUNS["old"], "action": "store"},
    "--kind": {
        "ranges": RUNS["all"], "action": "store",
        "choices": [
            {"ranges": FIRST, "values": ["any", "a", "b"]}, {"ranges": SECOND, "values": ["a", "b", "c"]},
            {"ranges": RUNS["new"], "values": ["a", "b"]},
        ],
    },
    "--no-exact": {"ranges": RUNS["new"], "action": "BooleanOptionalAction", "negates": "--exact"},
    "--old": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "action": "DeprecatedStoreTrueAction", "replaced_by": "--kind=a"},
    "--port": {"ranges": RUNS["all"], "action": "store", "type": "int", "default": 30000, "aliases": ["--server-port"]},
    "--server-port": {"ranges": RUNS["all"], "action": "store", "type": "int", "default": 30000, "alias_of": "--port"},
    "-p": {"ranges": RUNS["old"], "action": "store", "type": "int", "default": 30000, "alias_of": "--port"},
}  # fmt: skip
READS = """
import os
from os import environ
NAME = "SGLANG_BY_NAME"
one, two = os.environ.get("SGLANG_TWICE", "1"), get_bool_env_var("SGLANG_TWICE")
three, four = os.getenv(NAME), environ["SGLANG_lower"]
five = "SGLANG_ASKED" in os.environ and prevent("SGLANG_NOT_READ") and os.getenv(f"{one}")
os.environ["DG_CACHE"] = "x"
os.environ.update({"DG_ALSO": "y"})
os.environ.setdefault("HOME", "z")

def start(args):
    if args.backend == "flashinfer":
        assert_pkg_version("flashinfer", "0.1", "Update.")
    else:
        assert_pkg_version(one, "0.2", "Update.")
"""
ENVIRON = """
class Envs:
    SGLANG_TWICE = EnvBool(True)
    SGLANG_NEW = EnvIntWithAlias(-1, deprecated_name="SGLANG_OLD")
    plain = 3

OLD_NAMES = {"SGLANG_ODD": _DeprecatedEnv(note="Please use '--kind' instead."), "SGLANG_RENAMED": _DeprecatedEnv("SGLANG_NEW")}
_deprecated_ms = {"SGLANG_MS": "SGLANG_S"}

def _print_deprecated_env(old_name, new_name=None): ...
_print_deprecated_env("SGLANG_SWAPPED", "SGLANG_NEW")
print("SGL_ANY".replace("SGL_", "SGLANG_", 1))
if not get_bool_env_var("SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK"):
    assert_pkg_version("sglang-kernel", "0.4", "Update.")
"""
TESTED = 'os.environ["SGLANG_ONLY_TESTED"] = "1"\nassert_pkg_version("not-this", "1", "")\n'
VARIABLES: dict[str, Any] = {
    "DG_ALSO": {"ranges": [], "sets": RUNS["old"]},
    "DG_CACHE": {"ranges": [], "sets": RUNS["old"]},
    "HOME": {"ranges": RUNS["old"]},
    "SGLANG_ASKED": {"ranges": RUNS["old"]},
    "SGLANG_BY_NAME": {"ranges": RUNS["old"]},
    "SGLANG_MS": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "replaced_by": "SGLANG_S"},
    "SGLANG_NEW": {"ranges": RUNS["new"], "type": "int"},
    "SGLANG_ODD": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "replaced_by": "--kind"},
    "SGLANG_OLD": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "replaced_by": "SGLANG_NEW"},
    "SGLANG_ONLY_TESTED": {"ranges": [], "tests": FIRST},
    "SGLANG_RENAMED": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "replaced_by": "SGLANG_NEW"},
    "SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": {"ranges": RUNS["new"]},
    "SGLANG_SWAPPED": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "replaced_by": "SGLANG_NEW"},
    "SGLANG_TWICE": {"ranges": RUNS["all"], "type": "bool", "default": True},
    "SGL_*": {"ranges": RUNS["new"], "deprecated": RUNS["new"], "replaced_by": "SGLANG_*"},
    "SGLANG_lower": {"ranges": RUNS["old"]},
}
ASSERTIONS = {
    "flashinfer": [{"minimum": "0.1", "ranges": RUNS["old"], "when": ["args.backend == 'flashinfer'"]}],
    "sglang-kernel": [
        {
            "minimum": "0.4",
            "ranges": RUNS["new"],
            "when": ["not get_bool_env_var('SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK')"],
        }
    ],
}
KINDS = b"KINDS = ('a', 'b')\n"
CONTENTS: dict[str, dict[str, bytes]] = {
    NAMES[0]: {
        flags.SERVER_ARGS: OLD.encode(), "sglang/kinds.py": KINDS, "sglang/srt/reads.py": READS.encode(),
        "sglang/test/run.py": TESTED.encode(), "sglang/data.txt": b"os.getenv('SGLANG_TEXT')",
    },
    NAMES[1]: {flags.SERVER_ARGS: MIDDLE.encode(), "sglang/kinds.py": KINDS, "sglang/srt/reads.py": READS.encode()},
    NAMES[2]: {
        flags.SERVER_ARGS: NEW.encode(), f"{flags.FIELDS}fields/serving.py": FIELDS.encode(),
        "sglang/srt/environ.py": ENVIRON.encode(),
    },
}  # fmt: skip


def served(contents: dict[str, dict[str, bytes]] = CONTENTS) -> dict[str, bytes]:
    rows = [{"filename": name, "url": f"/files/{name}", "hashes": {}} for name in [*IGNORED, *reversed(NAMES)]]
    page = json.dumps({"files": rows}).encode()
    return {"/simple/sglang/": page, **{f"/files/{name}": wheel(files) for name, files in contents.items()}}


def run(server: Server, folder: Path) -> list[str]:
    return [path.name for path in sources.refresh(server.index(), folder, NOW, folder / "cache")]


def tables(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / name).read_text()) for name in sources.TABLES]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_tables(tmp_path: Path) -> None:
    with serving(served()) as server:
        assert run(server, tmp_path) == list(sources.TABLES)
        head = {"schema_version": 1, "generated_at": NOW, "source": sources.SOURCE, "releases": RELEASES, "unread": {}}
        found = [{key: value for key, value in table.items() if key not in head} for table in tables(tmp_path)]
        for table in tables(tmp_path):
            assert {key: table[key] for key in head} == head
        for name, row in FLAGS.items():
            assert found[0]["flags"].get(name) == row, name
        assert list(found[0]["flags"]) == sorted(FLAGS)
        for name, row in VARIABLES.items():
            assert found[1]["variables"].get(name) == row, name
        assert list(found[1]["variables"]) == sorted(VARIABLES)
        assert found[2]["assertions"] == ASSERTIONS
        assert found[2]["skipped_by"] == {"SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK": RUNS["new"]}
        assert sorted(path for path, _ in server.asked) == sorted(["/simple/sglang/", *(f"/files/{n}" for n in NAMES)])
        texts = [(tmp_path / name).read_bytes() for name in sources.TABLES]
        server.asked.clear()
        run(server, tmp_path)  # again: each wheel has said it all
        assert [path for path, _ in server.asked] == ["/simple/sglang/"]
        assert [hash(text) for text in texts] == [hash((tmp_path / name).read_bytes()) for name in sources.TABLES]
        assert not list(tmp_path.glob("*.new"))


def test_a_flag_that_comes_back(tmp_path: Path) -> None:
    gone = {flags.SERVER_ARGS: MIDDLE.replace('"--kind"', '"--sort"').encode(), "sglang/kinds.py": KINDS}
    with serving(served({**CONTENTS, NAMES[1]: gone})) as server:
        run(server, tmp_path)
    found = tables(tmp_path)
    assert found[0]["flags"]["--kind"]["ranges"] == [*FIRST, *RUNS["new"]]
    assert found[0]["flags"]["--sort"]["ranges"] == SECOND
    assert found[1]["variables"]["SGLANG_TWICE"]["ranges"] == [*FIRST, *RUNS["new"]]
    assert found[2]["assertions"]["flashinfer"][0]["ranges"] == FIRST


@pytest.mark.parametrize("path", [flags.SERVER_ARGS, "sglang/srt/reads.py"])
def test_what_cannot_be_parsed_breaks_no_run(path: str, tmp_path: Path) -> None:
    files = {**CONTENTS[NAMES[1]], path: b"import os\nos.getenv('SGLANG_TWICE'\n"}
    with serving(served({**CONTENTS, NAMES[1]: files})) as server:
        run(server, tmp_path)
    found = tables(tmp_path)
    assert [table["unread"] for table in found] == [{"0.10.0rc1": [path]}] * 3
    assert found[0]["flags"]["--kind"]["ranges"] == RUNS["all"]
    assert found[1]["variables"]["SGLANG_TWICE"]["ranges"] == RUNS["all"]


WHOLE = wheel(CONTENTS[NAMES[1]])
AT = WHOLE.index(b"PK\3\4") + 30 + len(flags.SERVER_ARGS)


@pytest.mark.parametrize(
    ("path", "content", "message", "asked"),
    [
        (f"/files/{NAMES[1]}", None, "the package index answers 404 for {}", 3),
        (f"/files/{NAMES[1]}", WHOLE[:-9], "{} is no readable wheel: File is not a zip file", 1),
        (
            f"/files/{NAMES[1]}",
            WHOLE[:AT] + b"\xff" * 20 + WHOLE[AT + 20 :],
            "{} is no readable wheel: Error -3 while decompressing data: invalid block type",
            1,
        ),
        (f"/files/{NAMES[1]}", wheel({"sglang/a.py": b""}), "{} tells no flags in sglang/srt/server_args.py", 1),
        ("/simple/sglang/", b'{"files": []}', "the package index lists no wheel of sglang", 1),
    ],
)
def test_trouble_leaves_the_old_tables(
    path: str, content: bytes | None, message: str, asked: int, tmp_path: Path
) -> None:
    for name in sources.TABLES:
        (tmp_path / name).write_text("old")
    others = {name: body for name, body in served().items() if name != path}
    with serving(others if content is None else {**others, path: content}) as server:
        with pytest.raises(PackageIndexError) as caught:
            run(server, tmp_path)
        assert str(caught.value) == message.format(path.rpartition("/")[2])
        assert [name for name, _ in server.asked].count(path) == asked
        assert {path.read_text() for path in tmp_path.glob("*.json*")} == {"old"}
        if "simple" not in path:  # goes on where it stopped
            server.files.update(served())
            server.asked.clear()
            run(server, tmp_path)
            assert f"/files/{NAMES[0]}" not in [name for name, _ in server.asked]
            assert tables(tmp_path)[0]["releases"] == RELEASES


def listed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return an index that tells the digest of each of its files."""
    digests = {name: hashlib.sha256(files[f"/files/{name}"]).hexdigest() for name in NAMES}
    rows = [{"filename": name, "url": f"/files/{name}", "hashes": {"sha256": digests[name]}} for name in NAMES]
    return {**files, "/simple/sglang/": json.dumps({"files": rows}).encode()}


def test_a_file_that_changes_under_its_name_is_read_again(tmp_path: Path) -> None:
    changed = served(
        {**CONTENTS, NAMES[1]: {**CONTENTS[NAMES[1]], "sglang/srt/reads.py": b"os.getenv('SGLANG_OTHER')"}}
    )
    with serving(listed(served())) as server:
        run(server, tmp_path)
        assert "SGLANG_OTHER" not in tables(tmp_path)[1]["variables"]
        server.files.update(listed(changed))
        server.asked.clear()
        run(server, tmp_path)
        assert [path for path, _ in server.asked] == ["/simple/sglang/", f"/files/{NAMES[1]}"]
    assert "SGLANG_OTHER" in tables(tmp_path)[1]["variables"]


def test_another_file_than_the_index_lists_is_refused(tmp_path: Path) -> None:
    with serving(listed(served())) as server:
        server.files[f"/files/{NAMES[1]}"] += b" "
        with pytest.raises(PackageIndexError) as caught:
            run(server, tmp_path)
    problem = "is not the file that the package index lists: its SHA-256 digest is another"
    assert str(caught.value) == f"{NAMES[1]} {problem}"
    assert not list(tmp_path.glob("*.json*"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x = -3", -3), ("x = 2 * 1024", 2048), ("x = {'b': 1, 'a': 2}.keys()", ["b", "a"]), ("x = {'b', 'a'}", ["a", "b"]),
        ("class K:\n    ALL = ('a',)\nx = K.ALL", ["a"]), ("def f():\n    y = ['a']\n    return list(y)\nx = f()", ["a"]),
        ("x: list[str] = [*'a', 'b']", ["a", "b"]), ("x = x", None), ("x = [n for n in y]", None), ("x = 'a' + ['b']", None),
        ("from sglang.far import z as x", ["far"]), ("from sglang.none import z as x", None), ("from os import z as x", None),
    ],
)  # fmt: skip
def test_constants(text: str, value: Any) -> None:
    def module(path: str) -> ast.Module | None:
        return ast.parse("z = ['far']") if path == "sglang/far/__init__.py" else None

    found = flags.Scope(module, ast.parse(text).body).known(ast.Name("x"))
    assert found == ({} if value is None else {"value": value})


def test_nothing_is_imported(tmp_path: Path) -> None:
    files = {**CONTENTS[NAMES[0]], "sglang/__init__.py": b"import nothing_of_this_kind\nraise SystemExit\n"}
    with serving(served({**CONTENTS, NAMES[0]: files})) as server:
        run(server, tmp_path)
    assert not [name for name in sys.modules if name.partition(".")[0] == "sglang"]
