"""What `espcert build` writes beside esp-secure-cert-tool 2.6.1, and where that tool errs.

docs/official-tool.md lists the latter: each of its rows has a test here. What is to be burned is
burned into virtual chips by espefuse, with the commands that espcert prints.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.make_efuse import Recipe, Virtual, blank_token
from fixtures.tools import envs
from fixtures.tools.determinism import steady_bytes
from fixtures.tools.material import OUTPUT
from fixtures.tools.verify.case import plain_job
from fixtures.tools.verify.ds import KEY_ID, job
from tests.support import FIXTURES, ROOT

import espcert
from espcert import DerivedKey, DsKey, EcdsaKey, PlainKey, RefusedError, Stored, csv_order
from espcert.building import Built, Part, build
from espcert.burning import KeyFile
from espcert.chips import CHIPS, Chip
from espcert.confined import Folder
from espcert.efuse import EfuseDump
from espcert.key_storage import Key
from espcert_formats import items as kinds
from espcert_formats import tlv

VERIFY = FIXTURES / "verify"
HMAC_FILE = FIXTURES / "inputs" / "hmac_key.bin"
HMAC_KEY = HMAC_FILE.read_bytes()
SALT = (FIXTURES / "inputs" / "derived_salt.bin").read_bytes()
PAGE = (ROOT / "docs" / "official-tool.md").read_text("utf-8")


def material(name: str) -> bytes:
    return (VERIFY / "inputs" / name).read_bytes()


def path_of(name: str) -> str:
    return str(VERIFY / "inputs" / name)


def parts(device: str, *more: Part) -> list[Part]:
    ca, certificate = Stored("ca_cert", material("ca.pem")), Stored("device_cert", material(device))
    return [ca, certificate, *more]


def used_bytes(device: str, *more: Part, chip: str | None = None) -> bytes:
    built = build(parts(device, *more), chip=chip)
    assert built.output is not None, built.findings
    return built.output[: built.contents.end]


def item(image: bytes, kind: str) -> Any:
    """The only item of a kind in an image."""
    (found,) = tlv.read(image).of_kind(kind)
    return found


# --- The same bytes ------------------------------------------------------------------------------

CSV_SEED = "an order"
COLUMNS = "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,"
ROWS = (
    "USER_DATA_3,0,68 65 6c 6c 6f,hex,,,,,",
    "DEV_CERT,0,{}rsa2048.pem,file,,,,,",
    "PRIV_KEY,1,{}device.key.der,file,plaintext,ECDSA,256,,",
    "PRIV_KEY,0,{}rsa2048.key,file,rsa_ds,RSA,2048,3,{}hmac.bin",
    "DEV_CERT,1,{}device.der,file,,,,,",
    "CA_CERT,0,{}ca.pem,file,,,,,",
)
"""What the official tool calls ESP_SECURE_CERT_..._TLV, in an order of its own."""


def csv_text(folder: str = "") -> str:
    """A CSV that orders a DS key, with the folder of its files in front of their names."""
    rows = (f"ESP_SECURE_CERT_{row.replace('{}', folder).replace(',', '_TLV,', 1)}" for row in ROWS)
    return "\n".join([f"{COLUMNS}efuse_key", *rows]) + "\n"


def csv_job() -> dict[str, Any]:
    """The tool takes the paths as they are; the HMAC key lies in another folder of the fixtures."""
    text = csv_text(f"{VERIFY / 'inputs'}/").replace(path_of("hmac.bin"), str(HMAC_FILE))
    argv = ["--skip_flash", "--target_chip", "esp32s2", "--esp_secure_cert_csv", "in.csv"]
    return {"argv": argv, "seed": CSV_SEED, "produces": OUTPUT, "files": {"in.csv": text}}


def test_a_csv_gives_the_same_bytes_in_the_order_of_its_rows(
    made: dict[str, bytes], tmp_path: Path
) -> None:
    for name in ("rsa2048.pem", "rsa2048.key", "device.key.der", "device.der", "ca.pem"):
        (tmp_path / name).write_bytes(material(name))
    (tmp_path / "hmac.bin").write_bytes(HMAC_KEY)
    ordered = csv_order.parts(csv_text().encode(), Folder(tmp_path))
    iv = steady_bytes(CSV_SEED, 16)
    steady = [replace(one, iv=iv) if isinstance(one, DsKey) else one for one in ordered]
    built = build(steady, chip="esp32s2")
    assert (built.output or b"")[: built.contents.end] == made["csv"]
    proven = {(one.code, one.item) for one in built.findings}
    assert {("ds-proven", "ds_ciphertext"), ("key-proven", "private_key[1]")} <= proven
    (command,) = built.commands
    assert command.endswith(f"BLOCK_KEY3 {tmp_path / 'hmac.bin'} HMAC_DOWN_DIGITAL_SIGNATURE")


S31_SIZES = (1024, 2048, 3072, 4096)


@pytest.fixture(scope="module")
def made(tool: Path) -> dict[str, bytes]:
    """What the tool makes of inputs for which no image is at hand."""
    jobs = {f"s31 {bits}": job("esp32s31", bits) for bits in S31_SIZES}
    jobs["no ca"] = plain_job(ca=None)
    jobs["csv"] = csv_job()
    jobs["c5 4096"] = job("esp32c5", 4096)
    jobs["chain"] = plain_job("chain.pem", "device.key", "ca.pem")
    return envs.run_jobs(tool, jobs)


@pytest.mark.parametrize("bits", S31_SIZES)
def test_ds_of_the_s31_is_what_the_tool_writes(made: dict[str, bytes], bits: int) -> None:
    iv = steady_bytes(f"verify iv esp32s31 {bits}", 16)
    key = DsKey(material(f"rsa{bits}.key"), HMAC_KEY, KEY_ID, iv=iv)
    assert used_bytes(f"rsa{bits}.pem", key, chip="esp32s31") == made[f"s31 {bits}"]


def test_without_a_ca_certificate_it_is_the_same(made: dict[str, bytes]) -> None:
    given: list[Part] = [
        Stored("device_cert", material("device.pem")),
        PlainKey(material("device.key")),
    ]
    built = build(given)
    assert (built.output or b"")[: built.contents.end] == made["no ca"]


# --- What the commands burn ----------------------------------------------------------------------


def ds(name: str, key_id: int) -> Key:
    return DsKey(material(f"{name}.key"), HMAC_KEY, key_id, hmac_file=KeyFile(str(HMAC_FILE)))


def ecdsa(name: str, key_id: int) -> Key:
    return EcdsaKey(material(f"{name}.key"), key_id, file=KeyFile(path_of(f"{name}.key")))


CURVES = {"secp256r1": ("device", 1), "secp192r1": ("p192", 2), "secp384r1": ("p384", 3)}
"""Curve → name of a device, and the block for its key; one on P-384 takes the next one, too."""


def built_for(chip: Chip) -> list[Built]:
    """A partition for each kind of key that the chip's peripherals take."""
    found = (
        [build(parts("rsa1024.pem", ds("rsa1024", 0)), chip=chip.name)] if chip.ds_max_bits else []
    )
    for curve in chip.ecdsa_curves:
        name, key_id = CURVES[curve]
        found.append(build(parts(f"{name}.pem", ecdsa(name, key_id)), chip=chip.name))
    return found


