"""A package index in a folder: tiny wheels and source packages that uv installs without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

_BUILD = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
_BACKEND = """\
import pathlib, shutil
def build_wheel(folder, config_settings=None, metadata_directory=None):
    wheel = next(pathlib.Path(__file__).parent.glob("*.whl"))
    shutil.copy(wheel, folder)
    return wheel.name
"""


class LocalIndex:
    """Pages as PEP 503 has them, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root / "simple"
        self.root.mkdir(parents=True)
        self.url = f"file://{self.root}"

    def add(
        self, name: str, version: str, *, requires: tuple[str, ...] = (), files: dict[str, str] | None = None,
        module: str | None = None, padding: int = 0, source: bool = False, wrong_hash: bool = False,
    ) -> Path:  # fmt: skip
        """Put a package into the index and return its file.

        Args:
            name: of the distribution.
            version: of it.
            requires: its requirements.
            files: contents of further files.
            module: the module that it brings, if that has another name.
            padding: bytes that do not compress, so that it is large.
            source: offer a source package alone.
            wrong_hash: the page names another hash than the file has.
        """
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        path = write_wheel(folder, name, version, requires, files or {}, module, padding)
        if source:
            wheel, path = path, _source(folder, name, version, requires, path)
            wheel.unlink()
        digest = "0" * 64 if wrong_hash else hashlib.sha256(path.read_bytes()).hexdigest()
        page = folder / "index.html"
        known = page.read_text() if page.exists() else ""
        core = ' data-core-metadata="true"' if path.suffix == ".whl" else ""
        page.write_text(f'{known}<a href="{path.name}#sha256={digest}"{core}>{path.name}</a>\n')
        return path


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    requires: tuple[str, ...],
    files: dict[str, str],
    module: str | None,
    padding: int,
) -> Path:
    """Write a wheel for every Python and return its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    contents: dict[str, bytes] = {
        f"{module or name.replace('-', '_')}/__init__.py": f"__version__ = {version!r}\n".encode(),
        **{path: text.encode() for path, text in files.items()},
        f"{info}/METADATA": "\n".join(
            [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(f"Requires-Dist: {r}" for r in requires),
                "",
            ]
        ).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if padding:
        contents[f"{name}/padding.bin"] = hashlib.shake_128(name.encode()).digest(padding)
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in contents.items()]
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{stem}-py3-none-any.whl"
    path.with_name(f"{path.name}.metadata").write_bytes(contents[f"{info}/METADATA"])
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in contents.items():
            archive.writestr(zipfile.ZipInfo(place), data)
    return path


def _source(folder: Path, name: str, version: str, requires: tuple[str, ...], wheel: Path) -> Path:
    stem = f"{name}-{version}"
    metadata = "\n".join(
        [
            "Metadata-Version: 2.2",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
            "",
        ]
    )
    contents = {
        "PKG-INFO": metadata.encode(), "pyproject.toml": f"{_BUILD}[project]\nname='{name}'\nversion='{version}'\n".encode(),
        "backend.py": _BACKEND.encode(), wheel.name: wheel.read_bytes(),
    }  # fmt: skip
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for place, data in contents.items():
            entry = tarfile.TarInfo(f"{stem}/{place}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
