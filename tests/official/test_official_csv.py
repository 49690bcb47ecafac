"""esp-secure-cert-tool 2.6.1 makes of our CSV the bytes that espcert writes, and we of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.official.test_official_tool import fixture, used
from tests.support import FIXTURES, IMAGES, fixture_truth, real_image

import espcert
from espcert import csv_writing
from espcert.csv_material import COLUMNS
from espcert.opening import open_image
from espcert_formats import tlv
from espcert_formats.errors import FormatError
from espcert_formats.items import SEALS, Contents, Item

INPUTS = FIXTURES / "inputs"
FIXTURE_NAMES = [Path(row["file"]).stem for row in fixture_truth()]

REFUSED = {
    "cust_flash_equal_lengths": "ca_cert",  # no NUL, which the tool adds
    "nvs_freeing": "private_key",  # PKCS#8, where the tool writes SEC1
    "nvs_legacy_chain": "device_cert",  # of a chain the tool keeps the first certificate
    "nvs_lost_key": "ca_cert",  # damaged
    "nvs_twice": "private_key",  # under a password
    "tlv_chain": "device_cert",
    "tlv_crlf": "ca_cert",  # the tool writes LF
    "tlv_damaged_ca": "ca_cert",
    "tlv_duplicate": "ca_cert",
    "tlv_ecdsa_leaked_key": "private_key",  # flags
    "tlv_ecdsa_peripheral": "private_key",
    "tlv_every_type": "private_key",
    "tlv_hmac_derived": "private_key",
    "tlv_hmac_encrypted": "private_key",
    "tlv_no_nul": "ca_cert",
    "tlv_password": "private_key",
    "tlv_pkcs8": "private_key",
}
"""Fixtures that the tool's format cannot express, and the item at fault."""
TOO_LARGE = {"tlv_over_8k"}
"""The tool makes no partition of more than 0x2000 bytes."""


def contents_of(path: Path) -> Contents:
    return espcert.detect(open_image(str(path))).require()


def write_csv(items: tuple[Item, ...], folder: Path) -> Path:
    """The CSV and its files, as payloads say."""
    for name, data in csv_writing.payloads(items).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / csv_writing.FILE_NAME


