"""Files that an input names: read below one directory only, bounded, and regular ones only.

What names them may be hostile: absolute paths, `..`, links that lead out, pipes and devices that
never end are refused before a byte of them is read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from espcert import files
from espcert.errors import FileError, UnreadableError
from espcert.text import printable

MAX_FILE_SIZE: Final = 1 << 20
"""Bytes of one file: sixteen times what an entry holds, with words around a PEM block."""
MAX_TOTAL_SIZE: Final = 16 << 20
MAX_NAMES: Final = 1 << 16
"""Names in a directory: as many as a partition's items can have."""

_SHOWN: Final = 64
_OPEN_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


class Folder:
    """A directory below which an input may name files.

    `inputs` are the files that were read so far, with links resolved.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs: list[str] = []
        self._left = MAX_TOTAL_SIZE

    def names(self) -> list[str]:
        """The names in the directory itself, sorted.

        Raises UnreadableError for more than `MAX_NAMES`, FileError where it cannot be read.
        """
        try:
            return sorted(self._listed())
        except OSError as error:
            raise _not_read(str(self.root), error) from error

    def _listed(self) -> Iterator[str]:
        with os.scandir(self.root) as entries:
            for number, entry in enumerate(entries):
                if number == MAX_NAMES:
                    raise UnreadableError("too-large", f"{self.root}: over {MAX_NAMES} names in it")
                yield entry.name

    def read(self, name: str, named_by: str = "", limit: int = MAX_FILE_SIZE) -> bytes:
        """The bytes of a file below the directory; `named_by` says in messages what names it.

        Raises UnreadableError where the path leads out of the directory, where no regular file is
        there, or more than `limit` bytes are, FileError where reading fails.
        """
        shown = f"{named_by}: {shown_path(name)}" if named_by else shown_path(name)
        path = self._resolved(name, shown)
        try:
            data = _read_regular(path, limit, shown)
        except OSError as error:
            raise _not_read(shown, error) from error
        self._left -= len(data)
        if len(data) > limit or self._left < 0:
            raise UnreadableError("too-large", f"{shown}: larger than anything a partition holds")
        self.inputs.append(str(path))
        return data

    def _resolved(self, name: str, shown: str) -> Path:
        """The path with all links resolved, which lies in the directory."""
        if not _is_plain(name):
            text = "paths are relative to the directory, without .. and a drive"
            raise UnreadableError("outside-directory", f"{shown}: {text}")
        try:
            root = self.root.resolve(strict=True)
            path = (root / name).resolve(strict=True)
        except FileNotFoundError as error:
            raise UnreadableError("missing-file", f"{shown}: no such file") from error
        except PermissionError as error:
            raise _not_read(shown, error) from error
        except (OSError, RuntimeError, ValueError) as error:
            # A loop of links is an OSError or, in Python before 3.13, a RuntimeError.
            raise UnreadableError("missing-file", f"{shown}: leads to no file") from error
        if not path.is_relative_to(root):
            text = "a link leads out of the directory in which files may lie"
            raise UnreadableError("outside-directory", f"{shown}: {text}")
        return path


class Held(Folder):
    """Files in memory, read as if they lay in a directory."""

    def __init__(self, payloads: Mapping[str, bytes]) -> None:
        super().__init__(Path())
        self._payloads = payloads

    def names(self) -> list[str]:
        """The names in the directory itself, sorted."""
        return sorted(self._payloads)

    def read(self, name: str, named_by: str = "", limit: int = MAX_FILE_SIZE) -> bytes:
        """The bytes of a file. Raises UnreadableError where there is none, or over `limit`."""
        data = self._payloads.get(name) if _is_plain(name) else None
        if data is None or len(data) > limit:
            raise UnreadableError("missing-file", f"{named_by}: {shown_path(name)}: no such file")
        return data


def shown_path(name: str) -> str:
    """A path as messages show it: what is no path may be the secret itself, in a wrong column."""
    if len(name) > 4 * _SHOWN or "-----" in name or any(map(_may_be_key, name.split("/"))):
        return f"a path of {len(name)} characters"
    return printable(name) or "an empty path"


def _may_be_key(part: str) -> bool:
    """Whether a part of a path is as long and plain as a key in hex or base64."""
    return len(part) > _SHOWN or re.search(r"[0-9A-Za-z+=]{32}", part) is not None


def _is_plain(name: str) -> bool:
    """Whether a path is relative and goes down only, by the rules of every system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not name or "\0" in name or posix.is_absolute() or windows.drive or windows.root:
        return False
    return ".." not in posix.parts and ".." not in windows.parts


def _read_regular(path: Path, limit: int, shown: str) -> bytes:
    """At most one byte more than the limit. Neither pipes nor devices are opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableError("not-a-file", f"{shown}: is not a regular file")
    with os.fdopen(os.open(path, _OPEN_FLAGS), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadableError("not-a-file", f"{shown}: is not a regular file")
        return file.read(limit + 1)


def _not_read(shown: str, error: OSError) -> FileError:
    return FileError("read-failed", f"{shown}: cannot be read: {files.reason_of(error)}")
