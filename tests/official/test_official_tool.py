"""esp-secure-cert-tool 2.6.1: it writes the bytes that espcert writes, and reads them.

The tool runs in an environment of its own, made once under build/tool-envs.
"""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from fixtures.tools import envs
from fixtures.tools.material import C3, S2, Job, cli
from fixtures.tools.recipes_tlv import EC
from tests.support import FIXTURES, IMAGES, real_image

import espcert
from espcert import keypairs, migration
from espcert_formats import tlv

INPUTS = FIXTURES / "inputs"
RSA = ("rsa_device.pem", "rsa_ca.pem", "rsa_device.key", "RSA 2048")
ALGORITHMS = {"RSA 2048": "RSA 2048", "ECDSA P-256": "ECDSA 256"}


def used(image: bytes) -> bytes:
    """The bytes up to the erased flash behind the last entry, by its length."""
    at = 0
    while image[at : at + 4] == tlv.MAGIC:
        at += 16 + -(-int.from_bytes(image[at + 10 : at + 12], "little") // 16) * 16
    assert set(image[at:]) <= {0xFF}
    return image[:at]


def migrated(path: Path, **options: Any) -> bytes:
    """espcert's output for an image that must migrate."""
    reading = espcert.detect(espcert.open_image(path))
    result = espcert.migrate(reading, migration.Options(**options))
    assert result.output is not None, result.findings
    return result.output


def fixture(name: str) -> Path:
    return FIXTURES / "images" / f"{name}.bin"


# --- The same bytes ----------------------------------------------------------------------------

DER = ("ec_device.der", None, "ec_device.key.der", "ECDSA 256")
SAME: dict[str, Job] = {
    "cust_flash_rsa": cli(*RSA),
    "cust_flash_der_no_ca": cli(*DER),
    "cust_flash_legacy_ec": cli(*EC),
    "cust_flash_legacy_no_ca": cli(EC[0], None, EC[2], EC[3]),
    "nvs_ec": cli(*EC),
    "tlv_2_0": cli(*EC),
    "tlv_end_marker": cli(*EC),
    "tlv_ec": cli(*EC),
    "tlv_rsa": cli(*RSA),
    "cust_flash_ds_c3": C3.job(),
    "nvs_legacy_ds_c3": C3.job(),
    "tlv_ds_s2": S2.job(ca=False),
}
"""Fixtures whose material is stored as the tool stores it → its command line for the inputs."""
NO_SEAL = {"tlv_end_marker"}
"""A current image without an integrity entry is kept as it is."""


@pytest.fixture(scope="session")
def made(tool: Path) -> dict[str, bytes]:
    """What the tool writes for the inputs."""
    return envs.run_jobs(tool, SAME)


@pytest.mark.parametrize("name", SAME)
def test_same_bytes_as_the_tool(made: dict[str, bytes], name: str) -> None:
    output = used(migrated(fixture(name)))
    if name in NO_SEAL:
        output += made[name][len(output) :]
        assert len(made[name]) - len(used(migrated(fixture(name)))) == 48
    assert output == made[name]


REAL = ("cust_flash", "cust_flash_legacy", "cust_flash_tlv", "nvs", "nvs_legacy")


@dataclass(frozen=True)
class Extracted:
    """The files of an image, as `espcert inspect --extract` writes them."""

    folder: Path
    algorithm: str

    def job(self) -> Job:
        paths = [next(self.folder.glob(f"{kind}.*"), None) for kind in ("device_cert", "ca_cert")]
        key = next(self.folder.glob("private_key.*"))
        device, ca = (None if path is None else str(path) for path in paths)
        return cli(device, ca, str(key), self.algorithm)


def extracted(path: Path, folder: Path) -> Extracted:
    from espcert.extraction import extract

    contents = espcert.detect(espcert.open_image(path)).require()
    extract(contents, folder)
    (key,) = contents.of_kind("private_key")
    loaded = keypairs.load_private_key(key.data)
    assert loaded is not None
    return Extracted(folder, ALGORITHMS[keypairs.key_name(loaded)])


def by_the_tool(tool: Path, job: Job) -> bytes:
    return envs.run_jobs(tool, {"one": job})["one"]


@pytest.mark.parametrize("name", REAL)
def test_same_bytes_from_extracted_files_of_a_real_image(
    tool: Path, name: str, tmp_path: Path
) -> None:
    """Not from our inputs: what espcert extracts, given to the tool, is what espcert writes."""
    real_image(f"{name}/partition.bin")
    path = IMAGES / name / "partition.bin"
    job = extracted(path, tmp_path / "files").job()
    assert used(migrated(path)) == by_the_tool(tool, job)


# --- Where the stored bytes win ----------------------------------------------------------------


def data_of_entry(image: bytes, kind: int) -> bytes:
    (found,) = [entry for entry in tlv.walk(image) if entry.type == kind]
    return image[found.data_offset :][: found.length]


def against_the_tool(tool: Path, name: str, folder: Path, kind: int) -> tuple[bytes, bytes, bytes]:
    """An entry's bytes in the source, in espcert's output and in the tool's."""
    job = extracted(fixture(name), folder).job()
    images = (fixture(name).read_bytes(), migrated(fixture(name)), by_the_tool(tool, job))
    source, ours, theirs = (data_of_entry(image, kind) for image in images)
    return source, ours, theirs


def test_pkcs8_key_is_kept_where_the_tool_encodes_it_anew(tool: Path, tmp_path: Path) -> None:
    source, ours, theirs = against_the_tool(tool, "tlv_pkcs8", tmp_path, tlv.TYPE_PRIVATE_KEY)
    assert ours == source == (INPUTS / "ec_device.pkcs8.key").read_bytes() + b"\0"
    assert theirs == (INPUTS / "ec_device.key").read_bytes() + b"\0"


def test_chain_is_kept_where_the_tool_drops_all_but_the_first(tool: Path, tmp_path: Path) -> None:
    source, ours, theirs = against_the_tool(tool, "tlv_chain", tmp_path, tlv.TYPE_DEVICE_CERT)
    assert ours == source == (INPUTS / "ec_chain.pem").read_bytes() + b"\0"
    assert theirs == (INPUTS / "ec_chain_first.pem").read_bytes() + b"\0"


def test_crlf_is_kept_where_the_tool_writes_lf(tool: Path, tmp_path: Path) -> None:
    source, ours, theirs = against_the_tool(tool, "tlv_crlf", tmp_path, tlv.TYPE_DEVICE_CERT)
    assert ours == source
    assert b"\r\n" in source
    assert theirs == source.replace(b"\r\n", b"\n")


def test_a_missing_nul_is_added_as_the_tool_adds_it(tool: Path, tmp_path: Path) -> None:
    source, ours, theirs = against_the_tool(tool, "tlv_no_nul", tmp_path, tlv.TYPE_DEVICE_CERT)
    assert ours == theirs == source + b"\0"


def test_supplied_certificate_is_stored_as_the_tool_stores_it(made: dict[str, bytes]) -> None:
    """Also where the file has CRLF and words around the certificate."""
    pem = (INPUTS / "ec_ca.pem").read_bytes()
    odd = b"my CA\r\n" + pem.replace(b"\n", b"\r\n") + b"\r\n"
    output = migrated(fixture("cust_flash_legacy_no_ca"), ca_cert=odd)
    assert used(output) == made["cust_flash_legacy_ec"]


# --- The tool reads what espcert writes --------------------------------------------------------

NAMES = {
    "CA_CERT": "ca_cert",
    "DEV_CERT": "device_cert",
    "PRIV_KEY": "private_key",
    **{f"USER_DATA_{n}": f"user_data_{n}" for n in range(1, 6)},
}
READ = ("cust_flash_rsa", "nvs_ec", "nvs_legacy_chain", "tlv_2_0", "tlv_subtypes", "tlv_over_8k",
        "cust_flash_der_no_ca", "tlv_crlf")  # fmt: skip


def parsed(tool: Path, image: Path, folder: Path) -> list[dict[str, str]]:
    """The rows of the CSV that `--parse_bin` writes."""
    script = tool.parent / "configure_esp_secure_cert.py"
    done = subprocess.run(
        [str(tool), str(script), "--parse_bin", str(image)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    path = folder / "esp_secure_cert_parsed_data" / "esp_secure_cert_parsed.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def comparable(kind: str, data: bytes) -> object:
    """The bytes without their NUL; keys by their numbers: the tool writes them as PKCS#8."""
    if kind != "private_key":
        return data.rstrip(b"\0")
    key = keypairs.load_private_key(data)
    assert isinstance(key, (EllipticCurvePrivateKey, RSAPrivateKey))
    return key.private_numbers()


@pytest.mark.parametrize("name", READ)
def test_the_tool_reads_our_output(tool: Path, name: str, tmp_path: Path) -> None:
    image = tmp_path / "out.bin"
    image.write_bytes(migrated(fixture(name)))
    contents = espcert.detect(espcert.open_image(image)).require()
    stored = {(i.kind, i.index): i.data for i in contents.items if i.kind != "integrity"}
    found = {}
    for row in parsed(tool, image, tmp_path):
        kind = NAMES[row["tlv_type"].removeprefix("ESP_SECURE_CERT_").removesuffix("_TLV")]
        found[kind, int(row["tlv_subtype"])] = row
    assert found.keys() == stored.keys()
    for key, row in found.items():
        if row["data_type"] == "file":
            path = tmp_path / "esp_secure_cert_parsed_data" / row["data_value"]
            assert comparable(key[0], path.read_bytes()) == comparable(key[0], stored[key])


@pytest.mark.parametrize("name", ["cust_flash_ds_c3", "nvs_ds_s2_two_pages", "nvs_esp_ds_c3"])
def test_the_tool_reads_our_ds_material(tool: Path, name: str, tmp_path: Path) -> None:
    image = tmp_path / "out.bin"
    image.write_bytes(migrated(fixture(name)))
    rows = parsed(tool, image, tmp_path)
    assert rows is not None
    raw = (tmp_path / "esp_secure_cert_parsed_data" / "tlv_entries_raw.txt").read_text()
    assert "DS_DATA" in raw
    assert "DS_CONTEXT" in raw
