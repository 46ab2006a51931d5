"""Fetching one file of the archive: from a local mirror or a replica, resumed where it broke off, verified, whole."""

import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from urllib3.exceptions import NewConnectionError

from sealiency.config.esgf import Esgf
from sealiency.errors import SealiencyError
from sealiency.esgf.manifest import ArchivedFile, Manifest
from sealiency.naming import expand_path
from sealiency.progress import track

LOGGER = logging.getLogger(__name__)
# Little is lost when a connection breaks in the middle of a chunk.
CHUNK = 16 * 1024
LONGEST_WAIT = 60.0
MAGIC = (b"CDF", b"\x89HDF\r\n\x1a\n")
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _UnfitError(Exception):
    """A replica that will not do; another may."""


class _InterruptedError(Exception):
    """A download that broke off and may go on."""


def fetch_file(file: ArchivedFile, manifest: Manifest, settings: Esgf) -> Path:
    """Return where a verified copy of a file lies, downloading it if there is none.

    A local mirror comes first and is read in place, then a copy that is already in the folder, then each replica in
    turn. Whatever its origin, a copy counts only if its size and checksum are those of the manifest. A download lies
    beside its place as `.<name>.part` until it is whole, and a later call goes on with it.

    Parameters
    ----------
    file
        File of the manifest.
    manifest
        The data set's manifest.
    settings
        Folder, mirrors and patience.

    Raises
    ------
    SealiencyError
        If no replica gives the file, with the reason of each, or the disk is full.
    """
    for root in settings.mirrors:
        path = manifest.locate(expand_path(root), file)
        if _is_whole(path, file):
            return path
    target = manifest.locate(expand_path(settings.folder), file)
    if _is_whole(target, file):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f".{file.name}.lock")):
            # Another run may have brought it meanwhile.
            if not _is_whole(target, file):
                partial = target.with_name(f".{file.name}.part")
                _download(file, partial, settings)
                partial.replace(target)
    except (OSError, NotImplementedError) as error:
        raise SealiencyError(
            f"{target.parent}: cannot be written ({error}); make it writable, with locks, or name another "
            "data.esgf.folder"
        ) from None
    LOGGER.info("%s: fetched and verified", target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOGGER.info("%s: another run is fetching it; waiting", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_whole(path: Path, file: ArchivedFile) -> bool:
    try:
        problem = find_problem(path, file)
    except FileNotFoundError:
        return False
    except OSError as error:
        problem = f"it cannot be read ({error.strerror})"
    if problem is None:
        LOGGER.info("%s: there and verified", path)
    else:
        LOGGER.warning("%s: not used, %s", path, problem)
    return problem is None


def find_problem(path: Path, file: ArchivedFile) -> str | None:
    """Return what is wrong with a copy of a file, or None."""
    size = path.stat().st_size
    if size != file.size:
        return f"it has {size} bytes, the manifest says {file.size}"
    with open(path, "rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    if checksum != file.checksum:
        return f"its SHA256 is {checksum}, the manifest says {file.checksum}"
    return None


def _download(file: ArchivedFile, partial: Path, settings: Esgf) -> None:
    reasons = []
    with requests.Session() as session:
        for replica in file.replicas:
            try:
                _try_replica(session, replica.url, file, partial, settings)
            except _UnfitError as error:
                LOGGER.warning("%s: not from %s, %s", file.name, replica.data_node, error)
                reasons.append(f"- {replica.url}: {error}")
            else:
                return
    raise SealiencyError(
        f"{file.name}: none of its {len(reasons)} replica(s) gives it; try again later, compare the manifest with the "
        "index by `sealiency esgf resolve --check`, or put the file into a mirror of your own\n" + "\n".join(reasons)
    )


def _try_replica(session: requests.Session, url: str, file: ArchivedFile, partial: Path, settings: Esgf) -> None:
    furthest, failures = _size(partial), 0
    in_one_go = afresh = False
    while True:
        try:
            if _size(partial) != file.size:
                in_one_go = not _size(partial)
                _request(session, url, file, partial, settings.timeout)
        except _InterruptedError as error:
            if _size(partial) > furthest:
                furthest, failures = _size(partial), 0
            failures += 1
            if failures >= settings.attempts:
                raise _UnfitError(f"{error}, {failures} time(s) in a row") from None
            wait = min(settings.wait * 2 ** (failures - 1), LONGEST_WAIT)
            LOGGER.info("%s: %s; again in %g s", file.name, error, wait)
            time.sleep(wait)
            continue
        problem = find_problem(partial, file)
        if problem is None:
            return
        partial.unlink()
        if in_one_go or afresh:
            raise _UnfitError(problem)
        # Any of the pieces may be the bad one.
        LOGGER.info("%s: put together from pieces, %s; once more from the start", file.name, problem)
        furthest, afresh = 0, True


def _request(
    session: requests.Session, url: str, file: ArchivedFile, partial: Path, timeout: float, resume: bool = True
) -> None:
    """Get what is missing of a partial file; raise if it does not arrive."""
    if _size(partial) > file.size:
        partial.unlink()
    offset = _size(partial) if resume else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = session.get(url, headers=headers, stream=True, timeout=(min(timeout, 20.0), timeout))
    except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as error:
        raise _UnfitError(f"no connection ({type(error).__name__})") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        cause = getattr(error.args[0], "reason", None) if error.args else None
        if isinstance(cause, NewConnectionError):
            raise _UnfitError(f"no connection ({cause})") from None
        raise _InterruptedError(f"the connection broke off ({error})") from None
    except requests.RequestException as error:
        raise _UnfitError(str(error)) from None
    with response:
        if response.status_code == 416 and offset:
            # This server's copy may be the short one, so what has arrived stays until it sends a better beginning.
            _request(session, url, file, partial, timeout, resume=False)
            return
        if response.status_code in _PASSING_STATUS:
            raise _InterruptedError(f"HTTP {response.status_code}")
        if response.status_code not in (200, 206):
            raise _UnfitError(f"HTTP {response.status_code}")
        if "html" in response.headers.get("Content-Type", "").lower():
            raise _UnfitError("an HTML page in place of the file")
        offset = offset if response.status_code == 206 else 0
        _check_announced(response, offset, file.size)
        _write(response, file, partial, offset)
    if _size(partial) < file.size:
        raise _InterruptedError(f"cut short after {_size(partial)} of {file.size} bytes")


def _check_announced(response: requests.Response, offset: int, size: int) -> None:
    announced = response.headers.get("Content-Length")
    if response.status_code == 206:
        # "bytes 5-9/10", where the total may be "*".
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if not span.startswith(f"{offset}-"):
            raise _UnfitError(f"it was asked for bytes from {offset} and sends {span or 'others'}")
        announced = total if total.isdigit() else None
    if announced is not None and int(announced) != size:
        raise _UnfitError(f"it announces {announced} bytes, the manifest says {size}")


def _write(response: requests.Response, file: ArchivedFile, partial: Path, offset: int) -> None:
    chunks = _read(response)
    first = next(chunks, b"")
    if offset == 0 and len(first) < len(MAGIC[-1]):
        raise _InterruptedError(f"cut short after {len(first)} bytes")
    if offset == 0 and not first.startswith(MAGIC):
        raise _UnfitError(f"what it sends is no NetCDF file (it begins with {first[:20]!r})")
    left = file.size - offset
    shown = track(_chain(first, chunks), f"fetching {file.name}", left / 1e6, "MB", lambda chunk: len(chunk) / 1e6)
    try:
        with open(partial, "ab" if offset else "wb") as stream:
            for chunk in shown:
                left -= len(chunk)
                if left < 0:
                    raise _UnfitError(f"it sends more than the {file.size} bytes of the manifest")
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise SealiencyError(
                f"{partial.parent}: no room for {file.name} ({error.strerror}, {(file.size - _size(partial)) / 1e6:.1f} MB "
                "to come); make room there or name another data.esgf.folder. What has arrived is kept"
            ) from None
        raise


def _read(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK)
    except (requests.RequestException, OSError) as error:
        raise _InterruptedError(f"the connection broke off ({type(error).__name__})") from None


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
