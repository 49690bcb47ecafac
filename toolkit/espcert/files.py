"""Reading images whole and bounded; writing results so that no half-written file ever shows."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from espcert.errors import FileError, UnreadableError, UsageError

MAX_IMAGE_SIZE: Final = 256 * 1024 * 1024
STDIN: Final = "-"
CHUNK: Final = 1 << 16
"""Bytes read at once: more than most partitions, far less than a flash image."""
_BINARY: Final = getattr(os, "O_BINARY", 0)


def read_image(name: str, limit: int = MAX_IMAGE_SIZE) -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Raises UsageError for what is not there or is a directory, UnreadableError for more than
    `limit` bytes, FileError where reading fails.
    """
    try:
        data = _read_bounded(_stdin().read, limit) if name == STDIN else _read_file(name, limit)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError("not-found", f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise UsageError("is-directory", f"{name}: is a directory, not a file") from error
    except ValueError as error:
        raise UsageError("not-found", f"{name!r}: not a file name") from error
    except OSError as error:
        if os.path.isdir(name):  # noqa: PTH112 - it never raises; Windows refuses directories
            raise UsageError("is-directory", f"{name}: is a directory, not a file") from error
        raise FileError("read-failed", f"{name}: cannot be read: {reason_of(error)}") from error
    if len(data) > limit:
        raise UnreadableError(
            "too-large", f"{name}: over {limit >> 20} MiB, larger than any flash of these modules"
        )
    return data


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise OSError(errno.EBADF, "standard input is closed")
    return sys.stdin.buffer


def _read_file(name: str, limit: int) -> bytes:
    """Without the objects that `open` makes, which cost more than reading a small file."""
    descriptor = os.open(Path(name), os.O_RDONLY | _BINARY)
    try:
        return _read_bounded(partial(os.read, descriptor), limit)
    finally:
        os.close(descriptor)


def _read_bounded(read: Callable[[int], bytes], limit: int) -> bytes:
    """At most one byte more than the limit, so that endless devices end here.

    Asked for the limit at once, CPython would set that much memory aside for every small image.
    """
    chunks, left = list[bytes](), limit + 1
    while left and (data := read(min(CHUNK, left))):
        chunks.append(data)
        left -= len(data)
    return b"".join(chunks)


def reason_of(error: OSError) -> str:
    """The operating system's words for an error, without the path."""
    return error.strerror or type(error).__name__


def refuse_input_as_output(inputs: Sequence[str], output: Path) -> None:
    """Raise UsageError where the output is one of the inputs: same path, link or descriptor."""
    try:
        target = output.stat()
    except OSError:
        return
    for name in inputs:
        try:
            source = os.fstat(_stdin().fileno()) if name == STDIN else Path(name).stat()
        except (OSError, ValueError):
            continue
        if os.path.samestat(source, target):
            raise UsageError("output-is-input", f"{output}: is the input; inputs are never changed")


def place_of(path: Path) -> str:
    """Equal for two paths of one file, whether it is there or not; links are followed."""
    place = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
    if path.exists():
        place = os.path.realpath(path)
    return os.path.normcase(place)


def refuse_same_place(outputs: Sequence[Path]) -> None:
    """Raise UsageError where two outputs are one file, however their paths are spelled."""
    seen: dict[str, Path] = {}
    for output in outputs:
        other = seen.setdefault(place_of(output), output)
        if other is not output:
            raise UsageError("bad-output", f"{other} and {output}: must be different files")


def check_output(output: Path, *, force: bool) -> None:
    """Raise UsageError where the output could not be created as asked.

    Raises FileError where the system does not even let us look.
    """
    try:
        _check_output(output, force=force)
    except OSError as error:
        raise _not_written(output, error) from error


def check_directory(output: Path) -> None:
    """Raise FileError where the output's directory takes no new file."""
    import tempfile

    try:
        with tempfile.TemporaryFile(prefix=".espcert-", dir=output.parent):
            pass
    except OSError as error:
        raise _not_written(output, error) from error


def _not_written(output: Path, error: OSError) -> FileError:
    return FileError("write-failed", f"{output}: cannot be written: {reason_of(error)}")


def _check_output(output: Path, *, force: bool) -> None:
    if output.is_dir():
        raise UsageError("is-directory", f"{output}: is a directory, not a file to write")
    if os.path.lexists(output):
        if output.exists() and not output.is_file():
            raise UsageError("not-a-file", f"{output}: is not a regular file")
        if not force:
            raise UsageError("output-exists", f"{output}: exists; --force replaces it")
    if not output.parent.is_dir():
        raise UsageError("not-found", f"{output.parent}: no such directory")


def write_atomically(
    output: Path,
    data: bytes,
    *,
    force: bool = False,
    mark: str = "",
    sync_name: bool = True,
) -> None:
    """Create a file that is complete or not there.

    Guaranteed: the mode is 0600; the bytes on disk are read back before the name appears; the
    name appears in one step (link or rename, after fsync); without `force` an existing file is
    never replaced, not even one that appears meanwhile; an old file stays whole until then.
    Not guaranteed: that no temporary file (`.espcert-….tmp`, same mode, with `mark` in its name) is
    left where the process is killed; that the mode means anything on Windows, where the
    directory's ACL decides; without `sync_name`, that the name outlives a power loss before
    `sync_directory` was called for its directory.

    Raises UsageError where the file exists, FileError where the system refuses.
    """
    temporary = output.with_name(f".espcert-{mark}{os.urandom(6).hex()}.tmp")
    with _named_in_errors(output), _removed_at_end(temporary):
        _write_synced(temporary, data)
        stored = temporary.read_bytes()
        if stored != data:
            raise FileError("write-failed", f"{output}: the bytes on disk are not those written")
        _publish(temporary, output, force=force)
        if sync_name:
            sync_directory(output.parent)


@contextlib.contextmanager
def written_atomically(output: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that appears when the block ends well, or not at all.

    For what does not fit into memory. As `write_atomically` guarantees it, but that the bytes are
    not read back. Raises as it does.
    """
    temporary = output.with_name(f".espcert-{os.urandom(6).hex()}.tmp")
    with _named_in_errors(output), _removed_at_end(temporary):
        with _created(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, output, force=force)
        sync_directory(output.parent)


@contextlib.contextmanager
def _named_in_errors(output: Path, instead: str = "--force replaces it") -> Iterator[None]:
    """Say of an output why it cannot be written, and what can be done where it exists."""
    try:
        yield
    except FileExistsError as error:
        raise UsageError("output-exists", f"{output}: exists; {instead}") from error
    except OSError as error:
        raise _not_written(output, error) from error


@contextlib.contextmanager
def _removed_at_end(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    with _created(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _created(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def publish(temporary: Path, output: Path) -> None:
    """Give a file that is whole and synced its name, in one step; an existing one stays.

    Raises UsageError where the file exists, FileError where the system refuses.
    """
    with _named_in_errors(output, "it is never replaced"):
        _publish(temporary, output, force=False)
        sync_directory(output.parent)


def _publish(temporary: Path, output: Path, *, force: bool) -> None:
    if force:
        temporary.replace(output)
        return
    try:
        os.link(temporary, output)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network shares): the check and the rename are two steps.
        if os.path.lexists(output):
            raise FileExistsError(str(output)) from None
        temporary.rename(output)


def sync_directory(directory: Path) -> None:
    """Make the new name survive a power loss; only POSIX opens directories."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # a directory that cannot be read, some network shares
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
