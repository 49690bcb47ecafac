"""Images behind URLs: listed, read and written by fsspec, of the extra `espcert[remote]`.

Nothing that a server or a driver says is repeated: it may hold what opens the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from espcert import files
from espcert.errors import EspcertError, FileError, UnreadableError, UsageError
from espcert.fleet import places, walk
from espcert.fleet.storage import Seen, Stored
from espcert_formats.checksum import sha256

AT_ONCE: Final = 32
"""Questions to a store that are under way at a time, where many are asked."""

READ, WRITTEN, REMOVED, LISTED = "read", "written", "removed", "listed"
_FAILED: Final = {
    READ: "read-failed",
    WRITTEN: "write-failed",
    REMOVED: "write-failed",
    LISTED: "read-failed",
}
_DIRECTORY: Final = "directory"
_VERSIONS: Final = ("ETag", "etag", "generation", "LastModified", "mtime", "updated", "created")
"""What a store tells of an object that changes with its bytes, the most certain first."""


# --- Looking ------------------------------------------------------------------------------------


def plain(url: str) -> str:
    """A URL as its store writes it, so that one object has one name.

    Raises UsageError where the extra, or what its protocol needs, is not installed.
    """
    system, path = _opened(url)
    name: str = system.unstrip_protocol(path)
    return name.rstrip("/") if not name.endswith(places.MARK) else name


def look(url: str) -> Seen:
    """What a URL is. Raises FileError where the store does not say."""
    with _naming(url, READ):
        system, path = _opened(url)
        try:
            details = system.info(path)
        except FileNotFoundError:
            return Seen(None)
        if details["type"] == _DIRECTORY:
            return Seen(None, is_directory=True)
        return Seen(_found(url, details))


def look_at_all(urls: Iterable[str]) -> Iterator[Seen]:
    """What each of some URLs is, in their order; nothing where its store does not say."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(_look_or_not, urls)


def _look_or_not(url: str) -> Seen:
    try:
        return look(url)
    except FileError:
        return Seen(None)


def existing(urls: Iterable[str]) -> set[str]:
    """Those of some URLs under which there is something. Raises FileError."""
    listed = list(urls)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        seen = list(threads.map(look, listed))
    return {url for url, one in zip(listed, seen, strict=True) if one != Seen(None)}


def is_empty(url: str) -> bool:
    """Whether there is nothing below a URL."""
    with _naming(url, LISTED):
        system, path = _opened(url)
        try:
            return not system.ls(path, detail=False)
        except FileNotFoundError:
            return True


def fitting(pattern: str, looking: walk.Walk) -> Iterator[str]:
    """The URLs that fit a pattern, but outputs; `**` goes through directories."""
    output = looking.remote_output or ""
    inside = output.startswith(re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0] + "/")
    with _naming(pattern, LISTED):
        system, path = _opened(pattern)
        for url in map(system.unstrip_protocol, sorted(system.glob(path))):
            if inside and f"{url}/".startswith(f"{output}/"):
                looking.skipped[walk.OUTPUT] += 1
            else:
                yield url


def below(root: str, looking: walk.Walk) -> Iterator[walk.Found]:
    """The objects below a URL, but those that a walk leaves out; one directory in memory."""
    with _naming(root, LISTED):
        system, path = _opened(root)
        for folder, folders, objects in system.walk(path, detail=True, on_error="raise"):
            for name in list(folders):
                if _left_out(system.unstrip_protocol(f"{folder}/{name}"), name, looking):
                    del folders[name]
            for name, details in objects.items():
                if not name and details["type"] == _DIRECTORY:
                    # fsspec cannot go below a name like `a//b`: it is counted, not lost.
                    looking.skipped[walk.EMPTY_NAME] += 1
                url = system.unstrip_protocol(details["name"])
                if name and not _too_large(details, looking) and not _left_out(url, name, looking):
                    yield _found(url, details)


def _left_out(url: str, name: str, looking: walk.Walk) -> bool:
    reason = walk.HIDDEN if name.startswith(".") else None
    if url.rstrip("/") == looking.remote_output:
        reason = walk.OUTPUT
    if reason is not None:
        looking.skipped[reason] += 1
    return reason is not None


def _too_large(details: Mapping[str, Any], looking: walk.Walk) -> bool:
    too_large = (details.get("size") or 0) > looking.max_size
    looking.skipped.update([walk.TOO_LARGE] if too_large else [])
    return too_large


def _found(url: str, details: Mapping[str, Any]) -> walk.Found:
    return walk.Found(url, details.get("size"), _version(details), None)


