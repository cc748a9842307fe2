"""What uv answers becomes the plan: exact, refused with its reason, or said to be unresolved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sgldoctor.install.plan import Plan
from sgldoctor.install.planner import plan_for
from sgldoctor.install.render import render
from sgldoctor.install.render.text import lines
from sgldoctor.install.resolve import IndexUnreachableError, resolve
from sgldoctor.install.target import Wish, named
from sgldoctor.system import Completed

LOCKED = """\
flashinfer-python==0.2.7.post1 \\
    --hash=sha256:aa
sgl-kernel==0.2.4 \\
    --hash=sha256:bb
sglang[all]==0.4.9 \\
    --hash=sha256:cc
torch==2.7.1 \\
    --hash=sha256:dd
transformers==4.53.0 \\
    --hash=sha256:ee
zstandard==0.25.0rc1 \\
    --hash=sha256:ff
"""


GONE = """error: No solution found when resolving dependencies
  cause: Because transformers==4.53.0 was yanked and sglang==0.4.9 depends on transformers==4.53.0, we can conclude
         that sglang==0.4.9 cannot be used.
         And because you require sglang==0.4.9, we can conclude that your requirements are unsatisfiable.
"""


def ready(*gpus: str, release: str = "==0.4.9", **machine: str) -> Plan:
    return plan_for(named(gpus=gpus, python="3.10", **machine), Wish(release=release))


def answering(
    out: str = "", err: str = "", seen: list[list[str]] | None = None
) -> Callable[[list[str], float], Completed]:
    def ask(arguments: list[str], timeout: float) -> Completed:
        if seen is not None:
            wanted = Path(arguments[2]).read_text("utf-8").splitlines()
            seen.append([*arguments[3:], *wanted])
        return Completed(0 if out else 1, out, err)

    return ask


def test_the_whole_set_becomes_the_constraints() -> None:
    found = resolve(ready("A40"), answering(LOCKED))
    environment = found.environments[0]
    assert (found.resolved, environment.locked, environment.prerelease) == (True, LOCKED, True)
    assert environment.constraints == (
        "flashinfer-python==0.2.7.post1", "sgl-kernel==0.2.4", "sglang==0.4.9", "torch==2.7.1", "transformers==4.53.0",
        "zstandard==0.25.0rc1",
    )  # fmt: skip


def test_uv_is_asked_once_for_all_steps_and_for_the_targets_platform() -> None:
    seen: list[list[str]] = []
    resolve(ready("A40", glibc="2.31"), answering(LOCKED, seen=seen))
    (words,) = seen
    assert words[words.index("--python-version") + 1] == "3.10"
    assert words[words.index("--python-platform") + 1] == "x86_64-manylinux_2_31"
    assert words[-6:] == [
        "torch==2.7.1", "torchvision==0.22.1", "torchaudio==2.7.1", "flashinfer-python==0.2.7.post1",
        "sglang[all]==0.4.9", "sgl-kernel==0.2.4",
    ]  # fmt: skip


@pytest.mark.parametrize(("glibc", "platform"), [("2.27", 17), ("2.30", 28), ("2.36", 36), ("2.50", 40)])
def test_the_platform_is_never_newer_than_the_c_library(glibc: str, platform: int) -> None:
    seen: list[list[str]] = []
    plan = ready("A40", glibc="2.31")
    target = tuple((name, glibc if name == "glibc" else value) for name, value in plan.target)
    resolve(
        Plan("ready", resolved=False, reason=None, target=target, environments=plan.environments),
        answering(LOCKED, seen=seen),
    )
    assert f"x86_64-manylinux_2_{platform}" in seen[0]


def test_what_does_not_resolve_is_refused_in_uvs_words() -> None:
    found = resolve(ready("A40"), answering(err=GONE))
    assert (found.status, found.environments, found.assumptions) == ("refused", (), ())
    assert found.reason == "sglang 0.4.9 cannot be installed here: transformers==4.53.0 was yanked."


def test_requirements_that_exclude_each_other_are_told_in_one_sentence() -> None:
    said = """error: No solution found when resolving dependencies
  cause: Because peft==9 depends on torch>=3 and sglang==0.4.9 depends on torch==2.7.1, we can conclude that peft==9
         and sglang==0.4.9 are incompatible.
         And because you require both, we can conclude that your requirements are unsatisfiable.
