"""Where the images of a fleet are read and written: files here, objects behind URLs elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espcert import files
from espcert.errors import FileError, UsageError
from espcert.fleet import places
from espcert_formats.checksum import sha256

if TYPE_CHECKING:
    from espcert.fleet.walk import Found


class Stored(NamedTuple):
    """The bytes of an image, and what tells them from later ones without reading them."""

    data: bytes
    version: str


class Seen(NamedTuple):
    """What a URL is: `found` an object, or a directory, or nothing at all."""

    found: Found | None
    is_directory: bool = False


def canonical(path: str) -> str:
    """A path or URL under the one name that it has in records.

    Raises UsageError for a URL that cannot be opened, or should not be.
    """
    path = places.plain(path)
    if not places.is_url(path):
        return path
    from espcert.fleet import remote

    return remote.plain(path)


def look_at_all(urls: Sequence[str]) -> Iterator[Seen]:
    """What each of some URLs is; nothing where its store does not say."""
    if not urls:
        return iter(())
    from espcert.fleet import remote

    return remote.look_at_all(urls)


def version_of(status: os.stat_result) -> str:
    """What changes with a file's contents, beside its size: the modification time."""
    return str(status.st_mtime_ns)


def is_directory(path: str) -> bool:
    """Whether a path is a directory."""
    return os.path.isdir(path)  # noqa: PTH112 - it never raises


def status_of(path: str) -> tuple[int, str]:
    """Size and version. Raises UsageError for what is not there."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        raise UsageError("not-found", f"{path}: no such file or directory") from error
    return status.st_size, version_of(status)


def read(path: str, limit: int) -> Stored:
    """The bytes of an image of at most `limit`.

    Raises UsageError for what is no file, UnreadableError where it is larger, FileError where
    reading fails. The version is that from before reading: what changes meanwhile is seen later.
    """
    if places.is_url(path):
        from espcert.fleet import remote

        return remote.read(path, limit)
    status = _checked(path)
    data = files.read_image(_as_file(path), limit)
    return Stored(data, version_of(status) if status else "")


def key_file(path: str) -> str:
    """The name by which a file with a key is to be read.

    Raises UsageError for a device or a pipe, which might be waited for without end.
    """
    _checked(path)
    return _as_file(path)


def _checked(path: str) -> os.stat_result | None:
    """What the system says of a file or directory, None where it says nothing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of a million paths
    except (OSError, ValueError):
        return None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise UsageError("not-a-file", f"{path}: is not a regular file")
    return status


def _as_file(path: str) -> str:
    """A file of the name `-` is meant, where the single verbs mean standard input."""
    return os.path.join(os.curdir, path) if path == files.STDIN else path  # noqa: PTH118


def write(path: str, data: bytes, *, force: bool, ours: str | None, mark: str) -> None:
    """Create an output with its directories; complete or not at all.

    One that holds these very bytes, or bytes with the digest `ours`, is that of a run that was
    cut short or of an older input, and is written anew. Any other is replaced with `force` only.
    That its name outlives a power loss is due to `sync_names`. Raises UsageError where it exists,
    FileError where the system refuses.
    """
    if places.is_url(path):
        from espcert.fleet import remote

        remote.write(path, data, force=force, ours=ours)
    else:
        _write_file(path, data, force=force, ours=ours, mark=mark)


def _write_file(path: str, data: bytes, *, force: bool, ours: str | None, mark: str) -> None:
    output = Path(path)
    _make_directory(os.path.dirname(path), path)  # noqa: PTH120 - of a million paths
    try:
        replace = force
        if os.path.lexists(path):
            replace = force or _is_ours(output, data, ours)
            files.check_output(output, force=replace)
        files.write_atomically(output, data, force=replace, mark=mark, sync_name=False)
    except UsageError:
        # A cluster may run a batch twice at a time, where it takes a slow worker for a dead one.
        if not _is_ours(output, data, None):
            raise


def _make_directory(folder: str, path: str) -> None:
    if not folder or os.path.isdir(folder):  # noqa: PTH112 - it never raises
        return
    place = Path(folder)
    missing = [one for one in (place, *place.parents) if not one.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        for made in reversed(missing):
            files.sync_directory(made.parent)
    except OSError as error:
        reason = files.reason_of(error)
        raise FileError("write-failed", f"{path}: cannot be written: {reason}") from error


def sync_names(outputs: Iterable[str]) -> None:
    """Make what was written to or removed from some places outlive a power loss."""
    for folder in sorted({Path(path).parent for path in outputs if not places.is_url(path)}):
        files.sync_directory(folder)


def _is_ours(output: Path, data: bytes, ours: str | None) -> bool:
    digest = digest_of(str(output), max(len(data), files.MAX_IMAGE_SIZE))
    return digest is not None and digest in (ours, sha256(data))


def digest_of(path: str, limit: int = files.MAX_IMAGE_SIZE) -> str | None:
    """The SHA-256 of a file here, None where there is none or a larger one. Raises FileError."""
    output = Path(path)
    if not output.is_file() or output.stat().st_size > limit:
        return None
    return sha256(files.read_image(path, limit))


def holds(path: str, digest: str) -> bool:
    """Whether an output is there and has this SHA-256. Raises FileError where nobody can tell."""
    if places.is_url(path):
        from espcert.fleet import remote

        return remote.digest_of(path) == digest
    return digest_of(path) == digest


def remove(path: str, digest: str) -> None:
    """Remove an output with this SHA-256; another one stays. Raises FileError."""
    if not holds(path, digest):
        return
    if places.is_url(path):
        from espcert.fleet import remote

        remote.remove(path)
        return
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        reason = files.reason_of(error)
        raise FileError("write-failed", f"{path}: cannot be removed: {reason}") from error


def existing(paths: Collection[str]) -> set[str]:
    """Those of some outputs that are there. Raises FileError where a store does not say."""
    urls = [path for path in paths if places.is_url(path)]
    found = {path for path in paths if not places.is_url(path) and os.path.lexists(path)}
    if urls:
        from espcert.fleet import remote

        found |= remote.existing(urls)
    return found


def is_empty(url: str) -> bool:
    """Whether there is nothing below a URL. Raises FileError where the store does not say."""
    from espcert.fleet import remote

    return remote.is_empty(url)
