"""Every command of the README is run, in its order, and prints what the README says."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.cli.test_unreadable_images import table
from tests.flash_cipher import XTS_128, flagged_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DUMP = ROOT / "fixtures" / "images" / "cust_flash_legacy_ec.bin"
FLASH_SIZE = 0x40000
PARTITION_OFFSET = 0xD000
TABLE_OFFSET = 0xC000

# What stands in for a module on a serial port: esptool's three verbs on a file "flash.bin".
ESPTOOL = """
import pathlib, sys
words = [word for word in sys.argv[1:] if word not in ("--after", "no-reset")]
verb, offset, *rest = words
flash = pathlib.Path("flash.bin")
data, at = bytearray(flash.read_bytes()), int(offset, 0)
if verb == "read-flash":
    pathlib.Path(rest[1]).write_bytes(data[at : at + int(rest[0], 0)])
elif verb == "write-flash":
    new = pathlib.Path(rest[0]).read_bytes()
    data[at : at + len(new)] = new
    flash.write_bytes(data)
elif verb == "verify-flash":
    new = pathlib.Path(rest[0]).read_bytes()
    sys.exit(bytes(data[at : at + len(new)]) != new)
else:
    sys.exit("unknown verb " + verb)
"""
# pipx and uvx need a published package; these show that the README names a command that exists.
PIPX = "import sys; sys.exit(sys.argv[1:] != ['install', 'espcert'])"
UVX = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"

# What stands in for an HSM: the one command of openssl that the README shows.
OPENSSL = """
import pathlib, sys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
verb, how, *rest = sys.argv[1:]
given = dict(zip(rest[::2], rest[1::2]))
assert (verb, how, sorted(given)) == ("pkeyutl", "-sign", ["-in", "-inkey", "-out"])
key = load_pem_private_key(pathlib.Path(given["-inkey"]).read_bytes(), None)
digest = pathlib.Path(given["-in"]).read_bytes()
pathlib.Path(given["-out"]).write_bytes(key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
"""


class Command(NamedTuple):
    """A command of a console block and what the README shows as its output."""

    line: str
    output: str


def console_commands() -> list[Command]:
    """The commands of all console blocks, in the order of the page."""
    commands = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            commands.append(Command(line, output))
    return commands


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a dump, a module to read from, and the README's tools on its path."""
    directory = tmp_path_factory.mktemp("readme")
    flash = bytearray(b"\xff" * FLASH_SIZE)
    flash[PARTITION_OFFSET : PARTITION_OFFSET + 0x6000] = DUMP.read_bytes()
    (directory / "flash.bin").write_bytes(flash)
    (directory / "dump.bin").write_bytes(DUMP.read_bytes())
    flash[TABLE_OFFSET : TABLE_OFFSET + 0xC00] = table([("pre_prov", 0x3F, 6, 0xD000, 0x6000)])
    (directory / "whole.bin").write_bytes(flash)
    (directory / "flash.key").write_bytes(XTS_128.key)
    (directory / "encrypted.bin").write_bytes(_encrypted(bytes(flash)))
    shutil.copy(ROOT / "fixtures" / "images" / "tlv_ds_c3.bin", directory / "ds.bin")
    shutil.copy(ROOT / "fixtures" / "inputs" / "hmac_key.bin", directory / "hmac_key.bin")
    shutil.copy(ROOT / "fixtures" / "inputs" / "sign_p256.key", directory / "sign.key")
    public = ROOT / "fixtures" / "verify" / "inputs" / "sign_p256.pub.pem"
    shutil.copy(public, directory / "sign.pub")
    for name in ("device.pem", "device.key", "ca.pem"):
        shutil.copy(ROOT / "fixtures" / "inputs" / f"rsa_{name}", directory / name)
    tools = directory / "bin"
    tools.mkdir()
    for name, code in (("esptool", ESPTOOL), ("pipx", PIPX), ("uvx", UVX), ("openssl", OPENSSL)):
        script = tools / name
        script.write_text(f"#!{sys.executable}\n{code}", encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return directory


def _encrypted(flash: bytes) -> bytes:
    """The flash image as it is under flash encryption, the partition's row flagged."""
    rows = flagged_table([("pre_prov", 0x3F, 6, PARTITION_OFFSET, 0x6000, 1)])
    sealed = bytearray(flash)
    for at, data in ((TABLE_OFFSET, rows), (PARTITION_OFFSET, DUMP.read_bytes())):
        sealed[at : at + len(data)] = XTS_128.encrypt(data, at)
    return bytes(sealed)


def run(line: str, directory: Path) -> subprocess.CompletedProcess[str]:
    path = [str(directory / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return subprocess.run(
        line,
        shell=True,
        cwd=directory,
        env={**os.environ, "PATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_console_command_works_in_order_and_prints_what_is_shown(bench: Path) -> None:
    commands = console_commands()
    assert len(commands) > 10
    for command in commands:
        done = run(command.line, bench)
        assert done.returncode == 0, (command.line, done.stderr)
        if command.output:
            assert done.stdout == command.output, command.line
    assert (bench / "contents" / "new" / "private_key.pem").is_file()
    written = (bench / "flash.bin").read_bytes()[PARTITION_OFFSET:]
    assert written.startswith((bench / "new.bin").read_bytes())


def test_the_table_of_commands_names_every_verb() -> None:
    from espcert.cli.app import GROUPS, VERBS

    named = re.findall(r"^\| `espcert (\w+) ", README, re.MULTILINE)
    assert set(named) == {*VERBS, *GROUPS}


def test_the_table_of_codes_names_every_code_that_leaves_something_out() -> None:
    from espcert.catalogue import ACCEPTABLE, AS_STORED, CATALOGUE

    section = README.split("`--accept CODE` takes what is refused,")[1].split("## Layouts")[0]
    named = re.findall(r"`([a-z]+(?:-[a-z]+)+)`", "\n".join(re.findall(r"^\|.*", section, re.M)))
    assert set(named) == {code for code in ACCEPTABLE if CATALOGUE[code].accepted != AS_STORED}


def test_the_ten_lines_of_python_convert_a_directory(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code) == 1
    source, target = tmp_path / "dumps", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    shutil.copy(DUMP, source / "good.bin")
    (source / "erased.bin").write_bytes(b"\xff" * 0x6000)
    script = tmp_path / "convert.py"
    script.write_text(code[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "good.bin: layout cust_flash_legacy → tlv" in done.stdout
    assert "erased.bin: erased flash" in done.stderr
    assert [path.name for path in target.iterdir()] == ["good.bin"]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_targets_of_the_makefile(target: str) -> None:
    assert f"`make {target}`" in README
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