def _version(details: Mapping[str, Any]) -> str:
    told = (details.get(name) for name in _VERSIONS)
    return next((str(one) for one in told if one), "")


# --- Bytes --------------------------------------------------------------------------------------


def read(url: str, limit: int) -> Stored:
    """The bytes of an object of at most `limit`, and its version from before they were read.

    Raises UsageError for what is no object, UnreadableError where it is larger, FileError where
    reading fails.
    """
    with _naming(url, READ):
        system, path = _opened(url)
        with system.open(path, "rb", cache_type="none") as file:
            details = getattr(file, "details", None) or {}
            version = _version(details) or _version(system.info(path))
            size = getattr(file, "size", None)
            data = b"" if size is not None and size > limit else _bounded(file, limit)
    if len(data) > limit or (size is not None and size > limit):
        text = f"over {limit >> 20} MiB, larger than any flash of these modules"
        raise UnreadableError("too-large", f"{url}: {text}")
    if size is not None and len(data) != size:
        raise FileError("read-failed", f"{url}: {len(data)} of {size} bytes came")
    return Stored(data, version)


def _bounded(file: Any, limit: int) -> bytes:
    """At most one byte more than the limit: a server may send more than it said, without end."""
    chunks, total = [], 0
    while total <= limit and (data := file.read(limit + 1 - total)):
        chunks.append(data)
        total += len(data)
    return b"".join(chunks)


def write(url: str, data: bytes, *, force: bool, ours: str | None) -> None:
    """Create an object by one request with all its bytes, and read it back.

    One that holds these very bytes, or bytes with the digest `ours`, is written anew; any other
    one with `force` only. Raises UsageError where it exists, FileError where the store refuses.
    """
    mode = "overwrite" if force or _is_ours(url, data, ours) else "create"
    with _naming(url, WRITTEN):
        system, path = _opened(url)
        try:
            system.pipe_file(path, data, mode=mode)
        except FileExistsError as error:
            if not _is_ours(url, data, None):
                text = "exists; --force replaces it"
                raise UsageError("output-exists", f"{url}: {text}") from error
    if read(url, len(data)).data != data:
        raise FileError("write-failed", f"{url}: the bytes in the store are not those written")


def remove(url: str) -> None:
    """Remove an object. Raises FileError where the store refuses."""
    with _naming(url, REMOVED):
        system, path = _opened(url)
        system.rm_file(path)


def _is_ours(url: str, data: bytes, ours: str | None) -> bool:
    digest = digest_of(url, max(len(data), files.MAX_IMAGE_SIZE))
    return digest is not None and digest in (ours, sha256(data))


def digest_of(url: str, limit: int = files.MAX_IMAGE_SIZE) -> str | None:
    """The SHA-256 of an object, None where it is not there or is larger than `limit`."""
    found = look(url).found
    if found is None or (found.size or 0) > limit:
        return None
    return sha256(read(url, limit).data)


# --- fsspec --------------------------------------------------------------------------------------


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Listings are not kept: they would grow with the fleet, and hide what changes.
    """
    scheme = url.partition(places.MARK)[0]
    try:
        import fsspec.core

        return fsspec.core.url_to_fs(url, use_listings_cache=False)  # type: ignore[no-any-return]
    except ImportError as error:
        text = f"{scheme}:// needs more: pip install 'espcert[remote]'"
        raise UsageError("missing-extra", f"{url}: {text}") from error
    except (TypeError, ValueError) as error:
        # A file system that needs arguments says so as any function does.
        text = f"fsspec knows no protocol {scheme!r}, or not such a URL of it"
        raise UsageError("bad-url", f"{places.shown(url)}: {text}") from error
    except OSError as error:
        text = f"cannot be opened: {type(error).__name__}"
        raise FileError("read-failed", f"{places.shown(url)}: {text}") from error


@contextmanager
def _naming(url: str, done: str) -> Iterator[None]:
    """Say in one line what a store or its driver has against a URL."""
    try:
        yield
    except EspcertError:
        raise
    except FileNotFoundError as error:
        raise UsageError("not-found", f"{url}: no such object") from error
    except IsADirectoryError as error:
        raise UsageError("is-directory", f"{url}: is a directory, not an object") from error
    except Exception as error:
        raise FileError(_FAILED[done], f"{url}: cannot be {done}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The system's words for an error's number and the kind of the error, never its own words."""
    number = getattr(error, "errno", None)
    words = f"{os.strerror(number)}, " if isinstance(number, int) and number > 0 else ""
    return f"{words}{type(error).__name__}"
