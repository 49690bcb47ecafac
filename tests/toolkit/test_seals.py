"""`espcert.checks.seals`: what integrity entries and signature blocks prove, and what they do not.

Blocks are made here with `cryptography`, as esptool's espsecure makes them.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES, known_images, real_image

from espcert.catalogue import CATALOGUE, SUBJECTS
from espcert.checks import seals
from espcert.checks.context import Context
from espcert.findings import Finding
from espcert_formats import cust_flash, tlv
from espcert_formats.tlv import NewEntry

AT = datetime(2030, 1, 1, tzinfo=timezone.utc)
CA_CERT, DEVICE_CERT, PRIVATE_KEY, TEE_KEY, SIGNATURE, INTEGRITY = 0, 1, 2, 7, 8, 9
USER_DATA_1 = 51

Told = list[tuple[str, str | None, int | None]]
Sign = Callable[[bytes], bytes]
"""From the bytes to sign to the data of a signature entry."""

# --- Blocks ------------------------------------------------------------------------------------


def header(algorithm: int, length: int) -> bytes:
    return struct.pack("<B3xIIB3x", 1, 0, length, algorithm)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    key = load_pem_private_key((FIXTURES / "inputs/sign_rsa3072.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


CURVES: dict[str, tuple[int, Callable[[], ec.EllipticCurve], int]] = {
    "ECDSA P-192": (1, ec.SECP192R1, 24),
    "ECDSA P-256": (2, ec.SECP256R1, 32),
    "ECDSA P-384": (3, ec.SECP384R1, 48),
}


@cache
def ec_key(scheme: str, secret: int = 0xC0FFEE) -> ec.EllipticCurvePrivateKey:
    try:
        return ec.derive_private_key(secret, CURVES[scheme][1]())
    except UnsupportedAlgorithm:
        pytest.skip(f"{scheme} is not supported by this build of cryptography")


def sign_rsa(data: bytes) -> bytes:
    """As espsecure, generate_rsa_signature_block."""
    numbers = rsa_key().public_key().public_numbers()
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    body = b"\xe7\x02\0\0" + hashlib.sha256(data).digest()
    body += numbers.n.to_bytes(384, "little") + numbers.e.to_bytes(4, "little")
    body += (2**6144 % numbers.n).to_bytes(384, "little")
    body += (-pow(numbers.n, -1, 2**32) % 2**32).to_bytes(4, "little")
    body += rsa_key().sign(data, pss, SHA256())[::-1]
    return header(0, len(data)) + body + struct.pack("<I", zlib.crc32(body)) + bytes(16)


def sign_ecdsa(
    scheme: str, *, secret: int = 0xC0FFEE, digest: SHA256 | SHA384 | None = None
) -> Sign:
    algorithm, _, size = CURVES[scheme]

    def sign(data: bytes) -> bytes:
        key = ec_key(scheme, secret)
        usual = SHA384() if algorithm == 3 else SHA256()
        point = key.public_key().public_numbers()
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest or usual)))
        numbers = (one.to_bytes(size, "little") for one in (point.x, point.y, r, s))
        return header(algorithm, len(data)) + bytes((algorithm,)) + b"".join(numbers)

    return sign


SIGN: dict[str, Sign] = {"RSA 3072": sign_rsa, **{name: sign_ecdsa(name) for name in CURVES}}
sign_p256 = SIGN["ECDSA P-256"]


def recrc(payload: bytes) -> bytes:
    """The data of an RSA entry with the CRC of the block made to fit."""
    body = payload[16:1212]
    return payload[:16] + body + struct.pack("<I", zlib.crc32(body)) + payload[1216:]


# --- Partitions --------------------------------------------------------------------------------

MATERIAL = [NewEntry(CA_CERT, 0, 0, b"a CA certificate"), NewEntry(DEVICE_CERT, 0, 0, b"device")]
SIGNED = tlv.chain(MATERIAL, integrity=False)
END = len(SIGNED)
AT_BLOCK = END + 12
"""Where the data of the first entry behind the material begin."""


def entry(kind: int, data: bytes, index: int = 0, flags: int = 0) -> bytes:
    return tlv.encode(NewEntry(kind, index, flags, data))


def integrity(before: bytes, index: int = 0) -> bytes:
    return entry(INTEGRITY, hashlib.sha256(before).digest(), index)


USER_DATA = entry(USER_DATA_1, b"of an application")


def findings(*parts: bytes, key: PublicKeyTypes | None = None) -> list[Finding]:
    image = b"".join(parts)
    return list(seals.check(Context(tlv.read(image), AT, signing_key=key)))


def told(*parts: bytes, key: PublicKeyTypes | None = None) -> Told:
    """Code, item and offset of each finding; all messages begin with their item."""
    found = findings(*parts, key=key)
    assert all(one.item is None or one.message.startswith(f"{one.item}: ") for one in found)
    return [(one.code, one.item, one.offset) for one in found]


def message(code: str, *parts: bytes, key: PublicKeyTypes | None = None) -> str:
    (found,) = (one for one in findings(*parts, key=key) if one.code == code)
    return found.message


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def seal(code: str, index: int = 0, offset: int = AT_BLOCK) -> tuple[str, str, int]:
    """What is told of a signature block."""
    return code, f"signature_block[{index}]" if index else "signature_block", offset


# --- Real images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "at_integrity"), [("tlv_signed_p256.bin", 0x60C), ("tlv_signed_rsa3072.bin", 0xA3C)]
)
def test_images_of_the_official_tool(name: str, at_integrity: int) -> None:
    image = (FIXTURES / "images" / name).read_bytes()
    assert told(image) == [
        ("integrity-valid", "integrity", at_integrity),
        ("signature-valid", "signature_block", 0x55C),
    ]


def test_real_image_with_three_rsa_blocks() -> None:
    image = real_image("tlv_signed/partition.bin")
    assert told(image) == [
        ("signature-valid", "signature_block", 0xFBC),
        ("signature-valid", "signature_block[1]", 0x149C),
        ("signature-valid", "signature_block[2]", 0x197C),
    ]


def test_real_image_of_the_unreleased_form() -> None:
    image = real_image("tlv_signed/partition-corrupt.bin")
    assert told(image) == [
        ("signature-unreleased", "tee_key", 0xFBC),
        ("signature-unreleased", "tee_key[1]", 0x149C),
        ("signature-unreleased", "tee_key[2]", 0x197C),
        ("signature-unreleased", "signature_block", 0x1E5C),
        ("signature-unreleased", "signature_block[1]", 0x233C),
        ("signature-unreleased", "signature_block[2]", 0x281C),
    ]


def test_key_digest_is_that_of_espsecure() -> None:
    """The digest as `espsecure digest-sbv2-public-key` prints it for sign_rsa3072.key."""
    digest = "155e9dc1b04d14a7464a99fcae169aebd60a63854f606fb91d5675a32aac3a09"
    image = (FIXTURES / "images" / "tlv_signed_rsa3072.bin").read_bytes()
    assert digest in message("signature-valid", image)


@pytest.mark.parametrize("data", [data for data in known_images() if tlv.starts(data)])
def test_no_image_has_a_seal_that_was_not_expected(data: bytes) -> None:
    """The official tools' own images and the fixtures carry good integrity entries."""
    codes = {one.code for one in findings(data)}
    assert not codes & {"integrity-mismatch", "integrity-malformed", "signature-invalid"}


