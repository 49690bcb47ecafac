"""What goes wrong around espcert: files, pipes, interrupts, and bugs of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.runner import BIN, assert_no_output, environment, fixture, run, start

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs special files of Linux")
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals or descriptors")
VERBS = {
    "detect": ("detect", fixture("tlv_ec")),
    "inspect": ("inspect", fixture("tlv_ec")),
    "map": ("inspect", "--map", fixture("tlv_ec")),
    "detect json": ("detect", "--json", fixture("tlv_ec")),
    "inspect json": ("inspect", "--json", fixture("tlv_ec")),
    "migrate": ("migrate", "--dry-run", fixture("tlv_ec")),
    "migrate json": ("migrate", "--dry-run", "--json", fixture("tlv_ec")),
    "several": ("detect", fixture("tlv_ec"), fixture("nvs_ec"), fixture("tlv_rsa")),
}
each_verb = pytest.mark.parametrize("case", VERBS)


# --- Files -------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("verb", [("detect",), ("inspect",), ("migrate", "--dry-run")])
def test_file_that_cannot_be_read(verb: tuple[str, ...]) -> None:
    """A process's memory can be opened, but not read at 0."""
    result = run(*verb, "--json", "/proc/self/mem")
    assert result.code == 4
    assert result.object["error"]["code"] == "read-failed"
    assert "cannot be read" in result.err
    assert run(*verb, "/proc/self/mem").code == 4


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root reads everything")
def test_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / "secret.bin"
    path.write_bytes(Path(fixture("tlv_ec")).read_bytes())
    path.chmod(0)
    result = run("detect", "--json", path)
    assert result.code == 4
    assert result.object["error"]["code"] == "read-failed"


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root writes everywhere")
def test_directory_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(0o555)
    result = run("migrate", "--json", fixture("tlv_ec"), "-o", folder / "out.bin")
    assert result.code == 4
    assert result.object["error"]["code"] == "write-failed"


@linux
def test_output_that_cannot_be_created() -> None:
    result = run("migrate", "--json", fixture("tlv_ec"), "-o", "/proc/out.bin")
    assert result.code == 4
    assert result.object["error"]["code"] == "write-failed"


@posix
def test_disk_that_fills_up(out: Path) -> None:
    """A limit on the size of files stands in for it."""
    import resource

    done = subprocess.run(
        [str(BIN), "migrate", "--json", fixture("tlv_ec"), "-o", str(out)],
        capture_output=True,
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert_no_output(out)


@posix
@pytest.mark.parametrize("length", [300, 250])
def test_output_with_a_long_name(length: int, tmp_path: Path) -> None:
    """250 characters are a valid name; 300 are the user's mistake, no bug."""
    result = run("migrate", fixture("tlv_ec"), "-o", "o" * length, cwd=tmp_path)
    assert result.code == 0 if length == 250 else result.code in (2, 4), result.err
    assert "bug" not in result.err


# --- Standard output ---------------------------------------------------------------------------


@linux
@each_verb
def test_full_device_as_output(case: str) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run(*VERBS[case], stdout=full.fileno())
    assert result.code == 4
    assert "No space left" in result.err
    assert "bug" not in result.err
    assert "Traceback" not in result.err
    assert result.err.count("\n") == 1


@linux
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_full_device_as_output_of_help(option: str) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run(option, stdout=full.fileno())
    assert result.code == 4
    assert "Traceback" not in result.err


@posix
@each_verb
def test_closed_pipe_ends_silently(case: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = run(*VERBS[case], stdout=writing)
    finally:
        os.close(writing)
    assert result.err == ""
    assert result.code in (0, 141)


@posix
def test_closed_pipe_after_a_line() -> None:
    command = f"{BIN} inspect --map {fixture('tlv_rsa')} | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=environment(), check=False
    )
    assert done.stdout.startswith(fixture("tlv_rsa").encode())
    assert done.stderr == b""


@posix
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_descriptors(redirection: str) -> None:
    command = f"{BIN} detect {fixture('tlv_ec')} {redirection}"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=environment(), check=False
    )
    assert done.returncode in (0, 4)
    assert b"Traceback" not in done.stderr


