"""Small environments on disk, laid out as pip and uv lay them out."""

from __future__ import annotations

from pathlib import Path


def make_venv(folder: Path, python: str = "3.12.1", *, system_packages: bool = False, home: str = "/usr/bin") -> Path:
    """Make a venv as ``python -m venv`` does and return its site-packages folder."""
    minor = ".".join(python.split(".")[:2])
    site = folder / "lib" / f"python{minor}" / "site-packages"
    site.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text("#!/bin/sh\n")
    (folder / "bin" / "python").chmod(0o755)
    (folder / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = {str(system_packages).lower()}\nversion = {python}\n"
    )
    return site


def add(site: Path, name: str, version: str, *lines: str, module: str | None = None) -> Path:
    """Install a distribution that is nothing but metadata, and return its metadata folder."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    head = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines])
    (folder / "METADATA").write_text(f"{head}\n\nA long description: Version: 99\n")
    (folder / "INSTALLER").write_text("uv\n")
    if module:
        (site / module).mkdir()
        (site / module / "__init__.py").write_text("")
    return folder