# --- Integrity ---------------------------------------------------------------------------------


def test_integrity_valid() -> None:
    assert told(SIGNED, integrity(SIGNED)) == [("integrity-valid", "integrity", AT_BLOCK)]


def test_integrity_of_nothing_before_it() -> None:
    assert told(integrity(b"")) == [("integrity-valid", "integrity", 12)]


def test_integrity_mismatch() -> None:
    altered = tlv.chain([MATERIAL[0], NewEntry(DEVICE_CERT, 0, 0, b"Device")], integrity=False)
    assert told(altered, integrity(SIGNED)) == [("integrity-mismatch", "integrity", AT_BLOCK)]
    text = message("integrity-mismatch", altered, integrity(SIGNED))
    assert hashlib.sha256(SIGNED).hexdigest()[:16] in text
    assert hashlib.sha256(altered).hexdigest()[:16] in text
    assert f"the {END} bytes before it" in text


@pytest.mark.parametrize("length", [0, 31, 33, 48])
def test_integrity_malformed(length: int) -> None:
    digest = hashlib.sha384(SIGNED).digest()[:length]
    assert told(SIGNED, entry(INTEGRITY, digest)) == [
        ("integrity-malformed", "integrity", AT_BLOCK)
    ]


def test_integrity_several() -> None:
    first = integrity(SIGNED)
    second = integrity(SIGNED + first, 1)
    assert told(SIGNED, first, second) == [
        ("integrity-valid", "integrity", AT_BLOCK),
        ("integrity-valid", "integrity[1]", AT_BLOCK + 48),
        ("integrity-several", "integrity[1]", AT_BLOCK + 48),
    ]


