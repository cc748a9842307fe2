"""The table of torch's binary interface is made from small compiled libraries in an invented index."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from sgldoctor.cli.app import run as command
from sgldoctor.refresh import abi
from tests.refresh.test_members import Server, build, direct, fat, serving, wheel

__all__ = ["direct"]
pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.skipif(not shutil.which("gcc"), reason="builds libraries"),
]
OLD, NEW, BOTH, NONE = "_ZN3c104cuda9SetDeviceEa", "_ZN3c104cuda9SetDeviceEab", "_ZN2at5emptyEv", "_ZN5torch4goneEv"
OTHER = "_ZN3foo3barEv"
PLATFORM = "cp310-abi3-manylinux2014"
VERSIONS = "GLIBC_2.4 { a; }; GLIBC_2.14 { b; }; GLIBC_PRIVATE { c; }; GLIBCXX_3.4.9 { d; }; GLIBCXX_3.4.22 { e; };"
TORCH_WHEELS = {
    "torch-2.10.0-1-cp312-cp312-manylinux_2_28_x86_64.whl": ([BOTH, OLD], "libcudart.so.12"),  # superseded
    "torch-2.10.0-2-cp312-cp312-manylinux_2_28_x86_64.whl": ([BOTH, NEW], "libcudart.so.13"),
    "torch-2.9.0-cp312-cp312-manylinux1_x86_64.whl": ([BOTH, OLD], "libcudart.so.12"),
    "torch-2.9.1-cp312-cp312-manylinux1_x86_64.whl": ([BOTH, NEW], "libcudart.so.12"),
}
IGNORED = [
    "torch-2.4.1-cp312-cp312-manylinux1_x86_64.whl", "torch-2.9.2rc1-cp312-cp312-manylinux1_x86_64.whl",
    "torch-2.9.2-cp311-cp311-manylinux1_x86_64.whl", "torch-2.9.2-cp312-cp312t-manylinux1_x86_64.whl",
    "torch-2.9.2-cp312-none-macosx_11_0_arm64.whl", "torch-2.9.2.tar.gz",
]  # fmt: skip
PAGES = {
    "torch": [*TORCH_WHEELS, *IGNORED],
    "sgl-kernel": [f"sgl_kernel-0.10.0-{PLATFORM}_{arch}.whl" for arch in ("x86_64", "aarch64")]
    + [f"sgl_kernel-0.9.0-{PLATFORM}_x86_64.whl", "sgl_kernel-0.9.0.tar.gz"],
    "sglang-kernel": [f"sglang_kernel-0.4.0-{PLATFORM}_x86_64.whl"],
}
CUDA_12 = ["libc10_cuda.so", "libcudart.so.12", "libnuma.so.1"]
TABLE: dict[str, Any] = {
    "schema_version": 1,
    "source": abi.SOURCE,
    "torch": ["2.9.0", "2.9.1", "2.10.0"],
    "cuda": {"2.9.0": 12, "2.9.1": 12, "2.10.0": 13},
    "symbols": [
        {"exported_by": ["2.9.0", "2.9.1", "2.10.0"], "symbols": [BOTH]},
        {"exported_by": ["2.9.0"], "symbols": [OLD]},
        {"exported_by": ["2.9.1", "2.10.0"], "symbols": [NEW]},
        {"exported_by": [], "symbols": [NONE]},
    ],
    "kernels": {
        "sgl-kernel": {
            "0.9.0": {
                "cuda": 12, "glibc": "2.14", "glibcxx": "3.4.22", "needed": [*CUDA_12[:2], "libfake.so.1", "libnuma.so.1"],
                "targets": {"x86_64": ["sm_80", "sm_90"]}, "torch": ["2.9.0"],
            },
            "0.10.0": {
                "cuda": 12, "glibc": None, "glibcxx": None, "needed": CUDA_12,
                "targets": {"aarch64": ["sm_110"], "x86_64": ["sm_100"]}, "torch": ["2.9.1"],
            },
        },
        "sglang-kernel": {
            "0.4.0": {
                "cuda": 13, "glibc": None, "glibcxx": None, "needed": ["libcudart.so.13"],
                "targets": {"x86_64": []}, "torch": [],
            },
        },
    },
}  # fmt: skip


def defining(*names: str) -> str:
    return "".join(
        f'int f{at}(void) __asm__("{name}"); int f{at}(void) {{ return 1; }}\n' for at, name in enumerate(names)
    )


def asking(*names: str, binary: bytes = b"") -> str:
    calls = "".join(f'extern int f{at}(void) __asm__("{name}");\n' for at, name in enumerate(names))
    body = "+".join(f"f{at}()" for at in range(len(names)))
    section = '__asm__(".pushsection .nv_fatbin,\\"a\\"; .balign 8; .incbin \\"fat.bin\\"; .popsection");'
    return f"{calls}int exported(void) {{ return {body}; }}\n{section if binary else ''}\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("abi")
    (folder / "versions").write_text(VERSIONS)
    plain = {
        name: build(folder, name, defining("unused")) for name in ("libcudart.so.12", "libcudart.so.13", "libnuma.so.1")
    }
    fake = build(folder, "libfake.so.1", defining("a", "b", "c", "d", "e"), "-Wl,--version-script=versions")
    libc = build(folder, "libc.so.6", defining("unused"))
    found = {}
    for name, (symbols, runtime) in TORCH_WHEELS.items():
        empty = build(folder, "libtorch.so", defining("unused")).read_bytes()
        contents = dict.fromkeys(abi.TORCH_LIBRARIES, empty)
        c10_cuda = build(folder, "libc10_cuda.so", defining(OTHER, *symbols), needs=(plain[runtime],))
        found[name] = wheel({**contents, "torch/lib/libc10_cuda.so": c10_cuda.read_bytes()})

    def kernel(
        name: str, asked: list[str], targets: list[int], *needs: Path, where: str = abi.KERNEL_LIBRARIES[0]
    ) -> None:
        binary = fat(*targets, payload=b"p" * 999) if targets else b""
        (folder / "fat.bin").write_bytes(binary)
        library = build(folder, "common_ops.so", asking(*asked, binary=binary), needs=needs)
        found[name] = wheel({"sgl_kernel/sm90/common_ops.abi3.so": b"", where: library.read_bytes()})

    old, new, arm, other = *reversed(PAGES["sgl-kernel"][:3]), PAGES["sglang-kernel"][0]
    cuda_12 = [folder / name for name in CUDA_12]
    kernel(old, [OTHER, BOTH, OLD, "a", "b", "c", "d", "e"], [80, 90], *cuda_12, fake, libc)
    kernel(arm, [BOTH, NEW], [100], *cuda_12, where=abi.KERNEL_LIBRARIES[1])
    kernel(new, [BOTH, NEW], [110], *cuda_12, where=abi.KERNEL_LIBRARIES[1])
    kernel(other, [BOTH, NONE], [], plain["libcudart.so.13"])
    served = {f"/files/{name}": content for name, content in found.items()}
    for project, names in PAGES.items():
        rows = [{"filename": name, "url": f"/files/{name}", "hashes": {}} for name in names]
        served[f"/simple/{project}/"] = json.dumps({"files": rows}).encode()
    return served


def run(server: Server, folder: Path, *, accept: bool = False) -> int:
    address = f"http://127.0.0.1:{server.server_port}/simple"
    places = ["--index-url", address, "--out", str(folder), "--cache", str(folder / "cache")]
    return command(["rules", "refresh", "kernels", *places, *(["--accept-changes"] if accept else [])])


def test_table(files: dict[str, bytes], tmp_path: Path) -> None:
    with serving(files) as server:
        assert run(server, tmp_path) == 0
        text = (tmp_path / abi.TABLE).read_text()
        table = json.loads(text)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", table.pop("generated_at"))
        assert table == TABLE
        assert list(table["kernels"]["sgl-kernel"]) == ["0.9.0", "0.10.0"]
        server.asked.clear()
        assert run(server, tmp_path) == 0  # again: each wheel has said it all
        assert sorted(path for path, _ in server.asked) == sorted(f"/simple/{project}/" for project in PAGES)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (f"/files/{PAGES['sgl-kernel'][0]}", None, "the package index answers 404 for a part of {}"),
        (f"/files/{PAGES['sgl-kernel'][0]}", wheel({"other": b""}), "{} holds no sgl_kernel/common_ops.abi3.so"),
        (
            f"/files/{PAGES['sgl-kernel'][0]}",
            wheel({abi.KERNEL_LIBRARIES[1]: b"\x7fELF"}),
            "{} holds a library that cannot be read: it is cut off within its header",
        ),
        ("/simple/torch/", b'{"files": []}', "the package index lists no wheels of torch or of the kernels"),
    ],
)
def test_trouble_leaves_the_old_table(
    path: str,
    content: bytes | None,
    message: str,
    files: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / abi.TABLE).write_text("old")
    others = {name: body for name, body in files.items() if name != path}
    with serving(others if content is None else {**others, path: content}) as server:
        assert run(server, tmp_path) == 3
    assert capsys.readouterr().err == "sgldoctor: " + message.format(path.rpartition("/")[2]) + "\n"
    assert (tmp_path / abi.TABLE).read_text() == "old"
