"""What follows from the files of torch and the kernels: they go before versions and tables."""

from __future__ import annotations

from typing import Any

import pytest

from sgldoctor.derive import derive
from sgldoctor.snapshot import Known, Snapshot, Unknown

SET_DEVICE = {
    "kind": "symbol", "name": "_ZN3c104cuda9SetDeviceEab", "shown": "c10::cuda::SetDevice(signed char, bool)",
    "needed_by": "common_ops.abi3.so",
}  # fmt: skip


def library(variant: str = "flat", *, loads: bool = True, **about: Any) -> dict[str, Any]:
    path = f"/site/sgl_kernel/{variant}/common_ops.abi3.so"
    return {"path": path, "variant": variant, "loads": loads, "targets": "sm_80 sm_90", "cuda_major": "12", **about}


def failing(file: dict[str, Any], *failures: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"path": file["path"], **failure} for failure in failures]


def derived(**facts: Any) -> Snapshot:
    """Derive from a torch 2.8.0 that loads and from what is given; ``kernel__files`` stands for ``kernel.files``."""
    given = {"package__torch": "2.8.0", "torch__failures": [], "kernel__module": True, "torch__cuda": "12.8", **facts}
    known = {name.replace("__", ".").replace("_kernel", "-kernel"): value for name, value in given.items()}
    return derive(Snapshot({n: v if isinstance(v, Known | Unknown) else Known(v, "test") for n, v in known.items()}))


@pytest.mark.parametrize(
    ("capability", "variant"),
    [("9.0", "sm90"), ("8.6", "sm100"), ("10.0", "sm100"), ("12.0", "sm100"), (None, "sm100")],
)
def test_the_library_is_chosen_as_sgl_kernel_chooses(capability: str | None, variant: str) -> None:
    gpus = [{"index": 0, "name": "a GPU", "capability": capability, "visible": True}] if capability else []
    files = [library("sm90"), library("sm100"), library()]
    seen = derived(kernel__files=files, kernel__failures_by_file=[], gpus=gpus)
    assert seen.value("kernel.file") == f"/site/sgl_kernel/{variant}/common_ops.abi3.so"


def test_the_next_library_is_taken_where_the_first_does_not_load() -> None:
    broken = library("sm100", loads=False)
    seen = derived(kernel__files=[broken, library()], kernel__failures_by_file=failing(broken, SET_DEVICE))
    assert (seen.value("kernel.loads"), seen.value("kernel.fits_torch")) == (True, True)


def test_the_file_decides_whatever_the_versions_say() -> None:
    files = [library(fits="2.8.0", targets="sm_120a")]
    seen = derived(package__sgl_kernel="0.2.9", kernel__files=files, kernel__failures_by_file=[])
    assert [seen.value(f"kernel.{name}") for name in ("fits_torch", "targets", "torch_window")] == [
        True, ["sm_120a"], "==2.8.*",
    ]  # fmt: skip


def test_a_symbol_that_torch_does_not_export_is_told_with_what_would_fit() -> None:
    files = [library(loads=False, fits="2.8.0")]
    seen = derived(
        package__torch="2.7.0", torch__version="2.7.0+cu126", package__sgl_kernel="0.3.5", kernel__files=files,
        kernel__failures_by_file=failing(files[0], SET_DEVICE),
    )  # fmt: skip
    assert seen.value("kernel.mismatch") == (
        "torch 2.7.0 is too old for sgl-kernel 0.3.5, which fits torch 2.8; it needs c10::cuda::SetDevice(signed char, "
        "bool) (_ZN3c104cuda9SetDeviceEab), which is not there. Torch 2.7.0 takes sgl-kernel 0.1.7 to 0.2.9."
    )


def test_the_old_string_of_cpp_is_named() -> None:
    old = {**SET_DEVICE, "name": "_ZN5torch3jit17parseSchemaOrNameERKSsb", "shown": "torch::jit::parseSchemaOrName"}
    files = [library(loads=False, fits="2.6.0")]
    seen = derived(kernel__files=files, kernel__failures_by_file=failing(files[0], old, SET_DEVICE))
    assert seen.value("kernel.misfit") == (
        "torch::jit::parseSchemaOrName (_ZN5torch3jit17parseSchemaOrNameERKSsb) of the old C++ ABI and 1 more"
    )


