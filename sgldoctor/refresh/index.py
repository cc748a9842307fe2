"""Reading a Python package index: the simple API (PEP 503, 691), METADATA (PEP 658), parts of wheels."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
import zlib
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from packaging.utils import canonicalize_name
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sgldoctor.errors import SgldoctorError

if TYPE_CHECKING:
    from sgldoctor.system import System

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
RETRIES = 4
_INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_PIP_DEFAULT = re.compile(r"Base URL of the Python Package Index \(default (https?://[^\s)]+)\)")
_BLOCK = 1 << 16
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # the last: encrypted, or an unknown method


class PackageIndexError(SgldoctorError):
    """The package index cannot be found or read."""


@dataclass(frozen=True, slots=True)
class IndexFile:
    """One file of a project as the index lists it."""

    name: str
    url: str
    requires_python: str | None
    uploaded: str | None
    yanked: bool
    has_metadata: bool
    sha256: str | None = None
    metadata_sha256: str | None = None


def find_index(system: System) -> str:
    """Return the URL of the simple index that pip or uv is configured to use, else pip's own default.

    Raises:
        PackageIndexError: nothing is configured, and there is no pip to ask.
    """
    environment = system.environ()
    for variable in _INDEX_VARIABLES:
        if value := environment.get(variable, "").strip():
            return value.partition("=")[2] if re.match(r"[\w.-]+=", value) else value  # uv allows NAME=URL
    pip = [system.own_python(), "-m", "pip"]
    try:
        configured = system.run([*pip, "config", "get", "global.index-url"], timeout=30)
        if configured.code == 0 and configured.out.strip():
            return configured.out.strip()
        usage = system.run([*pip, "install", "--help"], timeout=30).out
    except OSError as error:
        raise PackageIndexError(f"pip cannot be asked for the package index: {error}") from error
    if found := _PIP_DEFAULT.search(" ".join(usage.split())):
        return found[1]
    raise PackageIndexError("no package index is configured; name one with --index-url")


class PackageIndex:
    """A session with one package index; safe to use from several threads."""

    def __init__(self, url: str, connections: int, certificates: str | None = None) -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise PackageIndexError("the package index must be an http or https URL")
        self._read, self._reading = 0, threading.Lock()
        self._url = url.rstrip("/")
        retry = Retry(
            total=RETRIES, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504),
            respect_retry_after_header=False,  # a server may ask for days
        )  # fmt: skip
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "sgldoctor-refresh"
        if certificates:
            self._session.verify = certificates
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections, max_retries=retry))

    @property
    def read(self) -> int:
        """Return how many bytes of answers came so far, as they were sent, without their headers."""
        return self._read

    def count(self, answer: requests.Response) -> None:
        """Add what was read of an answer."""
        with self._reading:
            self._read += answer.raw.tell()

    def files(self, project: str) -> list[IndexFile]:
        """Return all files of a project, as JSON or as HTML, whichever the index answers with."""
        page = f"{self._url}/{canonicalize_name(project)}/"
        answer = self.get(page, Accept=ACCEPT)
        if "json" in answer.headers.get("Content-Type", ""):
            try:
                return [_from_json(row, answer.url) for row in answer.json()["files"]]
            except (ValueError, KeyError, TypeError, AttributeError):
                problem = f"the package index answers for {project} with what is no list of files"
                raise PackageIndexError(problem) from None
        parser = _Anchors()
        parser.feed(answer.text)
        return [_from_anchor(name, attributes, answer.url) for name, attributes in parser.found]

    def metadata(self, wheel: IndexFile) -> bytes:
        """Return a wheel's METADATA: the file beside it where offered, else that part of the wheel alone.

        Raises:
            PackageIndexError: no answer, no readable wheel, or another file than the index lists.
        """
        if wheel.has_metadata:
            content = self.get(f"{wheel.url}.metadata").content
            return _listed(content, wheel.metadata_sha256, f"the METADATA of {wheel.name}")
        try:
            with zipfile.ZipFile(io.BufferedReader(_RemoteFile(self, wheel.url), _BLOCK)) as archive:
                for name in archive.namelist():
                    if re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
                        return archive.read(name)
        except _UNREADABLE as error:
            raise PackageIndexError(f"{wheel.name} is no readable wheel: {error}") from error
        raise PackageIndexError(f"{wheel.name} holds no METADATA")

    def whole(self, file: IndexFile) -> bytes:
        """Return all of a file.

        Raises:
            PackageIndexError: no answer, or another file than the index lists.
        """
        return _listed(self.get(file.url).content, file.sha256, file.name)

    def get(self, url: str, **headers: str) -> requests.Response:
        """Fetch a URL.

        Raises:
            PackageIndexError: no answer, or an error; the text holds no URL, so no password.
        """
        name = urlsplit(url).path.rstrip("/").rpartition("/")[2]
        try:
            answer = self._session.get(url, headers=headers, timeout=TIMEOUT)
        except requests.RequestException as error:
            problem = type(error).__name__
            raise PackageIndexError(f"the package index does not answer for {name}: {problem}") from None
        if not answer.ok:
            raise PackageIndexError(f"the package index answers {answer.status_code} for {name}")
        self.count(answer)
        return answer


def _listed(content: bytes, sha256: str | None, name: str) -> bytes:
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise PackageIndexError(f"{name} is not the file that the package index lists: its SHA-256 digest is another")
    return content


class _RemoteFile(io.RawIOBase):
    """A file on a web server that is read piece by piece with Range requests."""

    def __init__(self, index: PackageIndex, url: str) -> None:
        super().__init__()
        self._index, self._url, self._at = index, url, 0
        first = self._fetch("bytes=0-0")
        self._whole = first.content if first.status_code == requests.codes.ok else None
        total = first.headers.get("Content-Range", "").rpartition("/")[2]
        if self._whole is None and not total.isdigit():
            raise PackageIndexError("the package index does not tell how large its files are")
        self._size = int(total) if self._whole is None else len(self._whole)

    def _fetch(self, span: str) -> requests.Response:
        return self._index.get(self._url, Range=span, **{"Accept-Encoding": "identity"})

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        if self._whole is not None:
            piece = self._whole[self._at : end]
        else:
            piece = self._fetch(f"bytes={self._at}-{end - 1}").content[: end - self._at]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Anchors(HTMLParser):
    """Collects the links of an index page: text and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = dict(attrs) if tag == "a" else self._open

    def handle_data(self, data: str) -> None:
        if self._open is not None and data.strip():
            self.found.append((data.strip(), self._open))
            self._open = None


