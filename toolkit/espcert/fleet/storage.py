"""Where the images of a fleet are read and written: the one place that knows what a path is."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from espcert import files
from espcert.errors import FileError, UsageError


class Stored(NamedTuple):
    """The bytes of an image, and what tells them from later ones without reading them."""

    data: bytes
    version: str


def is_url(path: str) -> bool:
    """Whether a path is to be opened by other means than the file system."""
    return "://" in path


def refuse_url(path: str) -> None:
    """Raise UsageError for a path that is no local file."""
    if is_url(path):
        raise UsageError(
            "no-remote", f"{path}: URLs need the extra espcert[remote], which is not installed"
        )


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
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        status = None
    if status is not None and not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise UsageError("not-a-file", f"{path}: is not a regular file")
    return Stored(files.read_image(path, limit), version_of(status) if status else "")


def write(path: str, data: bytes, *, force: bool, ours: str | None, mark: str) -> None:
    """Create an output with its directories; complete or not at all.

    One that holds these very bytes, or bytes with the digest `ours`, is that of a run that was
    cut short or of an older input, and is written anew. Any other is replaced with `force` only.
    Raises UsageError where it exists, FileError where the system refuses.
    """
    output = Path(path)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = files.reason_of(error)
        raise FileError("write-failed", f"{path}: cannot be written: {reason}") from error
    replace = force or _is_ours(output, data, ours)
    files.check_output(output, force=replace)
    files.write_atomically(output, data, force=replace, mark=mark)


def _is_ours(output: Path, data: bytes, ours: str | None) -> bool:
    if not output.is_file():
        return False
    limit = max(len(data), files.MAX_IMAGE_SIZE)
    digest = hashlib.sha256(files.read_image(str(output), limit)).hexdigest()
    return digest in (ours, hashlib.sha256(data).hexdigest())
