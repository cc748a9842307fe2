"""C++ names as people write them, and names that would fill the memory."""

from __future__ import annotations

import pytest

from sgldoctor.binary.names import demangled


@pytest.mark.parametrize(
    ("mangled", "shown"),
    [
        ("_ZN3c104cuda9SetDeviceEab", "c10::cuda::SetDevice(signed char, bool)"),
        ("_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
         "c10::Error::Error(c10::SourceLocation, std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char>>)"),
        ("_ZN3c1021AutogradMetaInterfaceD2Ev", "c10::AutogradMetaInterface::~AutogradMetaInterface()"),
        ("_ZTIN3c105ErrorE", "typeinfo for c10::Error"),
        ("_ZNK2at10TensorBase8data_ptrIfEEPT_v", "float* at::TensorBase::data_ptr<float>() const"),
        ("cudaGetDriverEntryPointByVersion", "cudaGetDriverEntryPointByVersion"),
        ("", ""),
        ("_Z", "_Z"),
        ("_ZN", "_ZN"),
        ("_Z999999999999a", "_Z999999999999a"),
        ("_ZTS", "_ZTS"),
    ],
)  # fmt: skip
def test_names_are_shown_in_cpp_where_they_are_cpp(mangled: str, shown: str) -> None:
    assert demangled(mangled) == shown


@pytest.mark.parametrize(
    "name",
    [
        "_ZN" + "1a" * 20_000 + "E",
        "_Z1f" + "P" * 60_000 + "i",
        "_Z1f" + "1aI" * 30 + "i" + "".join(f"S{'0123456789ABCDEFGHIJKLMNOPQRS'[n - 1] if n else ''}_E" for n in range(30)),  # 10 GB
    ],
    ids=["long", "deep", "doubling"],
)  # fmt: skip
def test_names_beyond_measure_are_shown_as_they_are(name: str) -> None:
    assert demangled(name) == name
