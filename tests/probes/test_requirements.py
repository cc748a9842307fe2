from __future__ import annotations

from pathlib import Path
from typing import Any

from sgldoctor.probes.packages import Environment
from sgldoctor.probes.requirements import marker_variables, probe
from sgldoctor.snapshot import Known, Snapshot, Unknown
from sgldoctor.system import RealSystem
from tests.environments import add, make_venv

SYSTEM = RealSystem()
MARKERS = marker_variables("3.12.1")


def observe(site: Path, markers: dict[str, str] = MARKERS) -> Snapshot:
    return Snapshot(probe(Environment(SYSTEM, [str(site)]), markers))


def row(package: str, requirement: str, by: str, installed: str | None, *, direct: bool) -> dict[str, Any]:
    return {
        "package": package, "requirement": requirement, "required_by": by, "installed": installed,
        "problem": "version" if installed else "missing", "direct": direct,
    }  # fmt: skip


def test_missing_and_mismatching_requirements_are_found_through_the_whole_closure(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(
        site,
        "sglang",
        "0.5.9",
        "Requires-Dist: torch==2.9.1",
        "Requires-Dist: Xgrammar==0.1.27",
        "Requires-Dist: uvloop",
    )
    add(site, "torch", "2.9.1", "Requires-Dist: triton==3.5.1", "Requires-Dist: numpy")
    add(site, "triton", "3.5.0")
    add(site, "xgrammar", "0.1.25")
    add(site, "uvloop", "0.22.1")
    assert observe(site).records("requirements.unmet") == [
        row("numpy", "numpy", "torch 2.9.1", None, direct=False),
        row("triton", "triton==3.5.1", "torch 2.9.1", "3.5.0", direct=False),
        row("xgrammar", "xgrammar==0.1.27", "sglang 0.5.9", "0.1.25", direct=True),
    ]


def test_a_local_build_of_the_pinned_version_meets_the_pin(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "sglang", "0.5.9", "Requires-Dist: torch==2.9.1")
    add(site, "torch", "2.9.1+cu130")
    assert observe(site).records("requirements.unmet") == []


def test_a_prerelease_meets_a_lower_bound(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "sglang", "0.5.10", "Requires-Dist: flash-attn-4>=4.0.0b4", "Requires-Dist: torch")
    add(site, "flash-attn-4", "4.0.0b36")
    add(site, "torch", "2.9.1")
    assert observe(site).records("requirements.unmet") == []


def test_markers_are_evaluated_for_the_target(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(
        site, "sglang", "0.5.9", "Requires-Dist: torch", 'Requires-Dist: tomli; python_version < "3.11"',
        'Requires-Dist: decord2; platform_machine == "aarch64"', 'Requires-Dist: pywin32; sys_platform == "win32"',
    )  # fmt: skip
    add(site, "torch", "2.9.1")
    on_310 = observe(site, marker_variables("3.10.13", machine="aarch64"))
    assert [item["package"] for item in on_310.records("requirements.unmet")] == ["decord2", "tomli"]
    assert observe(site).records("requirements.unmet") == []


def test_releases_with_an_engine_extra_are_judged_by_it_through_nested_extras(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(
        site, "sglang", "0.4.10", "Requires-Dist: requests", 'Requires-Dist: sglang[runtime_common]; extra == "srt"',
        'Requires-Dist: torch==2.7.1; extra == "srt"', 'Requires-Dist: uvloop; extra == "runtime-common"',
        'Requires-Dist: openai; extra == "openai"', "Provides-Extra: srt", "Provides-Extra: runtime_common",
    )  # fmt: skip
    add(site, "requests", "2.32.0")
    add(site, "torch", "2.8.0")
    seen = observe(site)
    assert [item["requirement"] for item in seen.records("requirements.unmet")] == ["torch==2.7.1", "uvloop"]
    assert (seen.value("sglang.runtime"), seen.value("sglang.runtime_extra")) == (True, "srt")


def test_without_torch_such_a_release_lacks_its_engine_and_nothing_else(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "sglang", "0.4.10", 'Requires-Dist: torch==2.7.1; extra == "srt"', "Provides-Extra: srt")
    seen = observe(site)
    assert (seen.value("sglang.runtime"), seen.records("requirements.unmet")) == (False, [])


def test_a_requirement_that_does_not_parse_leaves_the_answer_unknown(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    folder = add(site, "sglang", "0.5.9", "Requires-Dist: torch ===> 2")
    fact = observe(site).get("requirements.unmet")
    assert isinstance(fact, Unknown)
    assert fact.reason.startswith(f"{folder}/METADATA: ")


def test_circular_requirements_end(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    add(site, "sglang", "0.5.9", "Requires-Dist: torch")
    add(site, "torch", "2.9.1", "Requires-Dist: sglang")
    assert observe(site).records("requirements.unmet") == []


def test_without_sglang_there_is_nothing_to_meet(tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env")
    assert observe(site).get("requirements.unmet") == Known(None, "sglang is not installed")