def run_tool(tool: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = tool.parent / "configure_esp_secure_cert.py"
    return subprocess.run(
        [str(tool), str(script), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def made_of(tool: Path, csv: Path) -> bytes:
    """The partition that the tool makes of a CSV, run where its files are."""
    done = run_tool(tool, csv.parent, "--skip_flash", "--esp_secure_cert_csv", csv.name)
    assert done.returncode == 0, done.stdout + done.stderr
    return (csv.parent / "esp_secure_cert_data" / "esp_secure_cert.bin").read_bytes()


def comparable(items: tuple[Item, ...]) -> list[tuple[str, int, bytes, str | None, int]]:
    """Items without seals; flags 0xFF and none mean 0."""
    return sorted(
        (i.kind, i.index, i.data, i.protection, 0 if i.flags in (None, 0xFF) else i.flags or 0)
        for i in items
        if i.kind not in SEALS
    )


@pytest.mark.parametrize(
    "name", [n for n in FIXTURE_NAMES if n not in REFUSED | dict.fromkeys(TOO_LARGE)]
)
def test_the_tool_rebuilds_the_partition_from_our_csv(
    tool: Path, name: str, tmp_path: Path
) -> None:
    items = contents_of(fixture(name)).items
    csv = write_csv(items, tmp_path)
    assert made_of(tool, csv) == used(tlv.write(items_of_a_partition(items), 0x2000))
    assert comparable(contents_of(csv).items) == comparable(items)


def items_of_a_partition(items: tuple[Item, ...]) -> list[Item]:
    return [item for item in items if item.kind not in SEALS]


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_format_cannot_express_is_named(name: str) -> None:
    with pytest.raises(FormatError, match=rf"\b{REFUSED[name]}\b"):
        csv_writing.payloads(contents_of(fixture(name)).items)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_the_tool_makes_no_larger_partition(tool: Path, name: str, tmp_path: Path) -> None:
    items = contents_of(fixture(name)).items
    csv = write_csv(items, tmp_path)
    done = run_tool(tool, tmp_path, "--skip_flash", "--esp_secure_cert_csv", csv.name)
    assert done.returncode != 0
    assert "Partition size exceeded" in done.stdout + done.stderr
    assert comparable(contents_of(csv).items) == comparable(items)


REAL = (
    "cust_flash",
    "cust_flash_rsa_ds_c3",
    "nvs",
    "nvs_esp_ds_c3",
    "tlv_from_csv",
    "tlv_rsa_ds_c3",
)


@pytest.mark.parametrize("name", REAL)
def test_the_tool_rebuilds_a_real_image(tool: Path, name: str, tmp_path: Path) -> None:
    real_image(f"{name}/partition.bin")
    items = contents_of(IMAGES / name / "partition.bin").items
    csv = write_csv(items, tmp_path)
    assert made_of(tool, csv) == used(tlv.write(items_of_a_partition(items), 0x2000))


# --- Our reading of a CSV is the tool's partition ----------------------------------------------

ROWS = {
    "chain": ("ESP_SECURE_CERT_DEV_CERT_TLV", "0", "ec_chain.pem", "file", ""),
    "pkcs8": ("ESP_SECURE_CERT_PRIV_KEY_TLV", "0", "ec_device.pkcs8.key", "file", "plaintext"),
    "key der": ("2", "3", "ec_device.key.der", "file", "PlainText"),
    "cert der": ("0", "254", "ec_ca.der", "file", ""),
    "text": ("ESP_SECURE_CERT_USER_DATA_1_TLV", "0", "  Gerät, „1“ ", "string", ""),
    "quoted lines": ("51", "1", "one\r\ntwo\n", "string", ""),
    "quotes": ("52", "0", 'say "no"', "string", ""),
    "formula": ("52", "1", "=1+1", "string", ""),
    "hex": ("53", "0", "de AD be ef", "hex", ""),
    "base64": ("54", "0", "3q2+7w==", "base64", ""),
    "matter": ("201", "128", "00", "hex", ""),
    "file": ("ESP_SECURE_CERT_USER_DATA_5_TLV", "0", "ec_device.password.txt", "file", ""),
    "salt": ("ESP_SECURE_CERT_ECDSA_KEY_SALT_TLV", "0", "derived_salt.bin", "file", ""),
    "end": ("TLV_END", "0", "00", "hex", ""),
    "unknown": ("250", "255", "0102", "hex", ""),
}
"""Type, subtype, value, kind of value and of key."""


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def csv_of(rows: Sequence[tuple[str, ...]], newline: str) -> str:
    lines = [",".join(COLUMNS), "# a comment,,,,,,,,"]
    lines += [",".join([*map(quoted, row), "", "", "", ""]) for row in rows]
    return newline.join(lines) + newline


@pytest.mark.parametrize("name", [*ROWS, "all"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_our_reading_is_the_tools_partition(
    tool: Path, name: str, newline: str, tmp_path: Path
) -> None:
    rows = list(ROWS.values()) if name == "all" else [ROWS[name]]
    for _, _, value, data_type, _ in rows:
        if data_type == "file":
            (tmp_path / value).write_bytes((INPUTS / value).read_bytes())
    csv = tmp_path / "in.csv"
    csv.write_bytes(csv_of(rows, newline).encode())
    theirs = tlv.read(made_of(tool, csv))
    assert comparable(contents_of(csv).items) == comparable(theirs.items)


def test_a_key_without_line_breaks(tool: Path, tmp_path: Path) -> None:
    """As in the tool's own example: PEM in one line of text."""
    key = "".join((INPUTS / "rsa_device.key").read_text().splitlines())
    rows: list[tuple[str, ...]] = [("2", "0", key, "string", "plaintext")]
    csv = tmp_path / "in.csv"
    csv.write_text(csv_of(rows, "\n"))
    theirs = tlv.read(made_of(tool, csv))
    assert comparable(contents_of(csv).items) == comparable(theirs.items)
    assert theirs.items[0].data == (INPUTS / "rsa_device.key").read_bytes() + b"\0"


def test_the_tools_example_is_its_partition() -> None:
    real_image("tlv_from_csv/partition.bin")
    folder = IMAGES / "tlv_from_csv"
    found = contents_of(folder / "esp_secure_cert_config_examples.csv")
    assert comparable(found.items) == comparable(contents_of(folder / "partition.bin").items)


PARSED = ("tlv_from_csv/partition.bin", "tlv_rsa_ds_c3/partition.bin")


@pytest.mark.parametrize("image", PARSED)
def test_what_parse_bin_writes_gives_the_image(tool: Path, image: str, tmp_path: Path) -> None:
    """Its rows of DS data say `rsa_ds`: they are data, no orders."""
    source = tmp_path / "partition.bin"
    source.write_bytes(real_image(image))
    done = run_tool(tool, tmp_path, "--parse_bin", source.name)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "esp_secure_cert_parsed_data"
    expected = IMAGES / Path(image).parent / "expected-parsed.csv"
    csv = folder / "esp_secure_cert_parsed.csv"
    if expected.exists():
        assert csv.read_bytes() == expected.read_bytes()
    assert comparable(contents_of(csv).items) == comparable(contents_of(source).items)


@pytest.mark.parametrize("name", ["tlv_ds_c3", "tlv_der", "tlv_subtypes", "tlv_ds_s2"])
def test_what_parse_bin_writes_of_a_fixture_gives_it(tool: Path, name: str, tmp_path: Path) -> None:
    done = run_tool(tool, tmp_path, "--parse_bin", str(fixture(name)))
    assert done.returncode == 0, done.stdout + done.stderr
    csv = tmp_path / "esp_secure_cert_parsed_data" / "esp_secure_cert_parsed.csv"
    assert comparable(contents_of(csv).items) == comparable(contents_of(fixture(name)).items)