@pytest.mark.parametrize(
    "chip", [chip for chip in CHIPS.values() if chip.ds_max_bits or chip.ecdsa_curves],
    ids=lambda chip: str(chip.name),
)  # fmt: skip
def test_the_printed_commands_burn_the_keys(tool: Path, tmp_path: Path, chip: Chip) -> None:
    """From a blank chip to a dump of its eFuses, which proves each partition."""
    built = built_for(chip)
    dump = burned(tool, tmp_path, chip.name, [line for one in built for line in one.commands])
    for one in built:
        reading = espcert.detect(espcert.locate(one.output or b""))
        found = {f.code for f in espcert.verify(reading, efuse=dump, chip=chip.name)}
        assert found & {"ds-proven", "ecdsa-proven"}
        assert not {code for code in found if code.startswith("efuse-")}


def test_the_printed_command_burns_the_key_to_derive_from(tool: Path, tmp_path: Path) -> None:
    certificate = Stored("device_cert", (FIXTURES / "inputs" / "derived_device.der").read_bytes())
    key = DerivedKey(HMAC_KEY, 3, SALT, hmac_file=KeyFile(str(HMAC_FILE)))
    built = build([certificate, key], chip="esp32c6")
    dump = burned(tool, tmp_path, "esp32c6", built.commands)
    reading = espcert.detect(espcert.locate(built.output or b""))
    found = {one.code for one in espcert.verify(reading, efuse=dump)}
    assert "hmac-proven" in found


def burned(tool: Path, folder: Path, chip: str, commands: Sequence[str]) -> EfuseDump:
    """The eFuses of a virtual chip after the commands, in one go; the keys stay readable."""
    revision = 300 if chip == "esp32p4" else 0
    virtual = Virtual(tool, folder, Recipe(chip, (), revision=revision))
    if revision:
        virtual.run("--token", blank_token(chip, revision), "dump")
    groups: list[str] = []
    for words in map(shlex.split, commands):
        assert words[:4] == ["espefuse", "--chip", chip, "burn-key"]
        groups += words[4:]
    virtual.run("burn-key", "--no-read-protect", *groups)
    virtual.run("dump", "--format", "joint", "--file-name", "dump.bin")
    return espcert.open_efuse(folder / "dump.bin", chip=chip)


