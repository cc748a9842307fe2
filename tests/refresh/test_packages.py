"""The table of packages, made from a small invented index; the rows that it ships agree with the other tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from sgldoctor.refresh import packages
from sgldoctor.refresh.index import PackageIndexError
from sgldoctor.rules.knowledge import table
from tests.refresh.test_members import serving
from tests.refresh.test_members import wheel as zipped

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
NOW = "2026-01-02T03:04:05Z"
SGLANG = {"0.9.0": {"pins": {"torch": "==3.1.0rc1", "transformers": "==5.0"}, "extra_pins": {"torchao": ">=0.1"}}}
NAMES = {
    "torch": [
        "torch-2.2.0-cp312-cp312-manylinux1_x86_64.whl", "torch-3.0.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-3.0.0-cp312-cp312-manylinux_2_28_x86_64.whl", "torch-3.0.0-cp312-cp312-win_amd64.whl",
        "torch-3.0.0-cp312-cp312-manylinux_2_34_aarch64.manylinux2014_aarch64.whl",
        "torch-3.1.0rc1-cp312-cp312-manylinux_2_28_x86_64.whl", "torch-3.1.0rc2-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-3.0.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl", "torch-nightly.zip",
    ],
    "transformers": ["transformers-4.9-py3-none-any.whl", "transformers-5.0.tar.gz"],
}  # fmt: skip
METADATA = """\
Metadata-Version: 2.1
Name: {}
Version: {}
Requires-Python: >=3.10
Requires-Dist: nvidia-cuda-runtime-cu12==12.8.90; platform_machine == "x86_64"
Requires-Dist: nvidia-cudnn-cu12==9.10.2.21
Requires-Dist: triton==3.4.0; platform_machine == "x86_64"
Requires-Dist: jinja2
"""


def served() -> dict[str, bytes]:
    pages: dict[str, list[dict[str, Any]]] = {project: [] for project in packages.SINCE}
    files: dict[str, bytes] = {}
    for project, names in NAMES.items():
        for name in names:
            row = {"filename": name, "url": f"/files/{name}", "hashes": {}, "upload-time": "2025-01-02T00:00:00Z"}
            pages[project].append({**row, "yanked": name.startswith("transformers")})
            member = f"{project}-{name.split('-')[1]}.dist-info/METADATA"
            files[f"/files/{name}"] = zipped({member: METADATA.format(project, name.split("-")[1]).encode()})
    return {**files, **{f"/simple/{name}/": json.dumps({"files": rows}).encode() for name, rows in pages.items()}}


def test_table(tmp_path: Path) -> None:
    with serving(served()) as server:
        made = packages.refresh(server.index(), tmp_path, NOW, tmp_path / "cache", SGLANG)
        found = json.loads(made.read_text())
        asked = len(server.asked)
        packages.refresh(server.index(), tmp_path, NOW, tmp_path / "cache", SGLANG)
        assert len(server.asked) - asked == len(packages.SINCE)  # the pages alone
    assert (found["generated_at"], found["counts"]["torch"], found["counts"]["vllm"]) == (NOW, 2, 0)
    pins = {"nvidia-cudnn-cu12": "==9.10.2.21", "triton": "==3.4.0"}
    x86 = {"abi": "cp", "platform": "manylinux_2_28_x86_64", "pythons": ["cp311", "cp312"]}
    arm = {"abi": "cp", "platform": "manylinux_2_34_aarch64.manylinux2014_aarch64", "pythons": ["cp312"]}
    assert found["torch"]["3.0.0"] == {
        "date": "2025-01-02", "yanked": False, "requires_python": ">=3.10", "sdist": False, "source": "metadata",
        "wheels": [x86, arm], "glibc": {"x86_64": "2.28", "aarch64": "2.17"}, "pins": pins, "cuda": {"x86_64": "12.8"},
    }  # fmt: skip
    assert list(found["torch"]) == ["3.0.0", "3.1.0rc1"]  # pinned by an sglang release; 3.1.0rc2 is not
    assert found["transformers"] == {"5.0": {"date": "2025-01-02", "yanked": True, "sdist": True, "source": "files"}}


def test_a_release_that_cannot_be_read_leaves_the_old_table(tmp_path: Path) -> None:
    (tmp_path / packages.TABLE).write_text("old")
    bad = {**served(), f"/files/{NAMES['torch'][2]}": b"no wheel"}
    with serving(bad) as server, pytest.raises(PackageIndexError) as caught:
        packages.refresh(server.index(), tmp_path, NOW, tmp_path / "cache", SGLANG)
    assert str(caught.value) == f"{NAMES['torch'][2]} is no readable wheel: File is not a zip file"
    assert [path.read_text() for path in tmp_path.glob("packages*")] == ["old"]


def test_torch_as_measured_is_torch_as_listed() -> None:
    listed = table("packages.json")["torch"]
    for build in table("torch_builds.yaml")["builds"]:
        row = listed[build["torch"].removeprefix("==")]
        platform = "manylinux_2_28_x86_64" if Version(build["torch"][2:]) >= Version("2.7") else "manylinux1_x86_64"
        tags = next(w["pythons"] for w in row["wheels"] if (w["abi"], w["platform"]) == ("cp", platform))
        assert row["cuda"]["x86_64"] == build["cuda"]
        assert [f"{tag[2]}.{tag[3:]}" for tag in tags] == build["pythons"]


def test_companions_ask_for_the_torch_that_the_table_says() -> None:
    for row in table("torch_companions.yaml")["companions"]:
        for version, release in table("packages.json")[row["package"]].items():
            asked = release.get("pins", {}).get("torch", "").lstrip("=>")
            if asked and version in SpecifierSet(row["versions"]):
                assert asked in SpecifierSet(row["torch"]), (row["package"], version)