def test_the_last_integrity_entry_counts_whatever_its_subtype() -> None:
    """Firmware takes the last one in flash, not the one of the highest subtype."""
    first = integrity(SIGNED, 5)
    second = integrity(SIGNED + first, 2)
    assert ("integrity-several", "integrity[2]", AT_BLOCK + 48) in told(SIGNED, first, second)


def test_an_earlier_integrity_entry_that_does_not_match_is_told() -> None:
    """The last one covers it: it is no error."""
    first = integrity(SIGNED + b"something else")
    second = integrity(SIGNED + first, 1)
    assert told(SIGNED, first, second) == [
        ("integrity-several", "integrity", AT_BLOCK),
        ("integrity-valid", "integrity[1]", AT_BLOCK + 48),
        ("integrity-several", "integrity[1]", AT_BLOCK + 48),
    ]


def test_integrity_uncovered() -> None:
    assert told(SIGNED, integrity(SIGNED), USER_DATA) == [
        ("integrity-valid", "integrity", AT_BLOCK),
        ("integrity-uncovered", "user_data_1", AT_BLOCK + 48),
    ]


def test_what_lies_between_integrity_entries_is_covered() -> None:
    first = integrity(SIGNED)
    second = integrity(SIGNED + first + USER_DATA, 1)
    codes = [code for code, _, _ in told(SIGNED, first, USER_DATA, second)]
    assert codes == ["integrity-valid", "integrity-valid", "integrity-several"]


def test_a_signature_behind_the_integrity_entry_needs_no_cover() -> None:
    body = SIGNED + integrity(SIGNED)
    codes = [code for code, _, _ in told(body, entry(SIGNATURE, sign_p256(body)))]
    assert codes == ["integrity-valid", "signature-valid"]


def test_uncovered_entries_are_named_and_counted() -> None:
    more = b"".join(entry(USER_DATA_1, b"x", index) for index in range(20))
    text = message("integrity-uncovered", SIGNED, integrity(SIGNED), more)
    assert text.startswith("user_data_1: ")
    assert text.endswith("user_data_1[6], user_data_1[7] and 12 more")


def test_an_uncovered_ds_entry_is_named_once() -> None:
    ds_data = entry(3, bytes(4) + bytes(16) + bytes(32))
    text = message("integrity-uncovered", SIGNED, integrity(SIGNED), ds_data)
    assert text.endswith("does not protect ds_iv")


def test_a_damaged_integrity_entry_is_not_judged() -> None:
    assert told(SIGNED, flipped(integrity(SIGNED), 12)) == []


def test_damage_of_other_items_breaks_the_integrity() -> None:
    assert told(flipped(SIGNED, 12), integrity(SIGNED)) == [
        ("integrity-mismatch", "integrity", AT_BLOCK)
    ]


# --- Good signatures ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SIGN)
def test_signature_valid(scheme: str) -> None:
    block = entry(SIGNATURE, SIGN[scheme](SIGNED))
    assert told(SIGNED, block) == [seal("signature-valid")]
    text = message("signature-valid", SIGNED, block)
    assert f"the {scheme} signature" in text
    assert f"the {END} bytes from 0x0 to {END:#x}" in text


@pytest.mark.parametrize("scheme", CURVES)
def test_key_digest_of_a_curve(scheme: str) -> None:
    algorithm, _, size = CURVES[scheme]
    point = ec_key(scheme).public_key().public_numbers()
    packed = point.x.to_bytes(size, "little") + point.y.to_bytes(size, "little")
    digest = hashlib.sha256(bytes((algorithm,)) + packed.ljust(64, b"\0")).hexdigest()
    assert digest in message("signature-valid", SIGNED, entry(SIGNATURE, SIGN[scheme](SIGNED)))


def test_p384_signs_a_sha384_digest() -> None:
    wrong = sign_ecdsa("ECDSA P-384", digest=SHA256())(SIGNED)
    assert told(SIGNED, entry(SIGNATURE, wrong)) == [seal("signature-invalid")]


def test_three_blocks_sign_the_same_bytes() -> None:
    data = sign_p256(SIGNED)
    blocks = [entry(SIGNATURE, data, index) for index in range(3)]
    assert told(SIGNED, *blocks) == [
        seal("signature-valid", index, AT_BLOCK + index * 176) for index in range(3)
    ]


def test_the_signing_key_that_was_given() -> None:
    for scheme, key in (("RSA 3072", rsa_key()), ("ECDSA P-256", ec_key("ECDSA P-256"))):
        block = entry(SIGNATURE, SIGN[scheme](SIGNED))
        assert told(SIGNED, block, key=key.public_key()) == [seal("signature-valid")]
        text = message("signature-valid", SIGNED, block, key=key.public_key())
        assert text.endswith("it is the signing key that was given")
        assert "given" not in message("signature-valid", SIGNED, block)


