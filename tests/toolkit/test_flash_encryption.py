"""espsecure as a separate program: right results, and nothing left behind, whatever happens."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.flash_cipher import SCHEMES, XTS_128, Scheme, espsecure, xts

from espcert import flash_encryption
from espcert.errors import FileError, UsageError
from espcert.flash_encryption import FlashEncryption

DATA = random.Random("data").randbytes(0x400)
POSIX = sys.platform != "win32"

each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which private directories are made; here alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def keyed(scheme: Scheme, **more: Any) -> FlashEncryption:
    return FlashEncryption(scheme.key, scheme.name, **more)


@each_scheme
@pytest.mark.parametrize("address", [0, 0xD000, 0x10080])
def test_it_is_what_the_scheme_says(scheme: Scheme, address: int, temporary: Path) -> None:
    sealed = keyed(scheme).encrypt(DATA, address)
    assert sealed == scheme.encrypt(DATA, address)
    assert keyed(scheme).decrypt(sealed, address) == DATA
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("scheme", [SCHEMES["xts-128"], SCHEMES["xts-256"]], ids=["128", "256"])
def test_the_xts_of_the_tests_is_that_of_espsecure(scheme: Scheme) -> None:
    found = espsecure(scheme.key, DATA, 0xD000, scheme="xts")
    assert found == xts(scheme.key, DATA, 0xD000)


def test_an_address_inside_a_unit() -> None:
    whole = xts(XTS_128.key, DATA, 0xD000)
    assert keyed(XTS_128).decrypt(whole[48:], 0xD030) == DATA[48:]


def test_other_crypt_conf_is_other_ciphertext() -> None:
    scheme = SCHEMES["esp32"]
    default = keyed(scheme).encrypt(DATA, 0xD000)
    assert keyed(scheme, crypt_conf=0xF).encrypt(DATA, 0xD000) == default
    assert keyed(scheme, crypt_conf=0).encrypt(DATA, 0xD000) != default


def test_short_keys_of_both_schemes() -> None:
    for name, key in (("xts", bytes(16)), ("esp32", bytes(range(24)))):
        found = FlashEncryption(key, name)
        assert found.decrypt(found.encrypt(DATA, 0x1000), 0x1000) == DATA


def test_erased_flash_is_no_ciphertext() -> None:
    sealed = xts(XTS_128.key, DATA, 0xD000)
    holes = sealed[:0x100] + b"\xff" * 0x20 + sealed[0x120:] + b"\xff" * 0x1000
    plain = keyed(XTS_128).decrypt(holes, 0xD000)
    assert plain == DATA[:0x100] + b"\xff" * 0x20 + DATA[0x120:] + b"\xff" * 0x1000


def test_what_is_no_whole_block_is_left_out() -> None:
    sealed = xts(XTS_128.key, DATA, 0xD000)
    assert keyed(XTS_128).decrypt(sealed[:-3], 0xD000) == DATA[:-16]
    assert keyed(XTS_128).decrypt(b"\x01" * 15, 0xD000) == b""


# --- The private directory ---------------------------------------------------------------------

_RUN = subprocess.run


def spied(
    monkeypatch: pytest.MonkeyPatch, then: Callable[[], Any] | None = None
) -> list[dict[str, Any]]:
    """What each run of espsecure meets; `then` takes its place."""
    seen: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> Any:
        folder = Path(options["cwd"])
        seen.append(
            {
                "command": command,
                "folder": folder.stat().st_mode & 0o777,
                "files": {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()},
                "streams": {options[name] for name in ("stdin", "stdout", "stderr")},
            }
        )
        return then() if then else _RUN(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    return seen


@pytest.mark.skipif(not POSIX, reason="modes mean nothing there")
def test_only_the_user_can_look_in(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    seen = spied(monkeypatch)
    keyed(XTS_128).decrypt(DATA, 0)
    (one,) = seen
    assert one["folder"] == 0o700
    assert one["files"] == {"key": 0o600, "in": 0o600, "out": 0o600}
    assert one["streams"] == {subprocess.DEVNULL}
    assert one["command"][:4] == [sys.executable, "-m", "espsecure", "decrypt-flash-data"]
    assert XTS_128.key.hex() not in str(one["command"])
    assert list(temporary.iterdir()) == []


class _Interrupted(BaseException):
    pass


def _raise(error: BaseException) -> Callable[[], Any]:
    def then() -> Any:
        raise error

    return then


@pytest.mark.parametrize("error", [KeyboardInterrupt(), _Interrupted(), RuntimeError()], ids=repr)
def test_nothing_is_left_after_an_interruption(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    seen = spied(monkeypatch, _raise(error))
    with pytest.raises(type(error)):
        keyed(XTS_128).decrypt(DATA, 0)
    assert len(seen) == 1
    assert list(temporary.iterdir()) == []


FAILURES: dict[str, Callable[[], Any]] = {
    "exit code": lambda: subprocess.CompletedProcess([], 2),
    "nothing written": lambda: subprocess.CompletedProcess([], 0),
    "hangs": _raise(subprocess.TimeoutExpired("espsecure", 1)),
    "no process": _raise(OSError(12, "Cannot allocate memory")),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_one_line(case: str, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> None:
    spied(monkeypatch, FAILURES[case])
    with pytest.raises(FileError, match="espsecure") as caught:
        keyed(XTS_128).decrypt(DATA, 0)
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message
    assert XTS_128.key.hex() not in caught.value.message
    assert list(temporary.iterdir()) == []


def test_espsecure_refuses_and_that_is_one_line(temporary: Path) -> None:
    """A key that only the tool finds wrong; its own words go nowhere."""
    with pytest.raises(FileError, match="exit code"):
        keyed(XTS_128).encrypt(b"\x01" * 15, 0)
    assert list(temporary.iterdir()) == []


def test_no_room_for_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with pytest.raises(FileError, match="No such file"):
        keyed(XTS_128).decrypt(DATA, 0)


def test_a_module_in_the_working_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "espsecure.py").write_text("raise SystemExit(3)")
    (tmp_path / "esptool.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert keyed(XTS_128).decrypt(xts(XTS_128.key, DATA, 0), 0) == DATA


# --- Without esptool ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["none", "old", "odd version", "module missing"])
def test_without_esptool_it_says_what_to_install(
    case: str, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    from importlib import metadata

    def version(_name: str) -> str:
        if case == "none":
            raise metadata.PackageNotFoundError
        return {"old": "4.8.1", "odd version": "x"}.get(case, "5.1.0")

    monkeypatch.setattr(metadata, "version", version)
    if case == "module missing":
        monkeypatch.setitem(sys.modules, "espsecure", None)
    with pytest.raises(UsageError) as caught:
        keyed(XTS_128).decrypt(DATA, 0)
    assert "pip install 'espcert[esptool]'" in caught.value.message
    assert list(temporary.iterdir()) == []


# --- Keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [*range(0, 70, 3), 16, 24, 32, 64, 128])
@pytest.mark.parametrize(("scheme", "right"), [("xts", {16, 32, 64}), ("esp32", {24, 32})])
def test_key_lengths(scheme: str, right: set[int], length: int) -> None:
    key = bytes(range(length))
    if length in right:
        assert FlashEncryption(key, scheme).key == key
        return
    with pytest.raises(UsageError, match=f"has {length} bytes"):
        FlashEncryption(key, scheme)


WRONG: dict[str, dict[str, Any]] = {
    "scheme": {"scheme": "aes"},
    "halves that are the same": {"key": bytes(32)},
    "crypt conf of xts": {"crypt_conf": 15},
    "crypt conf too large": {"scheme": "esp32", "crypt_conf": 16},
    "address inside a block": {"address": 8},
    "address beyond flash": {"address": 1 << 32},
}


@pytest.mark.parametrize("case", WRONG)
def test_contradictions(case: str) -> None:
    given: dict[str, Any] = {"key": XTS_128.key, "scheme": "xts"} | WRONG[case]
    with pytest.raises(UsageError) as caught:
        FlashEncryption(**given)
    assert given["key"].hex() not in caught.value.message


def test_the_key_is_not_shown() -> None:
    shown = repr(keyed(XTS_128))
    assert "key" not in shown
    assert repr(XTS_128.key)[2:-1] not in shown


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(XTS_128.key)
    assert flash_encryption.load(str(path), "xts").key == XTS_128.key
    for name in ("-", str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(UsageError):
            flash_encryption.load(name, "xts")
    path.write_bytes(bytes(5000))
    with pytest.raises(UsageError, match="too large"):
        flash_encryption.load(str(path), "xts")
