"""The hand-kept and generated tables do not contradict themselves or each other."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import lru_cache
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from sgldoctor.rules.load import rules_folder

KNOWLEDGE = rules_folder() / "knowledge"

ARCHITECTURES = {
    "7.0": "Volta", "7.5": "Turing", "8.0": "Ampere", "8.6": "Ampere", "8.7": "Ampere", "8.9": "Ada",
    "9.0": "Hopper", "10.0": "Blackwell", "10.3": "Blackwell", "11.0": "Blackwell", "12.0": "Blackwell",
    "12.1": "Blackwell",
}  # fmt: skip
KERNELS = ("sgl-kernel", "sglang-kernel")


@lru_cache
def table(name: str) -> Any:
    text = (KNOWLEDGE / name).read_text("utf-8")
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


def gpus() -> list[dict[str, Any]]:
    return table("gpus.yaml")["gpus"]  # type: ignore[no-any-return]


def rows(kind: str) -> list[dict[str, Any]]:
    return table("kernel_windows.yaml")[kind]  # type: ignore[no-any-return]


def releases() -> dict[str, dict[str, Any]]:
    return table("sglang.json")["releases"]  # type: ignore[no-any-return]


def all_pins(row: dict[str, Any]) -> dict[str, str]:
    return {**row.get("pins", {}), **row.get("extra_pins", {})}


def exact(specifier: str) -> Version | None:
    found = re.fullmatch(r"==([^*,]+)", specifier)
    return Version(found[1]) if found else None


def matching(kind: str, package: str, version: str, **fields: str) -> list[dict[str, Any]]:
    return [
        row
        for row in rows(kind)
        if package in row["packages"]
        and all(row[key] == value for key, value in fields.items())
        and SpecifierSet(row["versions"]).contains(version, prereleases=True)
    ]


def known_kernels() -> list[tuple[str, str]]:
    known = table("kernel_abi.json")["kernels"]
    return [(package, version) for package in KERNELS for version in known[package]]


@pytest.mark.parametrize("name", ["gpus.yaml", "cuda_drivers.yaml"])
def test_every_row_cites_sources_of_its_legend(name: str) -> None:
    document = table(name)
    cited = [row["source"] for row in document.get("gpus", [])]
    cited += [row["source"] for key in ("majors", "toolkits") for row in document.get(key, [])]
    keys = {re.split(r"[ :]", part)[0] for source in cited for part in source.split("; ")}
    assert cited
    assert keys - {"inference"} <= set(document["sources"])
    assert set(document["sources"]) - keys <= {"forward-compatibility"}


def test_gpu_names_and_aliases_are_lower_case_and_unique() -> None:
    aliases = [alias for row in gpus() for alias in row.get("aliases", [])]
    names = [row["name"].lower() for row in gpus()]
    assert all(isinstance(alias, str) and alias == alias.lower().strip() for alias in aliases)
    assert [name for name, count in Counter(names + aliases).items() if count > 1] == []


def test_gpu_names_stay_apart_without_blanks_and_hyphens() -> None:
    owners: dict[str, str] = {}
    for row in gpus():
        for name in [row["name"], *row.get("aliases", [])]:
            key = re.sub(r"[^a-z0-9]", "", name.lower())
            assert owners.setdefault(key, row["name"]) == row["name"], name


@pytest.mark.parametrize("row", gpus(), ids=lambda row: row["name"])
def test_a_gpu_row_is_well_formed(row: dict[str, Any]) -> None:
    assert set(row) - {"min_driver", "aliases"} == {
        "name", "capability", "architecture", "memory_gib", "kind", "cpu", "source"
    }  # fmt: skip
    assert ARCHITECTURES[row["capability"]] == row["architecture"]
    assert row["kind"] in {"datacenter", "workstation", "consumer", "embedded"}
    assert row["cpu"] in {"any", "aarch64", "x86_64"}
    assert isinstance(row["memory_gib"], int)
    assert 2 <= row["memory_gib"] <= 288
    assert re.fullmatch(r"\d{3}", row.get("min_driver", "525"))


def test_gpu_kinds_follow_their_names() -> None:
    for row in gpus():
        if "GeForce" in row["name"]:
            assert row["kind"] == "consumer"
        if re.search(r"Jetson|GB10$", row["name"]):
            assert (row["kind"], row["cpu"]) == ("embedded", "aarch64")
        if re.search(r" (GH|GB)[23]00", row["name"]):
            assert (row["kind"], row["cpu"]) == ("datacenter", "aarch64")


def test_a_memory_size_in_a_gpu_name_is_the_size_of_the_row() -> None:
    sized = [(row, re.search(r"\b(\d+)G(?:B|i?B)?\b", row["name"])) for row in gpus()]
    found = [(row, int(match[1])) for row, match in sized if match and "GH200 480GB" not in row["name"]]
    assert len(found) > 10
    assert [row["name"] for row, size in found if row["memory_gib"] != size] == []


def test_newer_gpus_need_newer_drivers() -> None:
    needed = {cap: [int(g["min_driver"]) for g in gpus() if g["capability"] == cap and "min_driver" in g]
              for cap in ("9.0", "10.0", "10.3", "12.0", "12.1")}  # fmt: skip
    assert all(needed.values())
    assert min(needed["9.0"]) < min(needed["10.0"]) < min(needed["10.3"])
    assert min(needed["12.0"]) >= min(needed["10.0"])
    assert min(needed["12.1"]) >= min(needed["12.0"])


def test_driver_minimums_rise_with_cuda() -> None:
    document = table("cuda_drivers.yaml")
    for key, name in (("majors", "major"), ("toolkits", "cuda")):
        versions = [Version(str(row[name])) for row in document[key]]
        drivers = [Version(row["min_driver"]) for row in document[key]]
        assert versions == sorted(set(versions))
        assert drivers == sorted(set(drivers))


def test_a_toolkit_needs_at_least_the_driver_of_its_major_and_less_than_the_next() -> None:
    document = table("cuda_drivers.yaml")
    majors = {row["major"]: Version(row["min_driver"]) for row in document["majors"]}
    assert set(majors) == {11, 12, 13}
    for row in document["toolkits"]:
        major = Version(row["cuda"]).major
        driver = Version(row["min_driver"])
        assert majors[major] <= driver
        assert driver < majors.get(major + 1, Version("9999"))
    first = {Version(row["cuda"]).major: Version(row["min_driver"]) for row in reversed(document["toolkits"])}
    assert first[12] == majors[12]
    assert first[13].major == majors[13].major


def test_compat_packages_sit_only_on_drivers_older_than_their_cuda() -> None:
    document = table("cuda_drivers.yaml")
    native = {row["cuda"]: Version(row["min_driver"]).major for row in document["toolkits"]}
    packages = document["forward_compat"]["packages"]
    assert {row["cuda"] for row in packages} >= {cuda for cuda in native if Version(cuda) >= Version("12.3")}
    for row in packages:
        branches = [int(branch) for branch in row["driver_branches"]]
        assert branches == sorted(set(branches))
        assert max(branches) < native.get(row["cuda"], 999)
    assert "consumer" not in document["forward_compat"]["kinds"]


def test_kernel_rows_are_well_formed() -> None:
    for row in rows("windows"):
        assert set(row["packages"]) <= set(KERNELS)
        assert len(SpecifierSet(row["versions"])) >= 1
        assert row["evidence"] in {"measured", "metadata", "inference"}
        assert row["source"]


@pytest.mark.parametrize(("package", "version"), known_kernels())
def test_every_known_kernel_lies_in_exactly_one_window(package: str, version: str) -> None:
    assert len(matching("windows", package, version)) == 1


def test_every_row_holds_a_known_kernel_and_no_later_one() -> None:
    known = table("kernel_abi.json")["kernels"]
    for row in rows("windows"):
        for package in row["packages"]:
            assert any(SpecifierSet(row["versions"]).contains(v, prereleases=True) for v in known[package])
    for package in KERNELS:
        newest = max(map(Version, known[package]))
        assert matching("windows", package, f"{newest}.post1") == []
        assert matching("windows", package, f"{newest.major}.{newest.minor + 1}.0") == []


def test_windows_with_a_common_torch_have_the_same_cuda() -> None:
    for row in rows("windows"):
        assert row["cuda_major"] in {12, 13}
        torch = SpecifierSet(row["torch"])
        minors = [f"2.{minor}" for minor in range(30) if torch.contains(f"2.{minor}.0")]
        assert minors
        for other in rows("windows"):
            if any(SpecifierSet(other["torch"]).contains(f"{minor}.0") for minor in minors):
                assert (other["torch"], other["cuda_major"]) == (row["torch"], row["cuda_major"])


def test_a_window_has_the_cuda_of_the_torch_builds_in_it() -> None:
    judged = set()
    for build in table("torch_builds.yaml")["builds"]:
        torch = exact(build["torch"])
        for row in rows("windows"):
            if torch and SpecifierSet(row["torch"]).contains(torch):
                assert row["cuda_major"] == Version(build["cuda"]).major, build["torch"]
                judged.add(row["versions"])
    assert judged == {row["versions"] for row in rows("windows")}


@pytest.mark.parametrize(("package", "version"), known_kernels())
def test_what_the_symbols_say_holds_all_that_was_imported(package: str, version: str) -> None:
    release = table("kernel_abi.json")["kernels"][package][version]
    (window,) = matching("windows", package, version)
    measured = {torch for torch in table("kernel_abi.json")["torch"] if SpecifierSet(window["torch"]).contains(torch)}
    # 2.5 exports all that 0.1.0 asks for, but leaves out libnvrtc.so.12, which 0.1.0 needs.
    extra = {"2.5.0", "2.5.1"} if (package, version) == ("sgl-kernel", "0.1.0") else set()
    assert (set(release["torch"]), release["cuda"]) == (measured | extra, window["cuda_major"])


def test_every_target_is_one_of_a_known_capability() -> None:
    for package, version in known_kernels():
        for targets in table("kernel_abi.json")["kernels"][package][version]["targets"].values():
            assert targets
            for target in targets:
                match = re.fullmatch(r"sm_(\d+)(\d)[af]?", target)
                assert match
                assert f"{match[1]}.{match[2]}" in {*ARCHITECTURES, "10.1"}


def test_the_latest_kernel_for_a_torch_is_the_newest_that_a_release_pins_with_it() -> None:
    pinned: dict[str, Requirement] = {}
    for row in releases().values():
        pins = all_pins(row)
        torch = exact(pins.get("torch", ""))
        for package in KERNELS:
            version = exact(pins.get(package, ""))
            if torch and version and matching("windows", package, str(version)):
                pinned[f"{torch.major}.{torch.minor}"] = Requirement(f"{package}=={version}")
    latest = {minor: Requirement(text) for minor, text in table("kernel_windows.yaml")["fits_latest"].items()}
    for minor, requirement in latest.items():
        version = exact(str(requirement.specifier))
        assert version
        (window,) = matching("windows", requirement.name, str(version))
        assert SpecifierSet(window["torch"]).contains(f"{minor}.0")
        assert str(pinned.get(minor, requirement)) == str(requirement)
    assert set(pinned) <= set(latest)


def test_every_release_pins_a_kernel_that_fits_its_torch() -> None:
    judged = 0
    for version, row in releases().items():
        pins = all_pins(row)
        torch = exact(pins.get("torch", ""))
        for package in KERNELS:
            kernel = exact(pins.get(package, ""))
            if not torch or not kernel:
                continue
            for window in matching("windows", package, str(kernel)):
                assert SpecifierSet(window["torch"]).contains(torch), f"sglang {version}: {package} {kernel}"
                judged += 1
    assert judged > 60


def test_every_release_is_well_formed() -> None:
    assert len(releases()) >= 160
    assert list(releases()) == [str(version) for version in sorted(map(Version, releases()))]
    for version, row in releases().items():
        assert re.fullmatch(r"202\d-\d\d-\d\d", row["date"]), version
        assert SpecifierSet(row["requires_python"])
        assert row["sdist"] or row["wheels"]
        assert None not in row.values()
        assert ("extra_pins" in row) == ("runtime_extra" in row)
        assert row.get("runtime_extra") in {None, *row["extras"]}
        for name, specifier in all_pins(row).items():
            assert name == canonicalize_name(name)
            assert str(Requirement(f"{name}{specifier}").specifier) == str(SpecifierSet(specifier))
        for wheel in row["wheels"]:
            assert set(wheel) == {"python", "abi", "platform"}


def test_every_release_asks_for_torch_somewhere() -> None:
    assert [version for version, row in releases().items() if "torch" not in all_pins(row)] == []


def test_tables_name_no_package_index_and_no_machine() -> None:
    for name in ("cuda_drivers.yaml", "gpus.yaml", "kernel_windows.yaml", "sglang.json"):
        text = (KNOWLEDGE / name).read_text("utf-8")
        assert "://" not in text, name
        assert not re.search(r"""(?:^|[\s"'(])/\w+/\w+""", text), name
    assert len((KNOWLEDGE / "sglang.json").read_text("utf-8")) < 150_000


def test_what_is_built_from_source_is_pinned_by_what_brings_it() -> None:
    for row in table("source_builds.yaml")["builds"]:
        name, _, version = row["brought_by"].partition("==")
        assert table("packages.json")[name][version]["pins"][row["package"]] == f"=={row['version']}"
        assert row["source"]