OTHER_KEYS: dict[str, Callable[[], Any]] = {
    "of the curve": lambda: ec_key("ECDSA P-256", 0xBEEF).public_key(),
    "of another curve": lambda: ec_key("ECDSA P-384").public_key(),
    "RSA": lambda: rsa_key().public_key(),
}


@pytest.mark.parametrize("other", OTHER_KEYS)
def test_signature_foreign(other: str) -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED))
    assert told(SIGNED, block, key=OTHER_KEYS[other]()) == [
        seal("signature-valid"),
        seal("signature-foreign"),
    ]
    assert "given" not in message("signature-valid", SIGNED, block, key=OTHER_KEYS[other]())


def test_one_block_of_the_signing_key_is_enough() -> None:
    """Source: ESP-IDF, secure_boot_signatures_app.c: one trusted block makes the image trusted."""
    mine, other = sign_p256(SIGNED), sign_ecdsa("ECDSA P-256", secret=0xBEEF)(SIGNED)
    blocks = entry(SIGNATURE, mine) + entry(SIGNATURE, other, 1)
    key = ec_key("ECDSA P-256").public_key()
    assert told(SIGNED, blocks, key=key) == [
        seal("signature-valid"),
        seal("signature-valid", 1, AT_BLOCK + 176),
    ]
    third = ec_key("ECDSA P-256", 0xCAFE).public_key()
    assert told(SIGNED, blocks, key=third)[2:] == [
        seal("signature-foreign"),
        seal("signature-foreign", 1, AT_BLOCK + 176),
    ]


# --- Every field counts ------------------------------------------------------------------------

HEADER_FIELDS = {
    "version": (0, "signature-malformed"),
    "reserved": (1, "signature-valid"),
    "sign_data_offset": (4, "signature-valid"),
    "sign_data_length": (8, "signature-valid"),
    "reserved2": (13, "signature-valid"),
}
"""First byte of each field, and what a flip in it comes to: firmware ignores most of them."""


@pytest.mark.parametrize("scheme", ["RSA 3072", "ECDSA P-256"])
@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_flip_in_the_header(scheme: str, field: str) -> None:
    at, code = HEADER_FIELDS[field]
    block = entry(SIGNATURE, flipped(SIGN[scheme](SIGNED), at))
    assert told(SIGNED, block) == [seal(code)]


@pytest.mark.parametrize(
    ("algorithm", "place"),
    [(0, 0), (1, 16), (3, 0), (4, 12), (0x82, 12)],
)
def test_another_algorithm_in_the_header(algorithm: int, place: int) -> None:
    """Told where it shows: the length of a P-256 block, its curve, or the number itself."""
    data = sign_p256(SIGNED)
    block = entry(SIGNATURE, data[:12] + bytes((algorithm,)) + data[13:])
    assert told(SIGNED, block) == [seal("signature-malformed", offset=AT_BLOCK + place)]


RSA_FIELDS = {
    "n, first byte": (52, "signature-invalid"),
    "n, last byte": (435, "signature-invalid"),
    "e": (436, "signature-invalid"),
    "e, high byte": (439, "signature-invalid"),
    "rinv": (440, "signature-invalid"),
    "m_prime": (824, "signature-invalid"),
    "signature, first byte": (828, "signature-invalid"),
    "signature, last byte": (1211, "signature-invalid"),
    "digest": (20, "signature-digest"),
}


@pytest.mark.parametrize("field", RSA_FIELDS)
def test_flip_in_an_rsa_block_with_its_crc_mended(field: str) -> None:
    at, code = RSA_FIELDS[field]
    block = entry(SIGNATURE, recrc(flipped(sign_rsa(SIGNED), at)))
    assert told(SIGNED, block) == [seal(code)]


@pytest.mark.parametrize("field", RSA_FIELDS)
def test_flip_in_an_rsa_block(field: str) -> None:
    at, code = RSA_FIELDS[field]
    block = entry(SIGNATURE, flipped(sign_rsa(SIGNED), at))
    assert told(SIGNED, block) == [seal("signature-crc", offset=AT_BLOCK + 1212), seal(code)]


@pytest.mark.parametrize("at", [16, 17])
def test_flip_in_the_magic_of_an_rsa_block(at: int) -> None:
    block = entry(SIGNATURE, recrc(flipped(sign_rsa(SIGNED), at)))
    assert told(SIGNED, block) == [seal("signature-malformed", offset=AT_BLOCK + 16)]


def test_padding_of_an_rsa_block_does_not_count() -> None:
    block = entry(SIGNATURE, flipped(sign_rsa(SIGNED), 1231))
    assert told(SIGNED, block) == [seal("signature-valid")]


