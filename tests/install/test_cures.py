from __future__ import annotations

from typing import Any

from sgldoctor.api import check
from sgldoctor.install.cures import Cure, cures
from sgldoctor.rules.validate import example_snapshot

PLACE = {"python.executable": "/v/bin/python", "python.prefix": "/v"}
UV = ("uv", "pip", "install", "--python", "/v/bin/python")
TORCH = {
    "package": "torch", "requirement": "torch==2.9.1", "required_by": "sglang 0.5.9", "installed": "2.7.0",
    "problem": "version", "direct": True,
}  # fmt: skip


def found(facts: dict[str, Any], *rules: str) -> list[Cure]:
    return cures(check(example_snapshot({**PLACE, **facts}), keep=lambda problem: problem.id in rules))


def test_the_first_way_that_check_names_is_taken() -> None:
    (cure,) = found({"package.torch": "2.7.0", "package.sgl-kernel": "0.3.5"}, "kernel-does-not-fit-torch")
    assert cure.commands == ((*UV, "--force-reinstall", "--no-deps", "sgl-kernel==0.2.8"),)
    assert (cure.text, cure.keeps_torch) == ("Keep torch and take the kernels that fit it.", True)


def test_where_the_pins_of_the_release_are_broken_too_they_are_brought_back() -> None:
    facts = {
        "package.sglang": "0.5.9", "package.torch": "2.7.0", "package.sgl-kernel": "0.3.21",
        "requirements.unmet": [TORCH],
    }  # fmt: skip
    (cure,) = found(facts, "kernel-does-not-fit-torch", "torch-differs-from-pin")
    assert cure.commands == ((*UV, "sglang==0.5.9"),)
    assert (cure.finding, cure.keeps_torch) == ("kernel-does-not-fit-torch", False)


def test_removals_come_with_the_installation_that_follows_them() -> None:
    facts = {
        "package.sglang": "0.5.9", "torch.backend": "cpu", "package.torch": "2.9.1+cpu", "platform.kind": "nvidia",
    }  # fmt: skip
    (cure,) = found(facts, "torch-built-for-cpu")
    uninstall = ("uv", "pip", "uninstall", "--python", "/v/bin/python", "torch", "torchvision", "torchaudio")
    assert cure.commands == (uninstall, (*UV, "sglang==0.5.9"))


def test_what_the_system_lacks_is_no_change_of_packages() -> None:
    facts = {
        "os.family": "debian",
        "kernel.libraries_missing": [{"name": "libnuma.so.1", "needed_by": "common_ops.abi3.so", "apt": "libnuma1"}],
    }
    assert found(facts, "kernel-needs-libnuma") == []