# --- Where the tool is not right: the rows of docs/official-tool.md ------------------------------


@dataclass(frozen=True)
class Ran:
    """What a run of the tool left."""

    code: int
    text: str
    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "esp_secure_cert_data" / "esp_secure_cert.bin"


def run_tool(tool: Path, folder: Path, *arguments: str) -> Ran:
    """The tool's command line, as its users run it."""
    script = tool.parent / "configure_esp_secure_cert.py"
    command = [str(tool), str(script), "--skip_flash", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout + done.stderr, folder)


def peripheral(chip: str, device: str, algorithm: str, key_id: int = 1) -> list[str]:
    """Its options for a key in a peripheral."""
    given = ["--device-cert", path_of(f"{device}.pem"), "--private-key", path_of(f"{device}.key")]
    place = ["--configure_ds", "--target_chip", chip, "--efuse_key_id", str(key_id)]
    return [*given, *place, "--priv_key_algo", *algorithm.split()]


def test_every_row_of_the_page_has_a_test_here() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE)
    tests = [name for name in globals() if name.startswith("test_row_")]
    assert sorted(rows) == sorted(name[9:].replace("_", "-") for name in tests)


def test_row_leaked_key() -> None:
    theirs = (VERIFY / "ecdsa_h2_leaked.bin").read_bytes()
    ours = used_bytes("device.pem", EcdsaKey(material("device.key"), 2), chip="esp32h2")
    assert item(theirs, kinds.PRIVATE_KEY).data == material("device.key") + b"\0"
    assert item(ours, kinds.PRIVATE_KEY).data == b""


def test_row_c5_ciphertext() -> None:
    theirs = (VERIFY / "ds_esp32c5_2048.bin").read_bytes()
    ours = used_bytes("rsa2048.pem", DsKey(material("rsa2048.key"), HMAC_KEY, 2), chip="esp32c5")
    assert len(item(theirs, kinds.DS_CIPHERTEXT).data) == 1584
    assert len(item(ours, kinds.DS_CIPHERTEXT).data) == 1200


def test_row_c5_rsa_4096(made: dict[str, bytes]) -> None:
    assert item(made["c5 4096"], kinds.DS_CONTEXT).rsa_bits == 4096
    with pytest.raises(RefusedError, match="RSA 4096"):
        used_bytes("rsa4096.pem", DsKey(material("rsa4096.key"), HMAC_KEY, 2), chip="esp32c5")


def test_row_p384_blocks() -> None:
    theirs = (VERIFY / "ecdsa_c5_p384_leaked.bin").read_bytes()
    ours = used_bytes("p384.pem", EcdsaKey(material("p384.key"), 2), chip="esp32c5")
    assert item(theirs, kinds.SECURITY_CONFIG).efuse_block == 6
    assert item(ours, kinds.SECURITY_CONFIG).efuse_block == 0x67


@pytest.mark.parametrize(
    ("chip", "name", "bits"),
    [("esp32h2", "p192", 192), ("esp32c5", "p192", 192), ("esp32p4", "p384", 384)],
)
def test_row_curves(tool: Path, tmp_path: Path, chip: str, name: str, bits: int) -> None:
    theirs = run_tool(tool, tmp_path, *peripheral(chip, name, f"ECDSA {bits}"))
    assert theirs.code != 0
    assert f"does not support ECDSA {bits}" in theirs.text
    assert used_bytes(f"{name}.pem", EcdsaKey(material(f"{name}.key"), 1), chip=chip)


@pytest.mark.parametrize("chip", ["esp32h21", "esp32h4"])
def test_row_chips(tool: Path, tmp_path: Path, chip: str) -> None:
    theirs = run_tool(tool, tmp_path, *peripheral(chip, "device", "ECDSA 256"))
    assert theirs.code != 0
    assert "invalid choice" in theirs.text
    assert used_bytes("device.pem", EcdsaKey(material("device.key"), 1), chip=chip)


@pytest.mark.parametrize(
    ("chip", "name", "bits", "purpose"),
    [("esp32c5", "p384", 384, "ECDSA_KEY"), ("esp32c61", "p192", 192, "ECDSA_KEY_P192")],
)
def test_row_burn_commands(
    tool: Path, tmp_path: Path, chip: str, name: str, bits: int, purpose: str
) -> None:
    """espefuse burns no P-384 key as ECDSA_KEY, and the ESP32-C61 has no purpose for P-192."""
    theirs = run_tool(tool, tmp_path, *peripheral(chip, name, f"ECDSA {bits}"))
    assert re.search(rf"burn_key BLOCK_KEY1 \S+ {purpose}\n", theirs.text)
    virtual = Virtual(tool, tmp_path, Recipe(chip, ()))
    with pytest.raises(SystemExit):
        virtual.run("burn-key", "BLOCK_KEY1", path_of(f"{name}.key"), purpose)
    ours = build(parts(f"{name}.pem", ecdsa(name, 1)), chip=chip).commands
    assert not ours[0].endswith(f" {purpose}")


