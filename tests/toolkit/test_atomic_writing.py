"""`files.write_atomically`: a file that is complete, or not there; whatever fails, whenever."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from espcert import files
from espcert.errors import EspcertError, FileError, UsageError

NEW = b"new" * 4000
OLD = b"old" * 10
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX modes, links or signals")
Patch = pytest.MonkeyPatch


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target.bin"


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def fail_with(error: BaseException) -> Callable[..., NoReturn]:
    """A function that takes anything and fails."""

    def failing(*_arguments: Any, **_options: Any) -> NoReturn:
        raise error

    return failing


def test_new_file(target: Path) -> None:
    files.write_atomically(target, NEW)
    assert target.read_bytes() == NEW
    assert names(target) == ["target.bin"]


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_mode_is_private_whatever_the_umask(target: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write_atomically(target, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@posix
def test_the_temporary_file_is_private_from_its_first_moment(
    target: Path, monkeypatch: Patch
) -> None:
    modes = []

    def look(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(os, "fsync", look)
    files.write_atomically(target, NEW)
    assert modes[0] == 0o600


def test_existing_file_is_kept(target: Path) -> None:
    target.write_bytes(OLD)
    with pytest.raises(UsageError, match="exists") as caught:
        files.write_atomically(target, NEW)
    assert caught.value.code == "output-exists"
    assert target.read_bytes() == OLD
    assert names(target) == ["target.bin"]


def test_force_replaces(target: Path) -> None:
    target.write_bytes(OLD)
    files.write_atomically(target, NEW, force=True)
    assert target.read_bytes() == NEW
    assert names(target) == ["target.bin"]


def test_empty_file(target: Path) -> None:
    files.write_atomically(target, b"")
    assert target.read_bytes() == b""


# --- What the system refuses -------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
DENIED = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))


def patch_write(monkeypatch: Patch, error: BaseException) -> None:
    """Half of the bytes are written, then it fails."""
    real = os.fdopen

    def opened(*arguments: Any, **options: Any) -> Any:
        file = real(*arguments, **options)

        class Failing:
            def __enter__(self) -> Failing:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, data: bytes) -> NoReturn:
                file.write(data[: len(data) // 2])
                raise error

        return Failing()

    monkeypatch.setattr(os, "fdopen", opened)


def patch_open(monkeypatch: Patch, error: BaseException) -> None:
    monkeypatch.setattr(os, "open", fail_with(error))


def patch_fsync(monkeypatch: Patch, error: BaseException) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(error))


def patch_reading(monkeypatch: Patch, error: BaseException) -> None:
    monkeypatch.setattr(Path, "read_bytes", fail_with(error))


def patch_publish(monkeypatch: Patch, error: BaseException) -> None:
    monkeypatch.setattr(os, "link", fail_with(error))
    monkeypatch.setattr(Path, "rename", fail_with(error))
    monkeypatch.setattr(Path, "replace", fail_with(error))


FAILURES = {
    "open": (patch_open, DENIED),
    "write": (patch_write, FULL),
    "fsync": (patch_fsync, BROKEN),
    "reading back": (patch_reading, BROKEN),
    "publish": (patch_publish, DENIED),
    "interrupt in write": (patch_write, KeyboardInterrupt()),
    "interrupt in fsync": (patch_fsync, KeyboardInterrupt()),
    "interrupt in reading back": (patch_reading, KeyboardInterrupt()),
    "interrupt in publish": (patch_publish, KeyboardInterrupt()),
}


@pytest.mark.parametrize("force", [False, True], ids=["new", "force"])
@pytest.mark.parametrize("case", FAILURES)
def test_failure(case: str, force: bool, target: Path) -> None:
    """The old file is whole or none is there, nothing is left, and the error is precise."""
    patch, error = FAILURES[case]
    if force:
        target.write_bytes(OLD)
    expected = FileError if isinstance(error, OSError) else type(error)
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch, error)
        with pytest.raises(expected) as caught:
            files.write_atomically(target, NEW, force=force)
    if isinstance(caught.value, EspcertError):
        assert caught.value.code == "write-failed"
        assert str(error.strerror) in str(caught.value)  # type: ignore[attr-defined]
    assert names(target) == (["target.bin"] if force else [])
    if force:
        assert target.read_bytes() == OLD


@pytest.mark.parametrize("stored", [NEW[:-1], NEW[:-1] + b"x", b""], ids=["short", "other", "none"])
def test_bytes_on_disk_that_are_not_those_written(
    stored: bytes, target: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _self: stored)
    with pytest.raises(FileError, match="not those written"):
        files.write_atomically(target, NEW)
    monkeypatch.undo()
    assert names(target) == []


def test_the_bytes_are_on_disk_before_the_name_appears(target: Path, monkeypatch: Patch) -> None:
    seen: list[tuple[bytes, bool]] = []
    publish = files._publish

    def spy(temporary: Path, output: Path, *, force: bool) -> None:
        seen.append((temporary.read_bytes(), output.exists()))
        publish(temporary, output, force=force)

    monkeypatch.setattr(files, "_publish", spy)
    files.write_atomically(target, NEW)
    assert seen == [(NEW, False)]


def test_file_that_appears_meanwhile_is_not_replaced(target: Path, monkeypatch: Patch) -> None:
    publish = files._publish

    def late(temporary: Path, output: Path, *, force: bool) -> None:
        target.write_bytes(OLD)
        publish(temporary, output, force=force)

    monkeypatch.setattr(files, "_publish", late)
    with pytest.raises(UsageError):
        files.write_atomically(target, NEW)
    assert target.read_bytes() == OLD
    assert names(target) == ["target.bin"]


def test_without_hard_links(target: Path, monkeypatch: Patch) -> None:
    """As on FAT: renamed, and still never over a file that is there."""
    refusal = OSError(errno.EPERM, os.strerror(errno.EPERM))
    monkeypatch.setattr(os, "link", fail_with(refusal))
    files.write_atomically(target, NEW)
    assert target.read_bytes() == NEW
    with pytest.raises(UsageError):
        files.write_atomically(target, OLD)
    assert target.read_bytes() == NEW
    assert names(target) == ["target.bin"]


def test_directory_that_cannot_be_synced(target: Path, monkeypatch: Patch) -> None:
    """Some network file systems refuse it; the file is there all the same."""
    real = os.fsync

    def picky(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", picky)
    files.write_atomically(target, NEW)
    assert target.read_bytes() == NEW


def test_the_file_is_synced_before_and_the_directory_behind_its_name(
    target: Path, monkeypatch: Patch
) -> None:
    events: list[str] = []
    real = os.link

    def note(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("directory" if is_directory else "file")

    def link(source: Any, destination: Any) -> None:
        events.append("name")
        real(source, destination)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "link", link)
    files.write_atomically(target, NEW)
    assert events == ["file", "name", *(["directory"] if os.name == "posix" else [])]


def test_many_writers_of_one_name(target: Path) -> None:
    """One wins; its bytes are whole; all others are told."""
    outcomes: list[str] = []

    def write(letter: bytes) -> None:
        try:
            files.write_atomically(target, letter * 100_000)
        except UsageError:
            outcomes.append("exists")
        else:
            outcomes.append("written")

    threads = [threading.Thread(target=write, args=(bytes((65 + n,)),)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 11 + ["written"]
    assert len(set(target.read_bytes())) == 1
    assert target.stat().st_size == 100_000
    assert names(target) == ["target.bin"]


# --- Killed ------------------------------------------------------------------------------------

WRITER = """
import itertools, sys
from pathlib import Path
from espcert import files
folder = Path(sys.argv[1])
print("ready", flush=True)
for number in itertools.count():
    data = bytes((number % 251,)) * 300_000
    files.write_atomically(folder / f"new{number}", data)
    files.write_atomically(folder / "same", data, force=True)
