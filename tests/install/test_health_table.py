"""The plan of every release on every Python agrees with what uv resolved, and refusals say why and what works."""

from __future__ import annotations

import pytest
from packaging.version import Version

from sgldoctor.install.plan import as_record
from sgldoctor.install.planner import plan_for
from sgldoctor.install.target import Wish, named
from sgldoctor.rules.knowledge import kernel_package, table

RELEASES = sorted(table("health.json")["releases"], key=Version)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def resolution(release: str, python: str) -> dict[str, object]:
    rows = table("health.json")["releases"][release]["x86_64"]
    return next(row for row in rows if python in row["pythons"])


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("release", RELEASES)
def test_a_plan_is_ready_exactly_where_a_resolution_works(release: str, python: str) -> None:
    row = resolution(release, python)
    record = as_record(plan_for(named(python=python), Wish(release=f"=={release}")))
    assert (record["status"] == "ready") is (row["works"] is True)
    if record["status"] == "ready":
        versions = row["versions"]
        assert isinstance(versions, dict)
        kernels = kernel_package(versions)
        for name in ("torch", "flashinfer-python", kernels):
            assert record["versions"][name] == versions[name]
        assert record["versions"]["sglang"] == release
        assert [step["name"] for step in record["steps"]] == ["torch", "flashinfer", "sglang"]
    else:
        assert record["reason"].startswith(f"sglang {release} cannot be installed here: ")
        assert record["nearest"] != release
        assert as_record(plan_for(named(python=python), Wish(release=f"=={record['nearest']}")))["status"] == "ready"


def test_the_reasons_are_those_of_the_resolver() -> None:
    told = {
        ("0.4.0", "3.12"): "flashinfer is not on the package index",
        ("0.4.3.post1", "3.12"): "its open pins bring sgl-kernel 0.3.21, which does not fit torch 2.5.1",
        ("0.4.5", "3.12"): "sgl-kernel==0.0.8 is no longer on the package index",
        ("0.5.3", "3.12"): "transformers==4.57.0 was yanked; with --override it takes transformers==4.57.1 instead",
        ("0.5.23", "3.10"): "it has wheels for Python 3.11, 3.12, 3.13 only, and no source package",
    }
    for (release, python), reason in told.items():
        plan = plan_for(named(python=python), Wish(release=f"=={release}"))
        assert plan.reason == f"sglang {release} cannot be installed here: {reason}."


def test_an_override_is_taken_where_it_was_asked_for() -> None:
    plan = plan_for(named(python="3.12"), Wish(release="==0.5.3.post1", override=True))
    environment = plan.environments[0]
    assert (plan.status, environment.overrides) == ("ready", ("transformers==4.57.1", "apache-tvm-ffi==0.1.0"))
    assert dict(environment.versions)["transformers"] == "4.57.1"
