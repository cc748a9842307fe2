"""What is chosen for a machine, what is refused, why, and what would help; argued from the tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from sgldoctor.install import vllm
from sgldoctor.install.plan import Plan, as_record, from_record
from sgldoctor.install.planner import plan_for
from sgldoctor.install.target import Target, Wish, completed, named, release_wish
from sgldoctor.probes.run import Scope, observe
from sgldoctor.rules.knowledge import newest_sglang, table
from sgldoctor.snapshot import Known, Snapshot
from sgldoctor.system import RecordedSystem

FIXTURES = Path(__file__).parents[2] / "fixtures"

NEWEST = newest_sglang()
OLD = "0.5.10.post1"
"""The last release whose torch is built for CUDA 12."""


def plan(
    *gpus: str, release: str | None = None, additions: tuple[str, ...] = (), override: bool = False, **machine: str
) -> Plan:
    wish = Wish(release=release_wish(release) if release else None, additions=additions, override=override)
    return plan_for(named(gpus=gpus, **machine), wish)


def chosen(found: Plan) -> str:
    return dict(found.environments[0].versions)["sglang"]


def requirements(found: Plan) -> list[str]:
    return [line for step in found.environments[0].steps for line in step.requirements]


@pytest.mark.parametrize(
    ("gpu", "driver", "release"),
    [
        ("A40", "535", OLD),
        ("A40", "580", NEWEST),
        ("H100", "535", OLD),
        ("H100", "580.65.06", NEWEST),
        ("RTX 5090", "575", OLD),
        ("RTX 5090", "580", NEWEST),
        ("B200", "580", NEWEST),
        ("GH200", "580", NEWEST),
        ("GB10", "580", NEWEST),
        ("T4", "580", "0.5.1.post2"),
    ],
)
def test_the_newest_release_that_gpu_and_driver_run(gpu: str, driver: str, release: str) -> None:
    assert chosen(plan(gpu, driver=driver)) == release


def test_all_gpus_must_be_served() -> None:
    assert chosen(plan("H100", "T4", driver="580")) == "0.5.1.post2"
    assert as_record(plan("H100", "T4", driver="580"))["target"]["gpus"] == ["NVIDIA H100 80GB HBM3", "NVIDIA T4"]


def test_an_unknown_driver_is_taken_to_be_old_and_that_is_said() -> None:
    found = plan("A40")
    assert chosen(found) == OLD
    assert found.assumptions[0] == (
        "Driver not known: planned for CUDA 12.8 and driver 525 or newer; with 580 or newer sglang "
        f"{NEWEST} is possible (--driver)."
    )
    assert found.rejected[-1].reason == "it needs driver 580, and the driver is not known"


def test_latest_is_the_newest_and_says_what_driver_it_needs() -> None:
    found = plan("A40", release="latest")
    assert chosen(found) == NEWEST
    assert found.assumptions[0] == (
        f"Driver not known: planned for CUDA 13.0 and driver 580 or newer; with an older one sglang {OLD} is possible."
    )


@pytest.mark.parametrize(
    ("gpus", "release", "cuda", "least"),
    [((), "0.5.9", "12.8", "525"), (("H100",), "0.5.9", "12.8", "525"), (("H100",), "0.4.10.post2", "12.6", "550"),
     (("T4",), "0.5.1.post2", "12.8", "550"), (("H100", "RTX 5090"), "0.5.9", "12.8", "570")],
)  # fmt: skip
def test_the_driver_that_is_assumed_is_the_oldest_that_torch_kernels_and_gpus_take(
    gpus: tuple[str, ...], release: str, cuda: str, least: str
) -> None:
    assert [text for text in plan(*gpus, release=release).assumptions if text.startswith("Driver")] == [
        f"Driver not known: planned for CUDA {cuda} and driver {least} or newer."
    ]


def test_a_release_for_drivers_older_than_the_kernels_need_is_named() -> None:
    assert plan("T4").assumptions[0] == (
        "Driver not known: planned for CUDA 12.8 and driver 550 or newer; with an older one sglang 0.4.9.post2 "
        "is possible."
    )
    assert chosen(plan("T4", driver="535")) == "0.4.9.post2"


@pytest.mark.parametrize(("driver", "release"), [("525", OLD), ("550", OLD), ("575", OLD), ("580", NEWEST)])
def test_a_bare_branch_stands_for_every_driver_of_it(driver: str, release: str) -> None:
    assert chosen(plan("A100", driver=driver)) == release


@pytest.mark.parametrize(
    ("gpu", "driver", "release", "reason", "helps"),
    [
        ("T4", "470", None, "0.4.9.post2 cannot be installed here: torch 2.7.1 is built for CUDA 12, which needs driver 525.60.13",
         "Driver 525.60.13 or newer: sglang 0.4.9.post2 would work"),
        ("A40", "525.53", "0.5.9", "0.5.9 cannot be installed here: torch 2.9.1 is built for CUDA 12, which needs driver 525.60.13",
         "Driver 525.60.13 or newer: sglang 0.5.9 would work"),
        ("H100", "535", "0.4.10.post2", "0.4.10.post2 cannot be installed here: its kernels (sgl-kernel 0.2.8) need driver 550 to be loaded",
         "Driver 550 or newer: sglang 0.4.10.post2 would work"),
    ],
)  # fmt: skip
def test_an_old_driver_is_the_reason_and_the_oldest_that_serves_the_advice(
    gpu: str, driver: str, release: str | None, reason: str, helps: str
) -> None:
    found = plan(gpu, driver=driver, release=release)
    assert (found.reason, found.notes[-1]) == (f"sglang {reason}.", helps)


def test_nothing_is_assumed_where_everything_is_known() -> None:
    assert plan("A40", driver="535", python="3.10", glibc="2.35").assumptions == ()


def test_why_not_newer_names_the_three_nearest() -> None:
    found = plan("A40", driver="535")
    newer = [r for r in table("health.json")["releases"] if Version(r) > Version(OLD) and not Version(r).is_prerelease]
    nearest = sorted(newer, key=Version)[:3]
    assert [row.release for row in found.rejected] == nearest[::-1]
    assert {row.reason for row in found.rejected} == {
        "torch 2.11.0 is built for CUDA 13, which needs driver 580; on driver 535 the package cuda-compat-13-0 would "
        "stand in for it"
    }


def test_torch_then_flashinfer_then_sglang_each_exact() -> None:
    found = plan("A40", release="0.4.9", python="3.10")
    assert [(step.name, step.requirements) for step in found.environments[0].steps] == [
        ("torch", ("torch==2.7.1", "torchvision==0.22.1", "torchaudio==2.7.1")),
        ("flashinfer", ("flashinfer-python==0.2.7.post1",)),
        ("sglang", ("sglang[all]==0.4.9", "sgl-kernel==0.2.4")),
    ]
    assert {"torch==2.7.1", "transformers==4.53.0"} < set(found.environments[0].constraints)


def test_the_run_time_extra_is_asked_for_only_where_it_is_one() -> None:
    assert "sglang[all]==0.5.2" in requirements(plan("H100", release="0.5.2"))
    assert "sglang==0.5.5" in requirements(plan("H100", release="0.5.5"))


def test_libnuma_is_named_where_the_kernels_load_it() -> None:
    with_it = plan("H100", release="0.5.5").environments[0].system_packages
    assert ("libnuma1", "numactl-libs", "sgl-kernel 0.3.16.post5 loads libnuma.so.1") in with_it
    without = plan("H100", release=NEWEST).environments[0].system_packages
    assert [apt for apt, _, _ in without] == ["g++"]


def test_what_is_built_for_want_of_a_wheel_is_said() -> None:
    found = plan("H100", release="0.5.11", driver="580", python="3.13")
    cargo = ("cargo", "cargo", "outlines-core 0.1.26 has no wheel for Python 3.13")
    assert found.environments[0].system_packages[-1] == cargo
    assert found.notes[1:] == (
        "outlines-core 0.1.26 has no wheel for Python 3.13: it is built when it is installed, which takes a Rust compiler "
        "and the crates of crates.io. It has one for --python 3.12.",
    )
    on_312 = plan("H100", release="0.5.11", driver="580", python="3.12")
    assert (cargo in on_312.environments[0].system_packages, len(on_312.notes)) == (False, 1)


@pytest.mark.parametrize(
    ("found", "reason", "help_"),
    [
        (plan("V100"), "SGLang asks for compute capability 7.5; NVIDIA V100 16GB has 7.0.", "A GPU from Turing on is needed"),
        (plan("RTX 5090", driver="550"), "Driver 550 does not know NVIDIA GeForce RTX 5090; the first branch that does is 570.", "Install driver 570 or newer."),
        (plan("H100", python="3.14"), f"sglang {NEWEST} cannot be installed here: it has wheels for Python 3.11, 3.12, 3.13 only, and no source package.", "--python 3.12: sglang"),
        (plan("H100", python="3.8"), f"sglang {NEWEST} cannot be installed here: it asks for Python >=3.11.", "--python 3.12: sglang"),
        (plan("H100", release="0.3.6"), "sglang 0.3.6 is too old to be planned for; nothing is known of its health.", "0.4.6.post1"),
        (plan_for(Target(os="darwin"), Wish()), "SGLang's kernels exist for Linux with an NVIDIA GPU only; this is macOS.", "--gpu H100"),
        (plan_for(Target(os="windows"), Wish()), "SGLang has no wheels for Windows.", "WSL 2"),
        (plan_for(Target(libc="musl"), Wish()), "torch and the kernels need glibc; this system has musl.", "Debian"),
        (plan_for(Target(vendor="amd"), Wish()), "This machine's accelerator is from amd; the plans are for NVIDIA GPUs.", "--gpu H100"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_would_help(found: Plan, reason: str, help_: str) -> None:
    assert (found.status, found.environments, found.reason) == ("refused", (), reason)
    assert any(help_ in note for note in found.notes)


def test_a_release_that_is_not_known_is_no_reason_to_guess() -> None:
    found = plan("H100", release="0.9.9")
    assert found.status == "refused"
    day = str(table("health.json")["generated_at"])[:10]
    assert found.reason == f"No sglang release 0.9.9 is known; the newest in the tables is {NEWEST}, as of {day}."


def test_a_dead_pin_is_refused_with_the_override_and_the_nearest() -> None:
    found = plan("H100", release="0.5.3.post1")
    assert (found.status, found.nearest) == ("refused", "0.5.2")
    assert found.notes == (
        "The nearest release that works there is 0.5.2: --sglang 0.5.2",
        "--override replaces what is gone: transformers==4.57.1, apache-tvm-ffi==0.1.0: sglang 0.5.3.post1 would work",
    )


def test_the_nearest_release_is_one_that_this_machine_runs() -> None:
    found = plan("A40", driver="535", release="latest")
    assert (found.status, found.nearest) == ("refused", OLD)
    assert "Driver 580 or newer: sglang " + NEWEST + " would work" in found.notes


def test_a_specifier_takes_the_newest_within_it() -> None:
    assert chosen(plan("H100", release=">=0.5.5,<0.5.7")) == "0.5.6.post2"
    assert chosen(plan("H100", release="0.5.5")) == "0.5.5"


def test_further_requirements_choose_a_release_that_fits_them() -> None:
    assert chosen(plan("H100", additions=("transformers==4.54.1",))) == "0.4.10.post2"
    found = plan("H100", release="0.5.5", additions=("torch<2.8",))
    assert (
        found.reason == "sglang 0.5.5 cannot be installed here: it brings torch 2.8.0, which --with torch<2.8 excludes."
    )


def test_the_kernels_come_once() -> None:
    found = plan("H100", release="0.5.23", additions=("sgl_kernel==0.3.5",))
    assert found.reason == (
        "sglang 0.5.23 cannot be installed here: --with sgl-kernel==0.3.5 would overwrite the files of sglang-kernel "
        "0.4.10; both are its kernels."
    )
    assert chosen(plan("H100", additions=("sgl-kernel==0.3.5",))) == "0.5.1.post2"


@pytest.mark.parametrize(
    ("additions", "release"),
    [
        (("torch==2.4; sys_platform == 'win32'",), OLD),
        (("torch==2.8.0; platform_machine == 'x86_64' and python_version == '3.12'",), "0.5.5.post3"),
        (("sglang==0.5.5",), "0.5.5"),
    ],
)
def test_a_requirement_counts_where_its_marker_holds(additions: tuple[str, ...], release: str) -> None:
    assert chosen(plan("H100", additions=additions)) == release


@pytest.mark.parametrize(
    ("release", "taken"),
    [(">=0.5.0rc0,<=0.5.0rc2", "0.5.0rc2"), ("==0.5.3rc0,!=0.5.3", "0.5.3rc0"), (">=0.5.1,<0.5.3", "0.5.2")],
)
def test_a_specifier_that_names_a_pre_release_takes_pre_releases(release: str, taken: str) -> None:
    assert chosen(plan("H100", release=release)) == taken


def test_blackwell_takes_labelled_builds_where_the_default_ones_hold_no_code() -> None:
    found = plan("RTX 5090", release="0.4.9")
    steps = found.environments[0].steps
    assert [(step.name, step.requirements[-1], step.index) for step in steps] == [
        ("torch", "torchaudio==2.7.1", "https://download.pytorch.org/whl/cu128"),
        ("flashinfer", "flashinfer-python==0.2.7.post1", None),
        ("sglang", "sgl-kernel==0.2.4+cu128", "https://docs.sglang.ai/whl/cu128/"),
    ]
    assert steps[0].requirements[0] == "torch==2.7.1+cu128"
    assert dict(found.environments[0].versions)["torch"] == "2.7.1"


def test_no_labelled_build_no_plan() -> None:
    found = plan("RTX 5090", release="0.4.6.post1")
    assert found.reason == (
        "sglang 0.4.6.post1 cannot be installed here: its kernels (sgl-kernel 0.1.0) hold no code for NVIDIA GeForce "
        "RTX 5090 (12.0)."
    )


def test_kernels_for_arm_are_told_apart() -> None:
    assert plan("A40", arch="aarch64", driver="580", release=NEWEST).reason == (
        f"sglang {NEWEST} cannot be installed here: its kernels for aarch64 (sglang-kernel 0.4.10) hold no code for "
        "NVIDIA A40 (8.6)."
    )


def test_arm_takes_torch_with_cuda() -> None:
    assert requirements(plan("GH200", release="0.5.9"))[0] == "torch==2.9.1+cu130"
    assert requirements(plan("GH200", release="0.5.5", driver="550"))[0] == "torch==2.8.0+cu129"
    assert requirements(plan("GH200", release="0.5.11"))[0] == "torch==2.11.0"


@pytest.mark.parametrize(
    ("cuda", "release", "torch"),
    [("13.0", "0.5.9", "torch==2.9.1+cu130"), ("12.6", "0.5.5", "torch==2.8.0+cu126"), ("12.8", "0.5.5", "torch==2.8.0"),
     ("12.2", "0.5.5", "torch==2.8.0"), ("12.8", "0.4.9", "torch==2.7.1+cu128")],
)  # fmt: skip
def test_the_cuda_that_was_asked_for_where_there_is_a_build(cuda: str, release: str, torch: str) -> None:
    found = plan("H100", cuda=cuda, release=release)
    assert requirements(found)[0] == torch


def test_a_release_with_the_cuda_that_was_asked_for_is_named() -> None:
    assert plan("H100", cuda="12.6").notes[:2] == (
        "torch 2.9.1 is built for CUDA 12.8; of a build for 12.6 nothing is known. It brings its own CUDA libraries and "
        "runs all the same.",
        "The newest release with a build for CUDA 12.6 is 0.5.5.post3: --sglang 0.5.5.post3",
    )


def test_a_driver_that_is_too_old_for_the_cuda_that_was_asked_for_is_a_contradiction() -> None:
    found = plan("H100", cuda="13.0", driver="535")
    assert (found.reason, found.notes) == (
        "CUDA 13.0 needs driver 580 or newer; this is driver 535.",
        ("Leave out --cuda, or install driver 580 or newer.",),
    )


def test_a_label_in_a_requirement_asks_for_that_build() -> None:
    found = plan("H100", release="0.5.5", additions=("torch==2.8.0+cu126",))
    assert requirements(found)[0] == "torch==2.8.0+cu126"
    assert "torch==2.8.0" in requirements(found)


def test_cuda_is_an_upper_bound() -> None:
    assert chosen(plan("H100", cuda="12.4")) == OLD
    assert plan("H100", cuda="12.4", release="latest").reason == (
        f"sglang {NEWEST} cannot be installed here: torch 2.14.1 is built for CUDA 13.0, newer than CUDA 12.4."
    )


def test_a_plan_survives_its_own_json() -> None:
    for found in (plan("A40"), plan("V100"), plan("RTX 5090", release="0.4.9")):
        assert as_record(from_record(as_record(found))) == as_record(found)


def machine(**facts: object) -> Snapshot:
    usual = {"os.name": "linux", "cpu.arch": "x86_64", "libc.name": "glibc", "libc.version": "2.31", **facts}
    return Snapshot({name.replace("__", "."): Known(value, "test") for name, value in usual.items()})  # type: ignore[arg-type]


def test_what_was_not_named_is_taken_from_this_machine() -> None:
    here = machine(gpus=[{"name": "NVIDIA A40"}, {"name": "NVIDIA A40"}], driver__version="535.183.01")
    found = completed(named(), here, arch_given=False)
    assert [model.name for model in found.gpus] == ["NVIDIA A40"]
    assert (found.driver, found.glibc, found.count) == ("535.183.01", "2.31", 2)


def test_another_gpu_means_another_machine() -> None:
    here = machine(gpus=[{"name": "NVIDIA A40"}], driver__version="535.183.01")
    assert completed(named(gpus=("H100",)), here, arch_given=False).driver is None
    assert completed(named(gpus=("GH200",)), here, arch_given=False).glibc is None


def test_the_c_library_of_this_machine_is_an_assumption_for_another() -> None:
    said = "C library taken from this machine: glibc 2.31. Say another with --glibc."
    here = machine(gpus=[{"name": "NVIDIA A40"}], driver__version="535.183.01")
    told = {
        "another GPU": completed(named(gpus=("H100",), driver="535", python="3.12"), here, arch_given=False),
        "this GPU": completed(named(gpus=("A40",), python="3.12"), here, arch_given=False),
        "named": completed(named(gpus=("H100",), driver="535", python="3.12", glibc="2.35"), here, arch_given=False),
    }
    assert {name: plan_for(target, Wish()).assumptions for name, target in told.items()} == {
        "another GPU": (said,),
        "this GPU": (),
        "named": (),
    }
    assert vllm.plan_for(told["another GPU"], Wish("vllm")).assumptions == (said,)


def test_a_mac_without_a_named_gpu_is_planned_for_itself() -> None:
    here = machine(**{"os.name": "darwin", "libc.name": None, "cpu.arch": "aarch64"})
    assert completed(named(), here, arch_given=False).os == "darwin"
    other = completed(named(gpus=("H100",)), here, arch_given=False)
    assert (other.os, other.arch, other.glibc) == ("linux", "x86_64", None)


@pytest.mark.parametrize(("recording", "count"), [("h200", 1), ("h200-x2", 2)])
def test_a_real_machine_is_planned_for_as_it_is(recording: str, count: int) -> None:
    system = RecordedSystem(str(FIXTURES / "machines" / recording))
    found = completed(named(), observe(system, Scope(environment=False)), arch_given=False)
    assert ([model.name for model in found.gpus], found.driver, found.count) == (["NVIDIA H200"], "580.159.04", count)
    ready = plan_for(found, Wish())
    assert (chosen(ready), [text for text in ready.assumptions if "Driver" in text]) == (NEWEST, [])
