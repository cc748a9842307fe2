"""Mangled C++ names by what they are; each a regular expression for the start of the name."""

OF_TORCH = r"^_Z.*(?:3c10|2at|5torch|6caffe2)\d"
"""Names in torch's namespaces: c10, at, torch and caffe2."""

OLD_STRING = r"^_Z.*(?:RK|E|P)Ss"
"""std::string as a parameter before GCC's cxx11 ABI: torch had it up to 2.6, the kernels up to 0.1.6.post1."""