@pytest.mark.parametrize("at", [1212, 1215])
def test_signature_crc(at: int) -> None:
    block = entry(SIGNATURE, flipped(sign_rsa(SIGNED), at))
    assert told(SIGNED, block) == [seal("signature-crc", offset=AT_BLOCK + 1212)]


def test_reserved_bytes_of_an_rsa_block_are_under_its_crc() -> None:
    data = flipped(sign_rsa(SIGNED), 18)
    crc = seal("signature-crc", offset=AT_BLOCK + 1212)
    assert told(SIGNED, entry(SIGNATURE, data)) == [crc]
    assert told(SIGNED, entry(SIGNATURE, recrc(data))) == [seal("signature-valid")]


@pytest.mark.parametrize("scheme", CURVES)
@pytest.mark.parametrize("number", ["x", "y", "r", "s"])
def test_flip_in_an_ecdsa_block(scheme: str, number: str) -> None:
    data, size = SIGN[scheme](SIGNED), CURVES[scheme][2]
    at = 17 + "xyrs".index(number) * size
    for place in (at, at + size - 1):
        block = entry(SIGNATURE, flipped(data, place))
        assert told(SIGNED, block) == [seal("signature-invalid")]


@pytest.mark.parametrize("scheme", CURVES)
def test_flip_in_the_curve(scheme: str) -> None:
    block = entry(SIGNATURE, flipped(SIGN[scheme](SIGNED), 16))
    assert told(SIGNED, block) == [seal("signature-malformed", offset=AT_BLOCK + 16)]


def test_a_signature_of_zeros_is_invalid() -> None:
    data = sign_p256(SIGNED)
    assert told(SIGNED, entry(SIGNATURE, data[:81] + bytes(64))) == [seal("signature-invalid")]


def test_a_key_of_zeros_is_invalid_and_not_foreign() -> None:
    data = sign_p256(SIGNED)
    block = entry(SIGNATURE, data[:17] + bytes(64) + data[81:])
    key = ec_key("ECDSA P-256").public_key()
    assert told(SIGNED, block, key=key) == [seal("signature-invalid")]


def test_an_altered_key_is_invalid_and_foreign() -> None:
    block = entry(SIGNATURE, recrc(flipped(sign_rsa(SIGNED), 60)))
    assert told(SIGNED, block, key=rsa_key().public_key()) == [
        seal("signature-invalid"),
        seal("signature-foreign"),
    ]


# --- Signatures over other bytes ---------------------------------------------------------------

ALTERED = tlv.chain([MATERIAL[0], NewEntry(DEVICE_CERT, 0, 0, b"Device")], integrity=False)


def test_altered_bytes_under_an_rsa_signature() -> None:
    """The block holds the digest of what it was made over: it is right for those bytes."""
    block = entry(SIGNATURE, sign_rsa(SIGNED))
    assert told(ALTERED, block) == [seal("signature-digest")]
    text = message("signature-digest", ALTERED, block)
    assert hashlib.sha256(SIGNED).hexdigest()[:16] in text
    assert hashlib.sha256(ALTERED).hexdigest()[:16] in text


@pytest.mark.parametrize("scheme", CURVES)
def test_signature_invalid(scheme: str) -> None:
    """An ECDSA block holds no digest, so nothing tells altered bytes from an altered block."""
    assert told(ALTERED, entry(SIGNATURE, SIGN[scheme](SIGNED))) == [seal("signature-invalid")]


def test_an_rsa_signature_that_fits_neither_digest() -> None:
    data = recrc(flipped(flipped(sign_rsa(SIGNED), 20), 828))
    assert told(SIGNED, entry(SIGNATURE, data)) == [seal("signature-invalid")]


@pytest.mark.parametrize("scheme", ["RSA 3072", "ECDSA P-256", "ECDSA P-384"])
def test_signature_over_the_length_that_it_declares(scheme: str) -> None:
    """The first entry was signed, and another one put behind it before the signature."""
    first = tlv.encode(MATERIAL[0])
    block = entry(SIGNATURE, SIGN[scheme](first))
    assert told(SIGNED, block) == [seal("signature-digest")]
    text = message("signature-digest", SIGNED, block)
    assert f"made over the {len(first)} bytes from 0x0 to {len(first):#x}" in text
    assert f"expected the {END} bytes from 0x0 to {END:#x}" in text


def test_signature_over_the_offset_that_it_declares() -> None:
    second = tlv.encode(MATERIAL[1])
    data = sign_p256(second)
    data = data[:4] + struct.pack("<I", END - len(second)) + data[8:]
    text = message("signature-digest", SIGNED, entry(SIGNATURE, data))
    assert f"made over the {len(second)} bytes from {END - len(second):#x} to {END:#x}" in text


