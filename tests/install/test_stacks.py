"""Every shipped stack ends in a plan; flags exist in the release; files with errors are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from sgldoctor.errors import RulesError, UsageError
from sgldoctor.install import stacks
from sgldoctor.install.plan import Plan
from sgldoctor.install.target import Target, Wish
from sgldoctor.rules.knowledge import newest_sglang, table
from sgldoctor.rules.load import rules_folder

STACKS = {found.id: found for found in stacks.load_stacks()}
WANTED = {
    "modal-h100-sglang-0.4.10.post2", "modal-h100-sglang-0.5.3.post1", "vllm-0.9.2-xgrammar", "rtx-5090",
    "rtx-5090-torch-2.7.0", "runpod-a40-sglang-0.4.9", "art-two-environments",
    *(f"latest-{gpu}" for gpu in ("a40", "a100", "l4", "l40s", "h100", "h200", "b200", "rtx-4090", "rtx-5090", "gh200", "gb10")),
}  # fmt: skip


def plan_of(name: str, target: Target | None = None) -> Plan:
    found = stacks.stack(name)
    return stacks.plan_for(found, target or stacks.named_target(found.target), Wish())


def test_these_stacks_are_shipped() -> None:
    assert set(STACKS) == WANTED


@pytest.mark.parametrize("name", sorted(STACKS))
def test_a_stack_is_ready_and_says_who_vouches(name: str) -> None:
    found = plan_of(name)
    assert (found.status, found.stack) == ("ready", name)
    assert STACKS[name].references
    assert STACKS[name].level in {"metadata", "execution"}


@pytest.mark.parametrize("name", [name for name in sorted(STACKS) if name.startswith("latest-")])
def test_latest_is_the_newest_release(name: str) -> None:
    assert dict(plan_of(name).environments[0].versions)["sglang"] == newest_sglang()


@pytest.mark.parametrize("name", sorted(STACKS))
def test_every_launch_flag_exists_in_the_release(name: str) -> None:
    flags = table("flags.json")["flags"]
    for environment in plan_of(name).environments:
        versions = dict(environment.versions)
        if "sglang" not in versions:
            continue
        release = Version(versions["sglang"])
        for word in environment.launch.command:
            if word.startswith("--"):
                ranges = flags[word]["ranges"]
                assert any(Version(first) <= release <= Version(last) for first, last in ranges), word


def test_the_seeds_stacks_install_what_they_name() -> None:
    versions = {name: dict(plan_of(name).environments[0].versions) for name in WANTED}
    assert versions["modal-h100-sglang-0.4.10.post2"]["torch"] == "2.7.1"
    assert versions["modal-h100-sglang-0.4.10.post2"]["transformers"] == "4.54.1"
    assert versions["modal-h100-sglang-0.5.3.post1"]["transformers"] == "4.57.1"
    assert versions["vllm-0.9.2-xgrammar"]["vllm"] == "0.9.2"
    assert versions["rtx-5090-torch-2.7.0"]["torch"] == "2.7.0"
    assert plan_of("rtx-5090-torch-2.7.0").environments[0].overrides == (
        "torch==2.7.0", "torchvision==0.22.0", "torchaudio==2.7.0",
    )  # fmt: skip
    last = plan_of("vllm-0.9.2-xgrammar").environments[0].steps[-1].requirements
    assert last == ("vllm==0.9.2", "transformers>=4.51.1,<4.54", "xgrammar==0.1.19", "flashinfer-python==0.2.6.post1")


def test_art_has_two_environments_that_share_out_the_gpus() -> None:
    found = plan_of("art-two-environments")
    assert [(each.name, each.venv) for each in found.environments] == [
        ("server", ".venv-sglang-server"),
        ("trainer", ".venv-sglang-trainer"),
    ]
    assert [each.launch.env for each in found.environments] == [
        (("CUDA_VISIBLE_DEVICES", "0"),),
        (("CUDA_VISIBLE_DEVICES", "1"),),
    ]
    assert any("openpipe-art==0.5.18 depends on openai>=2.14.0" in note for note in found.notes)


@pytest.mark.parametrize(("count", "trainer"), [(2, "1"), (4, "1,2,3")])
def test_the_trainer_has_all_gpus_but_the_servers(count: int, trainer: str) -> None:
    found = plan_of("art-two-environments", Target(count=count))
    assert [dict(each.launch.env)["CUDA_VISIBLE_DEVICES"] for each in found.environments] == ["0", trainer]


def test_with_one_gpu_both_environments_have_it() -> None:
    found = plan_of("art-two-environments", Target(count=1))
    assert {each.launch.env for each in found.environments} == {(("CUDA_VISIBLE_DEVICES", "0"),)}


def test_a_stack_that_a_machine_cannot_run_is_refused() -> None:
    found = plan_of("latest-a40", Target(driver="535"))
    assert (found.status, found.stack, found.nearest) == ("refused", "latest-a40", "0.5.10.post1")


def test_every_environment_must_be_possible() -> None:
    found = plan_of("art-two-environments", Target(python="3.10"))
    assert (found.status, found.reason) == ("refused", "The environment trainer asks for Python >=3.11.")


@pytest.mark.parametrize("name", ["rtx-5090-torch-2.7.0", "modal-h100-sglang-0.5.3.post1"])
def test_pip_cannot_follow_a_stack_that_replaces_pins(name: str) -> None:
    found = stacks.stack(name)
    plan = stacks.plan_for(found, stacks.named_target(found.target), Wish(installer="pip"))
    assert (plan.status, plan.reason) == (
        "refused",
        "The environment sglang replaces pins of other packages, which pip cannot.",
    )


def test_an_unknown_stack_has_a_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'latest-a40'"):
        stacks.stack("latest-a4")


def test_all_errors_of_all_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = yaml.safe_load((rules_folder() / "stacks" / "latest-a40.yaml").read_text("utf-8"))
    folder = tmp_path / "stacks"
    folder.mkdir()
    (folder / "one.yaml").write_text(yaml.safe_dump({**good, "id": "one", "titel": "x"}), "utf-8")
    (folder / "two.yaml").write_text(yaml.safe_dump({**good, "id": "three", "target": {"gpu": "A4000000"}}), "utf-8")
    (folder / "four.yaml").write_text(
        yaml.safe_dump({**good, "id": "four", "evidence": {"level": "rumour", "date": "2026-11-21"}}), "utf-8"
    )
    monkeypatch.setattr(stacks, "rules_folder", lambda: tmp_path)
    with pytest.raises(RulesError) as caught:
        stacks.load_stacks()
    assert [line.partition(".  ")[0][:70] for line in caught.value.errors] == [
        "four.yaml: evidence.level is none of report, metadata, execution",
        "one.yaml: unknown key 'titel' of stack. Did you mean 'title'?",
        "two.yaml: id 'three' differs from the file's name",
        *(line[:70] for line in caught.value.errors if "Unknown GPU" in line),
    ]
    assert any("Unknown GPU 'A4000000'" in line for line in caught.value.errors)