"""
    assert resolve(ready("A40"), answering(err=said)).reason == (
        "sglang 0.4.9 cannot be installed here: peft==9 depends on torch>=3 and sglang==0.4.9 depends on torch==2.7.1."
    )


def test_a_set_that_resolves_but_does_not_fit_is_refused() -> None:
    found = resolve(ready("A40"), answering(LOCKED.replace("torch==2.7.1", "torch==2.8.0")))
    assert found.reason == (
        "sglang 0.4.9 cannot be installed here: what it resolves to today does not fit: sgl-kernel 0.2.4, torch 2.8.0."
    )


def test_a_wheel_index_that_does_not_answer_leaves_the_plan_unresolved() -> None:
    said = "error: Failed to fetch: `https://download.pytorch.org/whl/cu128/torch/`\n cause: error sending request"
    found = resolve(ready("RTX 5090"), answering(err=said))
    assert (found.status, found.resolved) == ("ready", False)
    note = "Not resolved: download.pytorch.org does not answer from here. The versions come from the tables."
    assert found.notes[-1] == note
    assert [line for line in render(found, "shell").splitlines() if "Not resolved:" in line] == [f"# Note: {note}"]
    shown = [line for line, _ in lines(found, 200)]
    assert [line for line in shown if "Not resolved:" in line] == [f"  - {note}"]
    assert not any("the index was not asked" in line for line in shown)


def test_a_plan_from_tables_alone_says_so_once() -> None:
    plan = ready("RTX 5090")
    said = "# Not resolved: the versions come from tables; the index was not asked."
    assert [line for line in render(plan, "shell").splitlines() if "Not resolved:" in line] == [said]
    shown = [line for line, _ in lines(plan, 200)]
    place = shown.index("Not resolved:")
    assert shown[place + 1] == "  - The versions come from the tables; the index was not asked."


UNREACHABLE = """\
error: Failed to fetch: http://127.0.0.1:9/torch/
  cause: error sending request for url (http://127.0.0.1:9/torch/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
OFFLINE = """\
error: No solution found when resolving dependencies
  cause: Because torch was not found in the cache and you require torch==2.14.1, we can conclude that your requirements \
are unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may \
only be read from the cache.
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            UNREACHABLE,
            "The package index does not answer (http://127.0.0.1:9/torch/): Connection refused (os error 111). "
            "With --no-resolve the plan is made from the tables alone.",
        ),
        (
            OFFLINE,
            "uv may not use the network here (UV_OFFLINE, or offline in its settings), and its cache does not hold "
            "what the plan needs. With --no-resolve the plan is made from the tables alone.",
        ),
        (
            "error: No solution found when resolving dependencies\n  cause: Because torch was not found in the package "
            "registry and you require torch==2.9.1, we can conclude that your requirements are unsatisfiable.\n",
            "The package index that uv asks holds no torch at all, so it is not a whole index. Look at UV_DEFAULT_INDEX, "
            "UV_INDEX_URL and uv.toml. With --no-resolve the plan is made from the tables alone.",
        ),
        (
            "error: something else\n",
            "uv cannot resolve the plan: error: something else. "
            "With --no-resolve the plan is made from the tables alone.",
        ),
    ],
)
def test_no_answer_of_the_index_is_no_verdict(said: str, told: str) -> None:
    """The first three are what uv 0.13.9 said."""
    with pytest.raises(IndexUnreachableError) as caught:
        resolve(ready("A40"), answering(err=said))
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("proof", "told"),
    [
        (
            "Because sglang==0.4.9 depends on openai==2.6.1 and you require sglang==0.4.9, we can conclude that you "
            "require openai==2.6.1.\n         And because you require openai==1.50, we can conclude that your "
            "requirements are unsatisfiable.",
            "sglang==0.4.9 depends on openai==2.6.1, and you require openai==1.50",
        ),
        (
            "Because all versions of decord2 depend on numpy>=1.26.4 and sglang==0.4.9 depends on decord2, we can "
            "conclude that sglang==0.4.9 depends on numpy>=1.26.4.\n         And because you require sglang==0.4.9 and "
            "numpy<1.25, we can conclude that your requirements are unsatisfiable.",
            "all versions of decord2 depend on numpy>=1.26.4 and sglang==0.4.9 depends on decord2, and you require "
            "numpy<1.25",
        ),
        (
            "Because vllm==0.10.2 depends on xgrammar{platform_machine == 'aarch64' or platform_machine == 'arm64' or "
            "platform_machine == 'x86_64'}==0.1.23 and sglang[all]==0.4.9 depends on xgrammar==0.1.24, we can conclude "
            "that sglang[all]==0.4.9 and vllm==0.10.2 are incompatible.\n         And because you require vllm==0.10.2 "
            "and sglang[all]==0.4.9, we can conclude that your requirements are unsatisfiable.",
            "vllm==0.10.2 depends on xgrammar==0.1.23 and sglang[all]==0.4.9 depends on xgrammar==0.1.24",
        ),
        (
            "Because you require torch==2.7.1 and torch>=2.10, we can conclude that your requirements are "
            "unsatisfiable.",
            "you require torch==2.7.1 and torch>=2.10",
        ),
        (
            "Because nowhere was not found in the package registry and you require nowhere, we can conclude that your "
            "requirements are unsatisfiable.",
            "nowhere is not on the package index",
        ),
    ],
)
def test_a_refusal_says_what_stands_against_what(proof: str, told: str) -> None:
    """What uv 0.13.9 said of real conflicts, with this release's number."""
    said = f"error: No solution found when resolving dependencies\n  cause: {proof}\n"
    assert resolve(ready("A40"), answering(err=said)).reason == f"sglang 0.4.9 cannot be installed here: {told}."


def test_pip_is_said_to_follow_uv() -> None:
    plan = plan_for(named(gpus=("A40",), python="3.10"), Wish(release="==0.4.9", installer="pip"))
    assert (
        resolve(plan, answering(LOCKED)).notes[-1]
        == "Resolved by uv; pip is held to the same versions by the constraints."
    )


def test_every_environment_is_resolved() -> None:
    from sgldoctor.install import stacks

    found = stacks.stack("art-two-environments")
    seen: list[list[str]] = []
    plan = stacks.plan_for(found, stacks.named_target(found.target), Wish())
    assert len(resolve(plan, answering("torch==2.10.0\n", seen=seen)).environments) == len(seen) == 2


def test_a_refusal_names_the_nearest_release_that_resolves_today() -> None:
    asked: list[str] = []

    def ask(arguments: list[str], _timeout: float) -> Completed:
        wanted = Path(arguments[2]).read_text("utf-8")
        release = wanted.partition("sglang[all]==")[2].split()[0]
        asked.append(release)
        pins = wanted.replace("sglang[all]", "sglang")
        return Completed(0, pins, "") if release == "0.4.8.post1" else Completed(1, "", GONE)

    def other(release: str) -> Plan:
        return ready("A40", release=f"=={release}")

    found = resolve(ready("A40", release="==0.4.9"), ask, other)
    assert (found.status, found.nearest) == ("refused", "0.4.8.post1")
    assert found.notes[0] == "The nearest release that works there is 0.4.8.post1: --sglang 0.4.8.post1"
    assert asked == ["0.4.9", "0.4.9.post1", "0.4.8.post1"]


def test_a_search_for_the_nearest_release_ends_after_three() -> None:
    asked: list[str] = []

    def ask(arguments: list[str], _timeout: float) -> Completed:
        asked.append(Path(arguments[2]).read_text("utf-8").partition("sglang[all]==")[2].split()[0])
        return Completed(1, "", GONE)

    found = resolve(ready("A40", release="==0.4.9"), ask, lambda release: ready("A40", release=f"=={release}"))
    assert (found.status, found.nearest, len(asked)) == ("refused", None, 4)