def _from_json(row: dict[str, Any], page: str) -> IndexFile:
    metadata = row.get("core-metadata") or row.get("dist-info-metadata")
    return IndexFile(
        row["filename"], urljoin(page, row["url"]), row.get("requires-python"), row.get("upload-time"),
        bool(row.get("yanked")), bool(metadata), _sha256(row.get("hashes")), _sha256(metadata),
    )  # fmt: skip


def _sha256(digests: object) -> str | None:
    digest = digests.get("sha256") if isinstance(digests, dict) else None
    return digest.lower() if isinstance(digest, str) and _SHA256.fullmatch(digest) else None


def _from_anchor(name: str, attributes: dict[str, str | None], page: str) -> IndexFile:
    offered = attributes.get("data-core-metadata") or attributes.get("data-dist-info-metadata")
    url, _, digest = urljoin(page, attributes.get("href") or "").partition("#")
    return IndexFile(
        name, url, attributes.get("data-requires-python"), attributes.get("data-upload-time"),
        "data-yanked" in attributes, offered not in {None, "", "false"}, _named(digest), _named(offered),
    )  # fmt: skip


def _named(digest: str | None) -> str | None:
    """Return the digest of ``sha256=...``."""
    kind, _, value = (digest or "").partition("=")
    return _sha256({kind: value})
