"""``sgldoctor inspect``: files, wheels, folders and releases, before and after they are installed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sgldoctor.cli.app import run
from sgldoctor.schema import schema_text

COMPILER = shutil.which("cc") or shutil.which("gcc")
SCHEMA = Draft202012Validator(json.loads(schema_text("inspect")))

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler to build libraries with")


def fat_binary(*architectures: int) -> bytes:
    """Return a fat binary with one cubin per architecture (90 is sm_90)."""
    entries = b"".join(
        struct.pack("<HHIQIIIIQQQQ", 2, 0x101, 64, 8, 0, 0, 0, architecture, 0, 0x11, 0, 0) + b"payload."
        for architecture in architectures
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def build(path: Path, *, code: bytes = b"", asks: str = "", needs: tuple[Path, ...] = ()) -> Path:
    """Build a library that holds GPU code, asks for a symbol and needs other libraries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    data = ",".join(map(str, code))
    lines = [f'__attribute__((section(".nv_fatbin"))) const unsigned char gpu[] = {{{data}}};'] if code else []
    lines += [f"extern void {asks}(void); void call(void) {{ {asks}(); }}"] if asks else ["int nothing;"]
    source.write_text("\n".join(lines))
    named = [f"-l:{other.name}" for other in needs]
    folders = [f"-L{other.parent}" for other in needs]
    command = [str(COMPILER), "-shared", "-fPIC", "-Wl,--no-as-needed", "-o", str(path), str(source), *folders, *named]
    subprocess.run([*command, f"-Wl,-soname,{path.name}"], check=True)
    source.unlink()
    return path


def inspected(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, object]]]:
    code = run(["inspect", *arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    SCHEMA.validate(document)
    return code, document["libraries"]


def test_gpu_code_answers_for_each_gpu_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = build(tmp_path / "common_ops.abi3.so", code=fat_binary(80, 90))
    code, (found,) = inspected(capsys, str(library), "--gpu", "A40", "--gpu", "RTX 5090")
    assert (code, found["gpu_code"]) == (1, ["sm_80", "sm_90"])
    assert [gpu["code"] for gpu in found["gpus"]] == ["sm_80", None]  # type: ignore[attr-defined]
    assert run(["inspect", str(library), "--gpu", "A40"]) == 0
    assert "  NVIDIA A40  yes, runs sm_80 (compute capability 8.6)\n" in capsys.readouterr().out


def test_a_file_that_serves_some_gpus_does_not_make_the_others_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site"
    build(folder / "sgl_kernel" / "flash_ops.abi3.so", code=fat_binary(90))
    build(folder / "sgl_kernel" / "common_ops.abi3.so", code=fat_binary(120))
    assert run(["inspect", str(folder), "--gpu", "RTX 5090"]) == 0
    out = capsys.readouterr().out
    assert "no code for 12.0; SGLang does not use this file there" in out


def test_what_the_loader_would_not_find_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = build(tmp_path / "libthere.so.1")
    library = build(tmp_path / "module.so", asks="nobody_has_this", needs=(there,))
    code, (found,) = inspected(capsys, str(library))
    assert (code, found["missing"]) == (1, ["libthere.so.1"])
    assert found["needed"] == ["libthere.so.1"]


def test_a_symbol_that_nothing_exports_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (found,) = inspected(capsys, str(build(tmp_path / "module.so", asks="nobody_has_this")))
    assert (code, found["missing"]) == (1, ["nobody_has_this"])


def test_an_extension_of_torch_outside_an_environment_misses_nothing_that_can_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = build(tmp_path / "libc10.so")
    library = build(tmp_path / "ops.so", asks="_ZN3c104cuda9SetDeviceEab", needs=(torch,))
    torch.unlink()
    code, (found,) = inspected(capsys, str(library))
    assert (code, found["missing"]) == (0, None)
    assert "2.8.0" in found["torch"]  # type: ignore[operator]
    assert "2.7.1" not in found["torch"]  # type: ignore[operator]


def test_a_symbol_that_no_release_asks_for_leaves_torch_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = build(tmp_path / "libc10.so")
    library = build(tmp_path / "ops.so", asks="_ZN3c1011of_a_nightlyEv", needs=(torch,))
    _, (found,) = inspected(capsys, str(library))
    assert found["torch"] is None


def test_a_wheel_says_the_same_as_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = build(tmp_path / "x" / "ops.so", code=fat_binary(75, 120), asks="_ZN3c104cuda9SetDeviceEab")
    wheel = tmp_path / "x-1.0-cp310-abi3-manylinux2014_x86_64.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(library, "x/ops.so")
        archive.writestr("x/__init__.py", "")
    code, (from_wheel,) = inspected(capsys, str(wheel))
    _, (from_file,) = inspected(capsys, str(library))
    assert (code, from_wheel) == (0, {**from_file, "file": "x/ops.so", "missing": None})


def test_in_a_folder_only_what_matters_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "plain" / "speedups.so")
    build(tmp_path / "gpu" / "ops.so", code=fat_binary(90))
    build(tmp_path / "nvidia" / "cublas" / "lib" / "libcublas.so.12")
    assert run(["inspect", str(tmp_path)]) == 0
    output = capsys.readouterr()
    assert [line for line in output.out.splitlines() if not line.startswith(" ")] == ["gpu/ops.so"]
    assert "1 more hold no GPU code" in output.err


def test_one_library_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "a.so")
    build(tmp_path / "b" / "c.so")
    _, found = inspected(capsys, str(tmp_path), "--member", "c.*")
    assert [item["file"] for item in found] == ["b/c.so"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b"hello, world", "it is no ELF file"),
        (b"\x7fELF\x01\x01" + bytes(60), "it is no 64-bit file"),
    ],
)
def test_what_is_no_library_says_so(
    content: bytes, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(content)
    assert run(["inspect", str(path)]) == 3
    assert capsys.readouterr().err == f"sgldoctor: {path} is no shared library that can be read: {problem}.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["/nowhere/x.so"], 3, "There is no file or folder /nowhere/x.so. Name a shared library, a wheel, a folder"),
        ([""], 3, "Name a shared library, a wheel, a folder such as site-packages, or NAME==VERSION."),
        ([".", "--member", "nothing*"], 2, "holds no shared library whose name matches 'nothing*'."),
        (["x.so", "--gpu", "A41"], 2, "Unknown GPU 'A41'."),
        (["x.so", "--arch", "riscv"], 2, "Unknown CPU architecture 'riscv'. Known: x86_64, aarch64"),
        (["{wheel}"], 3, "is no readable wheel"),
    ],
)
def test_bad_input_is_named(
    arguments: list[str], code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "x-1.0-py3-none-any.whl"
    wheel.write_bytes(b"no zip")
    assert run(["inspect", *(part.format(wheel=wheel) for part in arguments)]) == code
    assert text in capsys.readouterr().err