def test_row_s31_key_5(tool: Path, tmp_path: Path) -> None:
    options = [
        *peripheral("esp32s31", "rsa1024", "RSA 1024", 5),
        "--efuse_key_file",
        str(HMAC_FILE),
    ]
    theirs = run_tool(tool, tmp_path, *options)
    assert theirs.code == 0
    assert item(theirs.image.read_bytes(), kinds.DS_CONTEXT).efuse_key_id == 5
    with pytest.raises(espcert.UsageError, match="key blocks 0 to 4"):
        used_bytes("rsa1024.pem", DsKey(material("rsa1024.key"), HMAC_KEY, 5), chip="esp32s31")


def test_row_foreign_key() -> None:
    theirs = (VERIFY / "ds_foreign.bin").read_bytes()
    found = espcert.verify(tlv.read(theirs), hmac_key=HMAC_KEY)
    assert "ds-foreign" in {finding.code for finding in found}
    with pytest.raises(RefusedError, match="expected that of device_cert"):
        used_bytes("rsa2048_other.pem", DsKey(material("rsa2048.key"), HMAC_KEY, 2), chip="esp32c3")


def test_row_chain(made: dict[str, bytes]) -> None:
    chain, first = material("chain.pem"), item(made["chain"], kinds.DEVICE_CERT).data
    assert chain.startswith(first.rstrip(b"\0"))
    assert len(first) < len(chain)
    built = build(parts("chain.pem"))
    (held,) = built.contents.of_kind(kinds.DEVICE_CERT)
    assert held.data == chain + b"\0"


def test_row_password(tool: Path, tmp_path: Path) -> None:
    password = material("password.txt").strip()
    given = ["--private-key", path_of("device.encrypted.key"), "--pwd", password.decode()]
    theirs = run_tool(tool, tmp_path, *given, "--priv_key_algo", "ECDSA", "256")
    assert theirs.code != 0
    assert not theirs.image.exists()
    ours = used_bytes("device.pem", PlainKey(material("device.encrypted.key"), password))
    assert item(ours, kinds.PRIVATE_KEY).data == material("device.key") + b"\0"


def test_row_hmac_key_length(tool: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.bin"
    short.write_bytes(b"five.")
    options = [*peripheral("esp32c3", "rsa1024", "RSA 1024"), "--efuse_key_file", str(short)]
    assert run_tool(tool, tmp_path, *options).code == 0
    with pytest.raises(espcert.UsageError, match="an HMAC key of 5 bytes"):
        used_bytes("rsa1024.pem", DsKey(material("rsa1024.key"), b"five.", 1), chip="esp32c3")


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_row_new_hmac_key(tool: Path, tmp_path: Path) -> None:
    """espcert's own way is in tests/cli/test_build.py."""
    options = peripheral("esp32c3", "rsa1024", "RSA 1024")
    key = tmp_path / "esp_secure_cert_data" / "hmac_key.bin"
    found = []
    for _ in range(2):
        assert run_tool(tool, tmp_path, *options).code == 0
        found.append(key.read_bytes())
    assert found[0] != found[1]
    assert stat.S_IMODE(key.stat().st_mode) & 0o044


def test_row_eight_kib(tool: Path, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(0x2000))
    header = "tlv_type,tlv_subtype,data_value,data_type,priv_key_type,algorithm,key_size,efuse_id,"
    lines = [f"{header}efuse_key", "ESP_SECURE_CERT_USER_DATA_1_TLV,0,data.bin,file,,,,,"]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n", encoding="ascii")
    theirs = run_tool(tool, tmp_path, "--esp_secure_cert_csv", "in.csv")
    assert theirs.code != 0
    assert "Partition size exceeded" in theirs.text
    assert build([Stored("user_data_1", bytes(0x2000))]).contents.size == 0x3000


def test_row_derived(tool: Path, tmp_path: Path) -> None:
    shown = run_tool(tool, tmp_path, "--help").text
    assert "derived" not in shown.lower()
    assert "salt" not in shown.lower()
    built = build([DerivedKey(HMAC_KEY, 0, SALT)], chip="esp32c3")
    assert {one.kind for one in built.contents.items} >= {kinds.ECDSA_SALT, kinds.PRIVATE_KEY}


def test_the_interpreter_of_the_tool_is_another(tool: Path) -> None:
    """Nothing of the tool is loaded here: what is compared has two origins."""
    assert tool != Path(sys.executable)
    assert "esp_secure_cert" not in sys.modules