def test_no_torch_is_named_that_should_fit_and_does_not() -> None:
    files = [library(loads=False, fits="2.8.0")]
    seen = derived(kernel__files=files, kernel__failures_by_file=failing(files[0], SET_DEVICE))
    assert isinstance(seen.get("kernel.torch_window"), Unknown)
    assert str(seen.value("kernel.mismatch")).startswith("sgl_kernel does not fit torch 2.8.0; it needs ")


@pytest.mark.parametrize(
    ("fits", "window"),
    [("2.8.0", "==2.8.*"), ("2.14.0 2.14.1 2.15.0", ">=2.14,<2.16"), ("2.9.0 2.9.1", "==2.9.*")],
)
def test_the_window_is_what_exports_all_symbols(fits: str, window: str) -> None:
    seen = derived(package__torch="2.6.0", kernel__files=[library(fits=fits)], kernel__failures_by_file=[])
    assert seen.value("kernel.torch_window") == window


def test_a_torch_that_was_imported_with_a_release_goes_before_one_that_only_exports_its_symbols() -> None:
    files = [library(fits="2.5.0 2.5.1 2.6.0")]
    seen = derived(package__sgl_kernel="0.1.0", kernel__files=files, kernel__failures_by_file=[])
    assert seen.value("kernel.torch_window") == "==2.6.*"


def test_each_missing_library_comes_with_the_package_that_brings_it() -> None:
    missing = [
        {"kind": "library", "name": name, "shown": name, "needed_by": "common_ops.abi3.so"}
        for name in ("libnuma.so.1", "libnvrtc.so.12", "libcudnn.so.9", "libmystery.so.7")
    ]
    files = [library(loads=False)]
    seen = derived(kernel__files=files, kernel__failures_by_file=failing(files[0], *missing), packages=[])
    assert [(item["apt"], item["index"]) for item in seen.records("kernel.libraries_missing")] == [
        ("libnuma1", None), (None, "nvidia-cuda-nvrtc-cu12"), (None, "nvidia-cudnn-cu12"), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("damaged", "index"), [([], None), ([{"name": "nvidia-cuda-nvrtc-cu12"}], "nvidia-cuda-nvrtc-cu12==12.4.127")]
)
def test_a_package_that_is_there_and_whole_is_no_cure(damaged: list[dict[str, str]], index: str | None) -> None:
    missing = {
        "kind": "library",
        "name": "libnvrtc.so.12",
        "shown": "libnvrtc.so.12",
        "needed_by": "common_ops.abi3.so",
    }
    files = [library(loads=False)]
    facts = {"package.nvidia-cuda-nvrtc-cu12": "12.4.127", "packages.damaged": damaged}
    seen = derived(kernel__files=files, kernel__failures_by_file=failing(files[0], missing), **facts)
    assert [item["index"] for item in seen.records("kernel.libraries_missing")] == [index]


def test_nothing_is_said_of_the_kernels_where_torch_does_not_load() -> None:
    failures = [{"kind": "library", "name": "libcublas.so.12", "shown": "libcublas.so.12", "needed_by": "libtorch.so"}]
    files = [library(loads=False)]
    seen = derived(
        torch__failures=failures, kernel__files=files, kernel__failures_by_file=failing(files[0], SET_DEVICE)
    )
    assert (seen.value("torch.loads"), seen.value("kernel.loads")) == (False, None)
    assert seen.value("torch.missing_package") == "nvidia-cublas-cu12"


def test_kernels_without_any_torch_do_not_load() -> None:
    assert derived(torch__failures=None).value("torch.loads") is False
    assert derived(torch__failures=None, kernel__module=False).value("torch.loads") is None


def test_files_that_cannot_be_read_leave_the_verdict_to_the_table() -> None:
    reason = Unknown("no permission")
    seen = derived(package__sgl_kernel="0.2.9", kernel__files=reason, kernel__failures_by_file=reason)
    assert seen.value("kernel.fits_torch") is False
    assert seen.get("kernel.loads") == reason


def test_kernels_of_the_other_name_are_to_be_removed_first() -> None:
    assert derived(package__sgl_kernel="0.3.15").value("kernel.to_remove") is None
    assert derived(package__sglang_kernel="0.4.0").value("kernel.to_remove") == "sglang-kernel"