def test_a_second_signature_over_the_first_one() -> None:
    first = SIGNED + entry(SIGNATURE, sign_p256(SIGNED))
    data = sign_p256(first)
    at = len(first) + 12
    second = entry(SIGNATURE, data[:8] + bytes(4) + data[12:], 1)
    assert told(first, second) == [seal("signature-valid"), seal("signature-digest", 1, at)]
    text = message("signature-digest", first, second)
    assert f"made over the {len(first)} bytes from 0x0 to {len(first):#x}" in text


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, END + 1000])
def test_a_declared_length_beyond_the_image(length: int) -> None:
    data = sign_p256(SIGNED + b"more")
    block = entry(SIGNATURE, data[:8] + struct.pack("<I", length) + data[12:])
    assert told(SIGNED, block) == [seal("signature-invalid")]


# --- Malformed blocks --------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 15, 16, 112, 144])
def test_a_block_that_is_too_short(length: int) -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED)[:length])
    assert told(SIGNED, block) == [seal("signature-malformed")]


def test_a_longer_block_is_read_as_firmware_reads_it() -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED) + b"\xa5" * 9)
    assert told(SIGNED, block) == [seal("signature-valid")]


@pytest.mark.parametrize("flags", [0x80, 0x40, 0xBF, 0x48])
def test_a_block_with_flags_of_a_secret(flags: int) -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED), flags=flags)
    assert told(SIGNED, block) == [seal("signature-malformed")]


@pytest.mark.parametrize("flags", [0x01, 0x08, 0xFF])
def test_other_flags_do_not_count(flags: int) -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED), flags=flags)
    assert told(SIGNED, block) == [seal("signature-valid")]


def unreleased(data: bytes = SIGNED) -> bytes:
    """Version, offset and length in 9 bytes, then the RSA block."""
    return struct.pack("<BII", 1, 0, 0) + sign_rsa(data)[16:]


@pytest.mark.parametrize("kind", [SIGNATURE, TEE_KEY])
@pytest.mark.parametrize("damage", [False, True])
def test_signature_unreleased(kind: int, damage: bool) -> None:
    block = entry(kind, unreleased())
    if damage:
        block = flipped(block, 500)
    name = "signature_block" if kind == SIGNATURE else "tee_key"
    assert told(SIGNED, block) == [("signature-unreleased", name, AT_BLOCK)]


def test_a_tee_key_of_the_same_length_is_no_signature() -> None:
    assert told(SIGNED, entry(TEE_KEY, b"\x55" * 1225)) == []


def test_an_unreleased_block_of_type_7_is_no_signature_that_firmware_reaches() -> None:
    key = rsa_key().public_key()
    assert told(SIGNED, entry(TEE_KEY, unreleased()), key=key) == [
        ("signature-unreleased", "tee_key", AT_BLOCK),
        ("signature-missing", None, None),
    ]


def test_a_damaged_block_is_not_judged() -> None:
    assert told(SIGNED, flipped(entry(SIGNATURE, sign_p256(SIGNED)), 40)) == []


def test_blocks_behind_a_damaged_one_cover_what_lies_before_it() -> None:
    """Firmware hashes up to the entry of subtype 0, in whatever state that is."""
    data = sign_p256(SIGNED)
    blocks = flipped(entry(SIGNATURE, data), 40) + entry(SIGNATURE, data, 1)
    assert told(SIGNED, blocks) == [seal("signature-valid", 1, AT_BLOCK + 176)]


# --- Where blocks lie --------------------------------------------------------------------------


def test_signature_unreachable_behind_padding() -> None:
    """What esp-secure-cert-tool 2.6.1 makes of a padded file."""
    body = SIGNED.ljust(0x2000, b"\xff")
    found = told(body, entry(SIGNATURE, sign_p256(body)))
    assert found == [seal("signature-unreachable", offset=0x200C)]
    text = message("signature-unreachable", body, entry(SIGNATURE, sign_p256(body)))
    assert "an entry at 0x2000" in text
    assert f"the end of the entries at {END:#x}" in text


def test_other_entries_behind_the_end_are_no_matter_of_seals() -> None:
    assert told(SIGNED, b"\xff" * 16, USER_DATA, integrity(SIGNED)) == []


def test_an_unreachable_signature_is_missing_where_a_key_is_given() -> None:
    body = SIGNED.ljust(0x2000, b"\xff")
    key = ec_key("ECDSA P-256").public_key()
    assert told(body, entry(SIGNATURE, sign_p256(body)), key=key) == [
        seal("signature-unreachable", offset=0x200C),
        ("signature-missing", None, None),
    ]