@posix
@pytest.mark.parametrize("arguments", ["detect -", "migrate - -o out.bin"])
def test_closed_standard_input(arguments: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{BIN} {arguments} <&-"],
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert done.returncode in (2, 3, 4), done.stderr
    assert b"bug" not in done.stderr


# --- Interrupts --------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("arguments", [("detect", "-"), ("migrate", "-", "-o", "out.bin")])
def test_interrupt(arguments: tuple[str, ...], tmp_path: Path) -> None:
    process = start(*arguments, stdin=subprocess.PIPE, cwd=tmp_path)
    assert process.stdin
    process.stdin.write(b"\x11\xba\x5e\xba")
    process.stdin.flush()
    wait_for_reading(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err
    assert err.count(b"\n") <= 1
    assert list(tmp_path.iterdir()) == []


def wait_for_reading(process: subprocess.Popen[bytes]) -> None:
    """Until the process waits for its input; without /proc, for as long as that surely takes."""
    stack = Path(f"/proc/{process.pid}/wchan")
    if not stack.exists():
        time.sleep(2)
        return
    deadline = time.monotonic() + 20
    while "pipe" not in stack.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)


# --- Bugs --------------------------------------------------------------------------------------

BROKEN = """
import sys
import espcert.migration, espcert.detection, espcert.cli
SECRET = "-----BEGIN EC PRIVATE KEY-----"
def broken(*arguments, **options):
    hidden = SECRET + "hidden-local"
    raise ValueError("hidden-value " + hidden)
espcert.migration.migrate = broken
espcert.migration._proven = broken
if "--all" in sys.argv:
    sys.argv.remove("--all")
    espcert.detection.detect = broken
sys.argv[0] = "espcert"
espcert.cli.run()
"""


def run_broken(
    *arguments: str | Path, debug: str | None = None
) -> subprocess.CompletedProcess[str]:
    changes = {} if debug is None else {"ESPCERT_DEBUG": debug}
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(changes),
        check=False,
    )


@pytest.mark.parametrize("debug", [None, "0", ""])
def test_a_bug_is_one_line(debug: str | None, out: Path) -> None:
    done = run_broken("migrate", fixture("nvs_ec"), "-o", out, debug=debug)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.count("\n") == 1
    assert "bug" in done.stderr
    assert "report" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden" not in done.stderr
    assert_no_output(out)


def test_a_bug_shows_its_traceback_but_no_values(out: Path) -> None:
    done = run_broken("migrate", fixture("nvs_ec"), "-o", out, debug="1")
    assert done.returncode == 70
    assert "in broken" in done.stderr
    assert "migrate_one" in done.stderr
    for hidden in ("hidden-value ", "BEGIN EC PRIVATE", "locals"):
        assert hidden not in done.stderr.replace('"hidden-value " + hidden', "")


def test_a_bug_in_json_is_an_error_object(out: Path) -> None:
    import json

    done = run_broken("migrate", "--json", fixture("nvs_ec"), "-o", out)
    assert done.returncode == 70
    found = json.loads(done.stdout)
    assert set(found) == {"schema", "file", "error"}
    assert "hidden" not in done.stdout


def test_a_bug_with_one_image_is_told_for_each() -> None:
    done = run_broken("detect", "--all", fixture("tlv_ec"), fixture("nvs_ec"))
    assert done.returncode == 70
    assert done.stderr.count("\n") == 2
    assert fixture("tlv_ec") in done.stderr


def test_a_result_that_does_not_read_back_is_a_bug(out: Path) -> None:
    """The proof: a writer that spoils a byte is caught, and nothing is written."""
    spoil = """
import espcert.migration, espcert.cli
from espcert_formats import tlv
real = tlv.write
def spoilt(*arguments, **options):
    image = bytearray(real(*arguments, **options))
    image[200] ^= 1
    return bytes(image)
tlv.write = spoilt
espcert.cli.run()
"""
    done = subprocess.run(
        [sys.executable, "-c", spoil, "migrate", fixture("nvs_ec"), "-o", str(out)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 70, done.stderr
    assert_no_output(out)
