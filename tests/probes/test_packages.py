from __future__ import annotations

import json
from pathlib import Path

from sgldoctor.probes.packages import Environment, canonical, probe
from sgldoctor.snapshot import Known, Snapshot, Unknown
from sgldoctor.system import RealSystem
from tests.environments import add, make_venv

SYSTEM = RealSystem()


def observe(site: Path) -> Snapshot:
    return Snapshot(probe(SYSTEM, Environment(SYSTEM, [str(site)]), str(site)))


def test_names_are_canonical() -> None:
    assert [canonical(name) for name in ("Sgl_Kernel", "nvidia.cuda--runtime", "torch")] == [
        "sgl-kernel", "nvidia-cuda-runtime", "torch",
    ]  # fmt: skip


def test_the_metadata_says_the_version_not_the_name_of_its_folder(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    folder = add(site, "torch", "2.8.0")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.7.0+cu128\n\nVersion: 1\n")
    seen = observe(site)
    assert seen.get("package.torch") == Known("2.7.0+cu128", f"{folder}/METADATA")
    assert seen.records("packages") == [
        {"name": "torch", "version": "2.7.0+cu128", "location": str(site), "local": "cu128", "installer": "uv"}
    ]


def test_an_absent_package_is_known_to_be_absent(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    assert observe(site).get("package.torch") == Known(None, str(site))


def test_an_unreadable_folder_leaves_every_package_unknown(tmp_path: Path) -> None:
    seen = observe(tmp_path / "gone")
    assert seen.get("packages") == Unknown(f"{tmp_path}/gone cannot be read: No such file or directory")
    assert isinstance(seen.get("package.torch"), Unknown)


def test_editable_installs_and_their_origin_are_told(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    folder = add(site, "sglang", "0.5.9")
    (folder / "direct_url.json").write_text(json.dumps({"url": "file:///src/sglang", "dir_info": {"editable": True}}))
    record = observe(site).records("packages")[0]
    assert (record["url"], record["editable"]) == ("file:///src/sglang", True)


def test_two_metadata_folders_of_one_distribution_are_told(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "torch", "2.7.0")
    add(site, "torch", "2.8.0")
    assert observe(site).records("packages.duplicates") == [
        {"name": "torch", "versions": "2.7.0 and 2.8.0", "where": str(site)}
    ]


def test_the_same_distribution_in_two_folders_is_shadowing_and_no_damage(tmp_path: Path) -> None:
    first, second = make_venv(tmp_path / "a"), make_venv(tmp_path / "b")
    add(first, "torch", "2.8.0")
    add(second, "torch", "2.7.0")
    seen = Snapshot(probe(SYSTEM, Environment(SYSTEM, [str(first), str(second)]), "both"))
    assert (seen.text("package.torch"), seen.records("packages.duplicates")) == ("2.8.0", [])


def test_both_kernel_distributions_write_one_module(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "sgl-kernel", "0.3.21")
    add(site, "sglang-kernel", "0.4.1")
    assert observe(site).records("packages.shadowed") == [
        {"module": "sgl_kernel", "names": "sgl-kernel and sglang-kernel", "where": str(site)}
    ]


def test_broken_metadata_is_named_with_its_reason(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    (add(site, "torch", "2.8.0") / "METADATA").unlink()
    (add(site, "triton", "3.4.0") / "METADATA").write_bytes(
        b"Metadata-Version: 2.1\nName: triton\nVersion: \xff\xfe\n\n"
    )
    (site / "~orch-2.7.0.dist-info").mkdir()
    seen = observe(site)
    assert seen.records("packages.broken") == [
        {
            "name": "~orch",
            "problem": "left behind by an interrupted uninstall",
            "where": f"{site}/~orch-2.7.0.dist-info",
        },
        {
            "name": "torch",
            "problem": "METADATA cannot be read: No such file or directory",
            "where": f"{site}/torch-2.8.0.dist-info",
        },
        {
            "name": "triton",
            "problem": "its version '\ufffd\ufffd' is not PEP 440",
            "where": f"{site}/triton-3.4.0.dist-info",
        },
    ]
    assert isinstance(seen.get("package.triton"), Unknown)


def test_a_fifo_in_place_of_metadata_hangs_nothing(tmp_path: Path) -> None:
    import os

    site = make_venv(tmp_path / "env")
    metadata = add(site, "torch", "2.8.0") / "METADATA"
    metadata.unlink()
    os.mkfifo(metadata)
    problem = observe(site).records("packages.broken")[0]["problem"]
    assert problem.startswith("METADATA cannot be read: not a regular file")


def test_an_egg_info_file_is_a_distribution_too(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    (site / "sglang-0.4.0-py3.10.egg-info").write_text("Metadata-Version: 2.1\nName: sglang\nVersion: 0.4.0\n")
    assert observe(site).text("package.sglang") == "0.4.0"
