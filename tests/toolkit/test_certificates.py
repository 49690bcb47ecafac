"""`espcert.certificates`: what certificates and keys say, and silence about their oddities."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES

from espcert import certificates, encoding, inspection, keypairs
from espcert_formats.items import Item, Span

INPUTS = FIXTURES / "inputs"


def material(name: str) -> bytes:
    return (INPUTS / name).read_bytes()


# --- Odd certificates, by patching the DER of a good one ----------------------------------------

DEVICE = material("ec_device.der")


def length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    encoded = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(encoded),)) + encoded


def tagged(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + length(len(body)) + body


def children(data: bytes) -> list[bytes]:
    """The elements of a constructed DER value's body."""
    found, at = [], 0
    while at < len(data):
        first = data[at + 1]
        extra = first & 0x7F if first & 0x80 else 0
        size = int.from_bytes(data[at + 2 : at + 2 + extra], "big") if extra else first
        end = at + 2 + extra + size
        found.append(data[at:end])
        at = end
    return found


def body(element: bytes) -> bytes:
    first = element[1]
    return element[2 + (first & 0x7F if first & 0x80 else 0) :]


def patched(place: int, element: bytes) -> bytes:
    """The device certificate with one field of its TBSCertificate replaced."""
    tbs, *rest = children(body(DEVICE))
    fields = children(body(tbs))
    fields[place] = element
    return tagged(0x30, tagged(0x30, b"".join(fields)) + b"".join(rest))


def time_element(text: str) -> bytes:
    return tagged(0x17 if len(text) == 13 else 0x18, text.encode())


def validity(first: str, last: str) -> bytes:
    return tagged(0x30, time_element(first) + time_element(last))


def name(oid: str, value: bytes) -> bytes:
    """A distinguished name of one attribute."""
    attribute = tagged(0x30, bytes.fromhex(oid) + value)
    return tagged(0x30, tagged(0x31, attribute))


ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")
COMMON_NAME, COUNTRY = "0603550403", "0603550406"
UNKNOWN_KEY = tagged(0x30, b"\x06\x03\x2a\x03\x04") + b"\x03\x02\0\1"

ODD = {
    "negative serial": patched(1, b"\x02\x01\x85"),
    "serial of zero": patched(1, b"\x02\x01\x00"),
    "serial of 30 bytes": patched(1, b"\x02\x1e\x01" + bytes(29)),
    "empty serial": patched(1, b"\x02\x00"),
    "no subject": patched(5, tagged(0x30, b"")),
    "null in algorithm": patched(2, tagged(0x30, ECDSA_WITH_SHA256 + b"\x05\0")),
    "year 999": patched(4, validity("09990101000000Z", "20491231000000Z")),
    "year 9999": patched(4, validity("200101000000Z", "99991231235959Z")),
    "offset of time": patched(4, tagged(0x30, tagged(0x17, b"2001010000+0100") * 2)),
    "bad time": patched(4, tagged(0x30, tagged(0x17, b"209901000000Z") * 2)),
    "two-letter country": patched(5, name(COUNTRY, b"\x13\x03DEU")),
    "bad utf-8": patched(5, name(COMMON_NAME, b"\x0c\x02\xff\xfe")),
    "escape in subject": patched(5, name(COMMON_NAME, b"\x0c\x04\x1b[2J")),
    "unknown key": patched(6, tagged(0x30, UNKNOWN_KEY)),
    "bytes behind": DEVICE + b"\0\0\0",
    "cut": DEVICE[:-10],
}


def test_patching_keeps_a_good_certificate_good() -> None:
    tbs, *_ = children(body(DEVICE))
    for place, field in enumerate(children(body(tbs))):
        assert patched(place, field) == DEVICE