"""


@posix
@pytest.mark.parametrize("number", range(20))
def test_killed(number: int, tmp_path: Path) -> None:
    """Whatever the moment: every name that is there is complete and private."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(random.Random(number).uniform(0.005, 0.06))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = [path for path in tmp_path.iterdir() if not path.name.endswith(".tmp")]
    for path in found:
        data = path.read_bytes()
        assert len(data) == 300_000, path.name
        assert len(set(data)) == 1, path.name
    assert len(list(tmp_path.iterdir())) - len(found) <= 1
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- Reading -----------------------------------------------------------------------------------


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(bytes(11))
    assert files.read_image(str(path), 11) == bytes(11)
    with pytest.raises(EspcertError) as caught:
        files.read_image(str(path), 10)
    assert (caught.value.code, caught.value.exit_code) == ("too-large", 3)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    for name, code in ((str(tmp_path / "none"), "not-found"), (str(tmp_path), "is-directory")):
        with pytest.raises(UsageError) as caught:
            files.read_image(name)
        assert caught.value.code == code
    with pytest.raises(UsageError):
        files.read_image("a\0b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such file names or links there")
def test_reading_a_name_that_is_too_long_and_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a" * 300, "loop"):
        with pytest.raises(EspcertError) as caught:
            files.read_image(str(tmp_path / name))
        assert caught.value.exit_code in (2, 4)


def test_reading_fails(tmp_path: Path, monkeypatch: Patch) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(b"x")
    monkeypatch.setattr(files, "_read_bounded", fail_with(BROKEN))
    with pytest.raises(FileError) as caught:
        files.read_image(str(path))
    assert caught.value.code == "read-failed"


def test_library_saves_and_refuses_as_the_command(tmp_path: Path) -> None:
    from tests.support import FIXTURES

    import espcert

    source = tmp_path / "image.bin"
    source.write_bytes((FIXTURES / "images" / "nvs_ec.bin").read_bytes())
    result = espcert.migrate(espcert.detect(espcert.open_image(source)))
    espcert.save(result, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == result.output
    for path in (tmp_path / "out.bin", source, tmp_path, tmp_path / "none" / "out.bin"):
        with pytest.raises(UsageError):
            espcert.save(result, path)
    with pytest.raises(UsageError):
        espcert.save(result, source, force=True)
    refused = espcert.open_image(FIXTURES / "images" / "nvs_lost_key.bin")
    with pytest.raises(UsageError, match="refused: "):
        espcert.save(espcert.migrate(espcert.detect(refused)), tmp_path / "new.bin")