def test_signature_unreachable_without_subtype_0() -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED), 1)
    assert told(SIGNED, block) == [
        seal("signature-unreachable", 1),
        seal("signature-subtypes", 1),
    ]


@pytest.mark.parametrize("scheme", ["RSA 3072", "ECDSA P-256"])
def test_signature_order(scheme: str) -> None:
    """What esp-secure-cert-tool 2.6.1 leaves in esp_secure_cert.bin."""
    block = entry(SIGNATURE, SIGN[scheme](SIGNED))
    body = block + SIGNED
    at_integrity = len(body) + 12
    assert told(body, integrity(body)) == [
        ("integrity-valid", "integrity", at_integrity),
        seal("signature-order", offset=12),
    ]
    text = message("signature-order", body)
    assert "ca_cert, device_cert" in text
    assert text.endswith(f"made over the {END} bytes from {len(block):#x} to {len(body):#x}")


@pytest.mark.parametrize(
    "data", [sign_p256(SIGNED)[:100], sign_p256(b"other bytes")], ids=["short", "other"]
)
def test_a_signature_that_comes_first_and_fits_nothing(data: bytes) -> None:
    block = entry(SIGNATURE, data)
    assert told(block, SIGNED) == [seal("signature-order", offset=12)]
    assert "made over" not in message("signature-order", block, SIGNED)


def test_signature_order_behind_an_integrity_entry() -> None:
    """Before the signature lies a seal only, no material."""
    before = integrity(b"")
    codes = told(before, entry(SIGNATURE, sign_p256(before)), SIGNED)
    assert seal("signature-order", offset=48 + 12) in codes
    assert "signature-valid" not in [code for code, _, _ in codes]


def test_signature_uncovered() -> None:
    block = entry(SIGNATURE, sign_p256(SIGNED))
    assert told(SIGNED, block, USER_DATA) == [
        seal("signature-valid"),
        ("signature-uncovered", "user_data_1", AT_BLOCK + len(block)),
    ]


def test_an_entry_between_two_blocks_is_uncovered() -> None:
    data = sign_p256(SIGNED)
    first = entry(SIGNATURE, data)
    second = entry(SIGNATURE, data, 1)
    at = AT_BLOCK + len(first)
    assert told(SIGNED, first, USER_DATA, second) == [
        seal("signature-valid"),
        seal("signature-valid", 1, at + len(USER_DATA)),
        ("signature-uncovered", "user_data_1", at),
    ]


def test_an_integrity_entry_behind_the_signature_is_right_there() -> None:
    body = SIGNED + entry(SIGNATURE, sign_p256(SIGNED))
    assert told(body, integrity(body)) == [
        ("integrity-valid", "integrity", len(body) + 12),
        seal("signature-valid"),
    ]


@pytest.mark.parametrize(
    ("subtypes", "odd", "judged"),
    [
        ((0, 2), 1, (0, 2)),
        ((0, 1, 2, 3), 3, (0, 1, 2)),
        ((0, 0), 1, (0,)),
        ((0, 7), 1, (0,)),
    ],
)
def test_signature_subtypes(subtypes: tuple[int, ...], odd: int, judged: tuple[int, ...]) -> None:
    blocks = [entry(SIGNATURE, sign_p256(SIGNED), index) for index in subtypes]
    found = told(SIGNED, *blocks)
    assert found[0] == seal("signature-subtypes", subtypes[odd], AT_BLOCK + odd * 176)
    assert found[1:] == [
        seal("signature-valid", index, AT_BLOCK + subtypes.index(index) * 176) for index in judged
    ]


def test_subtypes_in_another_order() -> None:
    """All that lies before subtype 0 is hashed, a block of subtype 1 with it."""
    first = SIGNED + entry(SIGNATURE, sign_p256(SIGNED), 1)
    at = len(first) + 12
    assert told(first, entry(SIGNATURE, sign_p256(first))) == [
        seal("signature-subtypes", 1),
        seal("signature-digest", 1),
        seal("signature-valid", 0, at),
    ]


def test_many_subtypes_are_not_all_listed() -> None:
    blocks = [entry(SIGNATURE, b"", index) for index in range(100)]
    text = message("signature-subtypes", SIGNED, *blocks)
    assert "0, 1, 2, 3, 4, 5, 6, 7, ..., expected" in text


# --- A key is given, and there is no signature -------------------------------------------------


def test_signature_missing() -> None:
    key = rsa_key().public_key()
    assert told(SIGNED) == []
    assert told(SIGNED, key=key) == [("signature-missing", None, None)]