@pytest.mark.parametrize("case", ODD)
def test_odd_certificates_are_described_without_a_word(
    case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    certificates.parse.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = certificates.describe(ODD[case])
        item = Item("device_cert", 0, ODD[case], (Span(0, len(ODD[case])),), True)
        found = inspection.item_to_json(item)
    assert caught == []
    assert capfd.readouterr() == ("", "")
    assert info.certificates in (0, 1)
    for text in (found["subject"], found["issuer"], found["serial"], found["public_key"]):
        assert text is None or text.isprintable()
    for moment in (found["not_before"], found["not_after"]):
        if moment is not None:
            datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
            assert len(moment) == len("2020-01-01T00:00:00Z")


def tlv_with(data: bytes) -> bytes:
    import struct

    from tests.support import crc

    head = b"\x11\xba\x5e\xba" + struct.pack("<4xBBH", 1, 0, len(data))
    entry = head + data + bytes(-len(data) % 16)
    return entry + struct.pack("<I", crc(entry))


@pytest.mark.parametrize("case", ODD)
def test_the_command_is_silent_about_them(case: str, tmp_path: Path) -> None:
    """Also of the library's own warnings, which Python would print."""
    path = tmp_path / "image.bin"
    path.write_bytes(tlv_with(ODD[case]))
    espcert = str(Path(sys.executable).parent / "espcert")
    command = [espcert, "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_library_is_silent_about_odd_keys() -> None:
    for data in (*ODD.values(), b"", b"\x30", b"\x30\x80", b"-----BEGIN PRIVATE KEY-----\n"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert keypairs.load_private_key(data) is None
            assert not keypairs.is_encrypted(data)
        assert caught == []


# --- Good ones ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ec_device.pem", "ECDSA P-256"),
        ("rsa_device.pem", "RSA 2048"),
        ("rsa4096_device.pem", "RSA 4096"),
        ("ec_device.der", "ECDSA P-256"),
    ],
)
def test_public_key(name: str, words: str) -> None:
    assert certificates.describe(material(name)).public_key == words
    assert certificates.describe(material(name) + b"\0").public_key == words


def test_chain() -> None:
    info = certificates.describe(material("ec_chain.pem") + b"\0")
    first = certificates.describe(material("ec_chain_first.pem"))
    assert info.certificates == 2
    assert (info.subject, info.serial) == (first.subject, first.serial)


def test_hostile_subject_is_printable() -> None:
    subject = certificates.describe(material("ec_hostile_device.pem")).subject
    assert subject
    assert subject.isprintable()
    assert "\\x1b" in subject


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "unknown"),
        (b"\x30\x03", "der"),
        (b"hello", "unknown"),
        (b"text\n-----BEGIN CERTIFICATE-----\n", "pem"),
        (material("ec_device.key"), "pem"),
        (material("ec_device.key.der"), "der"),
    ],
)
def test_encoding(data: bytes, expected: str) -> None:
    assert encoding.encoding_of(data) == expected


@pytest.mark.parametrize(
    ("name", "encrypted"),
    [
        *(("ec_device.key", False), ("ec_device.pkcs8.key", False), ("ec_device.key.der", False)),
        ("ec_device.encrypted.key", True),
    ],
)
def test_password(name: str, encrypted: bool) -> None:
    assert keypairs.is_encrypted(material(name)) == encrypted
    assert (keypairs.load_private_key(material(name)) is None) == encrypted


def test_password_in_der() -> None:
    pem = material("ec_device.encrypted.key").decode().splitlines()
    import base64

    assert keypairs.is_encrypted(base64.b64decode("".join(pem[1:-1])))


def test_same_key() -> None:
    key = keypairs.load_private_key(material("ec_device.key"))
    mine = certificates.public_key(material("ec_device.pem"))
    other = certificates.public_key(material("ec_chain_first.pem"))
    assert key and mine and other
    assert keypairs.same_key(key, mine)
    assert not keypairs.same_key(key, other)


def test_stored_form() -> None:
    pem = material("ec_ca.pem")
    assert certificates.stored_form(pem) == pem + b"\0"
    assert certificates.stored_form(pem.replace(b"\n", b"\r\n")) == pem + b"\0"
    assert certificates.stored_form(b"some text\n" + pem) == pem + b"\0"
    assert certificates.stored_form(material("ec_ca.der")) == material("ec_ca.der")
    assert certificates.stored_form(material("ec_chain.pem")) == material("ec_chain.pem") + b"\0"
    assert certificates.stored_form(material("ec_device.key")) is None


def test_same_certificates_whatever_the_encoding() -> None:
    assert certificates.same_certificates(material("ec_ca.pem"), material("ec_ca.der"))
    assert not certificates.same_certificates(material("ec_ca.pem"), material("ec_ca2.pem"))
    assert not certificates.same_certificates(b"x", b"x")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: DEVICE[:100] + b))
def test_nothing_is_raised(data: bytes) -> None:
    info = certificates.describe(data)
    assert info.certificates >= 0
    assert keypairs.is_encrypted(data) in (True, False)
    assert encoding.encoding_of(data) in ("pem", "der", "unknown")
