"""Write files that belong together: all of them, or not the one that names the others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from espcert import files
from espcert.errors import FileError, UsageError


def write(
    base: Path, payloads: Mapping[str, bytes], *, inputs: Sequence[str] = (), force: bool = False
) -> None:
    """Write files by relative name below a directory; the last one of `payloads` names the others.

    A directory that is not there appears in one step, complete; in one that is there each file is
    written atomically, with `force` also over an old one, the last one last. Files are created
    0600, directories 0700. Raises UsageError where a file exists (and not `force`) or is one of
    the `inputs`, FileError where the system refuses.
    """
    for name in payloads:
        files.refuse_input_as_output(inputs, base / name)
    try:
        if not os.path.lexists(base):
            _appear(base, payloads)
            return
    except OSError as error:
        raise _not_created(base, error) from error
    _check(base, payloads, force=force)
    inner: dict[Path, dict[str, bytes]] = {}
    for name, payload in payloads.items():
        path = base / name
        inner.setdefault(path.parent, {})[path.name] = payload
    for folder, held in inner.items():
        if folder != base:
            write(folder, held, force=force)
    for name, payload in inner.get(base, {}).items():
        files.write_atomically(base / name, payload, force=force)


def _check(base: Path, payloads: Mapping[str, bytes], *, force: bool) -> None:
    """Refuse before anything is written."""
    for folder in {base, *((base / name).parent for name in payloads)}:
        if os.path.lexists(folder) and not folder.is_dir():
            raise UsageError("not-a-directory", f"{folder}: is not a directory")
    for name in payloads:
        if (base / name).parent.is_dir():
            files.check_output(base / name, force=force)


def _appear(directory: Path, payloads: Mapping[str, bytes]) -> None:
    """Make the directory under another name, fill it, and rename it."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError("not-a-directory", f"{directory.parent}: is not a directory") from error
    temporary = directory.with_name(f".espcert-{os.urandom(6).hex()}.tmp")
    temporary.mkdir(mode=0o700)
    try:
        for name, payload in payloads.items():
            (temporary / name).parent.mkdir(mode=0o700, exist_ok=True)
            files.write_atomically(temporary / name, payload)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _not_created(directory: Path, error: OSError) -> FileError:
    reason = files.reason_of(error)
    return FileError("write-failed", f"{directory}: cannot be created: {reason}")