def test_signature_missing_in_a_layout_that_has_none() -> None:
    contents = cust_flash.read((FIXTURES / "images" / "cust_flash_rsa.bin").read_bytes())
    assert list(seals.check(Context(contents, AT))) == []
    found = list(seals.check(Context(contents, AT, signing_key=rsa_key().public_key())))
    assert [(one.code, one.offset) for one in found] == [("signature-missing", None)]


# --- A library without P-192 -------------------------------------------------------------------


def unsupported(*_: object) -> None:
    raise UnsupportedAlgorithm("no such curve")


@pytest.mark.parametrize("how", ["the build lacks the curve", "the library lacks the curve"])
def test_signature_not_proven(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block = entry(SIGNATURE, sign_ecdsa("ECDSA P-192")(SIGNED))
    key = rsa_key().public_key()
    if how == "the build lacks the curve":
        monkeypatch.setattr(ec, "EllipticCurvePublicNumbers", unsupported)
    else:
        monkeypatch.delattr(ec, "SECP192R1")
    assert told(SIGNED, block) == [seal("signature-not-proven")]
    assert told(SIGNED, block, key=key) == [seal("signature-not-proven")]
    assert told(block, SIGNED) == [seal("signature-order", offset=12)]
    assert "ECDSA P-192" in message("signature-not-proven", SIGNED, block)


# --- Nothing is raised, nothing altered is called valid ----------------------------------------


def test_every_code_of_the_section_is_tested() -> None:
    """Each code stands in an assertion of this file."""
    text = Path(__file__).read_text("utf-8")
    assert [kind.code for kind in SUBJECTS["Seals"] if f'"{kind.code}"' not in text] == []
    assert "signature-not-proven" in CATALOGUE


SEALED = SIGNED + entry(SIGNATURE, sign_p256(SIGNED))
SEALED += integrity(SEALED)
AT_INTEGRITY = len(SEALED) - 48


@settings(deadline=None)
@given(st.integers(4, AT_INTEGRITY - 1), st.integers(1, 255))
def test_no_altered_byte_is_called_valid(at: int, change: int) -> None:
    altered = SEALED[:at] + bytes((SEALED[at] ^ change,)) + SEALED[at + 1 :]
    codes = {code for code, _, _ in told(altered)}
    assert "integrity-valid" not in codes
    assert at >= END or "signature-valid" not in codes


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            entry,
            st.sampled_from([CA_CERT, TEE_KEY, SIGNATURE, INTEGRITY, USER_DATA_1]),
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([unreleased(), sign_rsa(SIGNED), sign_p256(SIGNED)]),
            ),
            st.integers(0, 4),
            st.sampled_from([0, 0x40, 0x80, 0xFF]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, rsa_key().public_key()]),
)
def test_any_entries(parts: list[bytes], key: PublicKeyTypes | None) -> None:
    found = told(*parts, key=key)
    assert all(code in CATALOGUE for code, _, _ in found)
    assert all(offset is None or offset < len(b"".join(parts)) + 1 for _, _, offset in found)


number = st.sampled_from([bytes(32), b"\xff" * 32, b"\x01".ljust(32, b"\0")]) | st.binary(
    min_size=32, max_size=32
)


@settings(deadline=None)
@given(st.none() | number, st.none() | number, number, number)
def test_any_numbers_of_an_ecdsa_block(
    x: bytes | None, y: bytes | None, r: bytes, s: bytes
) -> None:
    good = sign_p256(SIGNED)
    data = good[:17] + (x or good[17:49]) + (y or good[49:81]) + r + s
    assert told(SIGNED, entry(SIGNATURE, data)) == [seal("signature-invalid")]


@settings(deadline=None)
@given(
    st.integers(0, 2**3072 - 1) | st.integers(0, 2000) | st.just(2**3072 - 1),
    st.integers(0, 2**32 - 1) | st.integers(0, 9),
)
def test_any_numbers_of_an_rsa_key(n: int, e: int) -> None:
    """Also with rinv and m' that fit, so that the key itself is what is refused."""
    odd = n | 1
    good = sign_rsa(SIGNED)
    body = good[16:52] + odd.to_bytes(384, "little") + struct.pack("<I", e)
    body += (2**6144 % odd).to_bytes(384, "little")
    body += struct.pack("<I", -pow(odd, -1, 2**32) % 2**32) + good[828:1212]
    data = good[:16] + body + struct.pack("<I", zlib.crc32(body)) + bytes(16)
    assert told(SIGNED, entry(SIGNATURE, data)) == [seal("signature-invalid")]
