"""The catalogue of findings: its page, and that every code is provoked by some image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.cli.test_unreadable_images import table
from tests.support import FIXTURES, ROOT, crc, fixture_truth
from tests.toolkit.verify_cases import CASES, found_in

import espcert
from espcert import pem_directory
from espcert.catalogue import ACCEPTABLE, CATALOGUE, ERROR, INFO, SUBJECTS, WARNING
from espcert.confined import Held
from espcert.findings_page import page
from espcert_formats import tlv

SOURCES = [
    path
    for folder in ("toolkit/espcert", "formats/espcert_formats")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "catalogue.py" and "_ksy" not in path.parts
]


def test_the_page_is_made_from_the_code() -> None:
    stored = (ROOT / "docs" / "findings.md").read_text("utf-8")
    assert stored.rstrip("\n") == page().rstrip("\n"), "run `make docs`"


def test_codes_are_unique_and_well_formed() -> None:
    rows = [row for rows in SUBJECTS.values() for row in rows]
    assert len(rows) == len(CATALOGUE)
    for row in rows:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.code)
        assert row.severity in (ERROR, WARNING, INFO)
        assert row.meaning.endswith(".")
        assert not row.hint.endswith(".")
        assert row.source


def test_every_error_can_be_accepted_or_says_why_not() -> None:
    """What `migrate` refuses and cannot take is decided by what is written, not by a loss."""
    never = {"does-not-fit", "nothing-left", "entry-derails-walk", "offset-wraps", "no-end-gap"}
    firmware = {row.code for row in SUBJECTS["Firmware"]}
    fleet = {row.code for row in SUBJECTS["Fleet"]}
    given = {"signature-foreign", "signature-missing"}
    for code, row in CATALOGUE.items():
        refuses = (row.migration or row.severity) == ERROR
        refuses = refuses and code not in firmware | given | fleet
        assert (code in ACCEPTABLE) == (refuses and code not in never), code


def test_every_code_is_used_by_the_code() -> None:
    text = "\n".join(path.read_text("utf-8") for path in SOURCES)
    assert [code for code in CATALOGUE if f'"{code}"' not in text] == []


def refused(name: str, **options: object) -> Iterator[str]:
    reading = espcert.detect(espcert.open_image(FIXTURES / "images" / f"{name}.bin"))
    result = espcert.migrate(reading, espcert.Options(**options))  # type: ignore[arg-type]
    for finding in result.findings:
        yield finding.code


def nothing_left() -> Iterator[str]:
    """What is said of an image whose only entry is damaged, where that is accepted."""
    entry = bytearray(tlv.encode(tlv.NewEntry(tlv.TYPE_CA_CERT, 0, 0, b"x" * 32)))
    entry[-1] ^= 1
    reading = espcert.detect(espcert.locate(bytes(entry).ljust(0x2000, b"\xff")))
    result = espcert.migrate(reading, espcert.Options(accept=frozenset({"item-crc"})))
    yield from (finding.code for finding in result.findings)


def in_conversion() -> Iterator[str]:
    """What is said of a cust_flash partition without a CA, and of one that is too short."""
    long = (FIXTURES / "images" / "tlv_ds_s2.bin").read_bytes() + bytes(0x7000)
    reading = espcert.detect(espcert.locate(long))
    result = espcert.convert(reading, "cust_flash", accept={"trailing-data"})
    yield from (finding.code for finding in result.findings)


def in_a_directory() -> Iterator[str]:
    """What is said of a PEM directory with a file that is none of its items."""
    certificate = (FIXTURES / "inputs" / "ec_device.pem").read_bytes()
    found = pem_directory.read(Held({"device_cert.pem": certificate, "other.txt": b"y"}))
    yield from (finding.code for finding in espcert.verify(found))


def made() -> Iterator[bytes]:
    """Images that no official tool makes."""
    ca = (FIXTURES / "inputs" / "ec_ca.pem").read_bytes()
    key = (FIXTURES / "inputs" / "ec_device.key").read_bytes()
    config = bytes((5, 1)).ljust(40, b"\0")
    for kind, data in (
        (tlv.TYPE_CA_CERT, ca + b"\0" + ca + b"\0"),
        (tlv.TYPE_CA_CERT, ca + key + b"\0"),
        (tlv.TYPE_SECURITY_CONFIG, config),
    ):
        yield tlv.encode(tlv.NewEntry(kind, 0, 0, data))
    rows = [("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000), ("a", 1, 2, 0xE000, 0x1001)]
    rows += [("esp_secure_cert", 0x3F, 6, 0x10001, 0)]
    flash = bytearray(b"\xff" * 0x20000)
    flash[0x8000 : 0x8000 + 0xC00] = table(rows)
    flash[0x8000 + 3 * 32 + 16] ^= 1
    flash[0x8FFF] = 0
    image = (FIXTURES / "images" / "tlv_ec.bin").read_bytes()
    flash[0xD000 : 0xD000 + len(image)] = image
    yield bytes(flash)
    flash = bytearray((FIXTURES / "images" / "cust_flash_rsa.bin").read_bytes())
    long = flash[64 : 64 + 2049]
    flash[4:6] = len(long).to_bytes(2, "little")
    flash[0:4] = crc(bytes(long)).to_bytes(4, "little")
    yield bytes(flash)


@cache
def provoked() -> frozenset[str]:
    """The codes that the cases, the fixtures, and migrations of some fixtures give."""
    codes = {finding.code for case in CASES for finding in found_in(case)}
    for row in fixture_truth():
        path = FIXTURES / row["file"]
        codes |= {finding.code for finding in espcert.verify(detected(path))}
    for image in made():
        reading = espcert.detect(espcert.locate(image))
        codes |= {finding.code for finding in espcert.verify(reading)}
    codes |= set(refused("tlv_2_0_signed"))
    codes |= set(refused("tlv_over_8k", size=0x2000))
    codes |= set(nothing_left())
    codes |= set(in_conversion())
    codes |= set(in_a_directory())
    return frozenset(codes)


def detected(path: Path) -> espcert.Reading:
    return espcert.detect(espcert.open_image(path))


OUT_OF_REACH = {
    "derived-out-of-range": "test_check_hmac.py::test_a_scalar_out_of_range",
    "signature-not-proven": "test_seals.py::test_signature_not_proven",
    "device-expires": "test_fleet_work.py::test_a_certificate_that_expires_soon",
    "shared-private-key": "test_fleet_across.py::test_copies_of_a_dump",
    "shared-device-cert": "test_fleet_across.py::test_copies_of_a_dump",
    "shared-serial": "test_fleet_across.py::test_one_serial_number_twice",
    "shared-ds-block": "test_fleet_across.py::test_copies_of_a_ds_dump",
    "shared-hmac-key-id": "test_fleet_across.py::test_copies_of_a_ds_dump",
}
"""What no image gives (one HMAC key in 2^32, a library without P-192) or no one image alone."""


@pytest.mark.parametrize("code", CATALOGUE)
def test_some_image_provokes_it(code: str) -> None:
    if code in OUT_OF_REACH:
        file, name = OUT_OF_REACH[code].split("::")
        source = (Path(__file__).parent / file).read_text("utf-8")
        body = source.split(f"def {name}", 1)[1].split("\ndef ", 1)[0]
        assert f'"{code}"' in body
        return
    assert code in provoked()
