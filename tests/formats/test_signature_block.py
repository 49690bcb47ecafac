"""Signature blocks, read: every field where it should be, and a refusal for all else."""

from __future__ import annotations

import hashlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import FIXTURES, real_image

from espcert_formats import items as kinds
from espcert_formats import signature_block, tlv
from espcert_formats.errors import FormatError
from espcert_formats.signature_block import EcdsaPart, RsaPart, SignatureBlock

# --- Blocks made without the code under test ---------------------------------------------------


def header(algorithm: int, *, version: int = 1, offset: int = 0, length: int = 0x550) -> bytes:
    return struct.pack("<B3xIIB3x", version, offset, length, algorithm)


RSA_NUMBERS = bytes(range(256)) + bytes(range(128))


def rsa_payload() -> bytes:
    """Patterns instead of numbers, so that each field can be told from the others."""
    body = struct.pack(
        "<BBxx32s384sI384sI384s",
        *(0xE7, 2, b"\xd1" * 32, RSA_NUMBERS, 65537),
        *(RSA_NUMBERS[::-1], 0xA1B2C3D4, b"\x51" * 383 + b"\x52"),
    )
    return header(0) + body + struct.pack("<I", zlib.crc32(body)) + bytes(16)


GOLDEN_P192 = bytes.fromhex(
    "01"  # version
    "000000"  # reserved
    "00000000"  # sign_data_offset
    "b00f0000"  # sign_data_length: 4016
    "01"  # algorithm: ECDSA P-192
    "000000"  # reserved
    "01"  # curve: P-192
    "0102030405060708090a0b0c0d0e0f101112131415161718"  # X, little-endian
    "2122232425262728292a2b2c2d2e2f303132333435363738"  # Y
    "4142434445464748494a4b4c4d4e4f505152535455565758"  # r
    "6162636465666768696a6b6c6d6e6f707172737475767778"  # s
)

CURVES = [(1, "ECDSA P-192", "sha256", 24), (2, "ECDSA P-256", "sha256", 32)]
CURVES += [(3, "ECDSA P-384", "sha384", 48)]


def ecdsa_payload(algorithm: int, size: int) -> bytes:
    numbers = (bytes((first,)) + bytes(range(size - 1)) for first in (0x10, 0x20, 0x30, 0x40))
    return header(algorithm) + bytes((algorithm,)) + b"".join(numbers)


PAYLOADS = {
    "rsa": rsa_payload(),
    "p192": ecdsa_payload(1, 24),
    "p256": ecdsa_payload(2, 32),
    "p384": ecdsa_payload(3, 48),
}
LENGTHS = {"rsa": 1232, "p192": 113, "p256": 145, "p384": 209}


def changed(payload: bytes, at: int, new: bytes) -> bytes:
    return payload[:at] + new + payload[at + len(new) :]


def refusal(payload: bytes) -> FormatError:
    with pytest.raises(FormatError) as caught:
        signature_block.read(payload)
    assert caught.value.layout == "signature_block"
    return caught.value


# --- What is read ------------------------------------------------------------------------------


def test_golden_p192() -> None:
    block = signature_block.read(GOLDEN_P192)
    assert (block.scheme.name, block.scheme.digest) == ("ECDSA P-192", "sha256")
    assert (block.signed_offset, block.signed_length) == (0, 4016)
    assert block.part == EcdsaPart(
        "secp192r1",
        0x1817161514131211100F0E0D0C0B0A090807060504030201,
        0x3837363534333231302F2E2D2C2B2A292827262524232221,
        0x5857565554535251504F4E4D4C4B4A494847464544434241,
        0x7877767574737271706F6E6D6C6B6A696867666564636261,
    )


def test_key_bytes_of_p192_are_filled_as_in_efuses() -> None:
    """espsecure packs the point of 48 bytes into 64, in `_digest_sbv2_public_key`."""
    point = GOLDEN_P192[17:65]
    assert signature_block.read(GOLDEN_P192).key_bytes == b"\x01" + point + bytes(16)


@pytest.mark.parametrize(("algorithm", "name", "digest", "size"), CURVES)
def test_curves(algorithm: int, name: str, digest: str, size: int) -> None:
    payload = ecdsa_payload(algorithm, size)
    block = signature_block.read(payload)
    assert (block.scheme.name, block.scheme.digest) == (name, digest)
    assert block.scheme.length == len(payload) == 17 + 4 * size
    assert isinstance(block.part, EcdsaPart)
    numbers = [block.part.x, block.part.y, block.part.r, block.part.s]
    assert [number.to_bytes(size, "little") for number in numbers] == [
        payload[start : start + size] for start in range(17, len(payload), size)
    ]
    assert block.key_bytes == payload[16 : 17 + 2 * size].ljust(65, b"\0")


def test_rsa() -> None:
    payload = rsa_payload()
    block = signature_block.read(payload)
    assert (block.scheme.name, block.scheme.digest, block.scheme.curve) == (
        *("RSA 3072", "sha256"),
        None,
    )
    assert (block.signed_offset, block.signed_length) == (0, 0x550)
    crc = zlib.crc32(payload[16 : 16 + 1196])
    assert block.part == RsaPart(
        n=int.from_bytes(RSA_NUMBERS, "little"),
        e=65537,
        rinv=int.from_bytes(RSA_NUMBERS, "big"),
        m_prime=0xA1B2C3D4,
        signature=b"\x52" + b"\x51" * 383,
        digest=b"\xd1" * 32,
        crc_stored=crc,
        crc_computed=crc,
    )
    assert block.key_bytes == payload[16 + 36 : 16 + 812]


@pytest.mark.parametrize("name", PAYLOADS)
def test_bytes_behind_the_block_are_ignored(name: str) -> None:
    """Firmware asks for its structure's length at least."""
    payload = PAYLOADS[name]
    assert signature_block.read(payload + b"\xa5" * 40) == signature_block.read(payload)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_real_rsa_blocks(index: int) -> None:
    blocks = tlv.read(real_image("tlv_signed/partition.bin")).of_kind(kinds.SIGNATURE_BLOCK)
    block = signature_block.read(blocks[index].data)
    assert block.signed_length == 4016
    assert isinstance(block.part, RsaPart)
    assert block.part.crc_stored == block.part.crc_computed
    assert (block.part.n.bit_length(), block.part.e) == (3072, 65537)


EFUSE_DIGESTS = {
    "tlv_signed_p256.bin": "e8bc6436efb9624c76246ca1bca001d3a165425ff29872ede485d0b0aecd5b7f",
    "tlv_signed_rsa3072.bin": "155e9dc1b04d14a7464a99fcae169aebd60a63854f606fb91d5675a32aac3a09",
}
"""What `espsecure digest-sbv2-public-key` of esptool 5.6.0 says of the two signing keys."""


@pytest.mark.parametrize("name", EFUSE_DIGESTS)
def test_key_digest_is_that_of_espsecure(name: str) -> None:
    data = (FIXTURES / "images" / name).read_bytes()
    (item,) = tlv.read(data).of_kind(kinds.SIGNATURE_BLOCK)
    block = signature_block.read(item.data)
    assert hashlib.sha256(block.key_bytes).hexdigest() == EFUSE_DIGESTS[name]
    assert block.signed_length == 0x550


# --- Each field is read from its own place -----------------------------------------------------

RSA_FIELDS = {
    "digest": (20, 32),
    "n": (52, 384),
    "e": (436, 4),
    "rinv": (440, 384),
    "m_prime": (824, 4),
    "signature": (828, 384),
    "crc_stored": (1212, 4),
}


@pytest.mark.parametrize("name", RSA_FIELDS)
@pytest.mark.parametrize("last", [False, True])
def test_a_flip_in_an_rsa_block_changes_that_field(name: str, last: bool) -> None:
    payload, (start, size) = rsa_payload(), RSA_FIELDS[name]
    at = start + size - 1 if last else start
    flipped = signature_block.read(changed(payload, at, bytes((payload[at] ^ 1,)))).part
    whole = signature_block.read(payload).part
    differing = {one for one in RsaPart.__slots__ if getattr(flipped, one) != getattr(whole, one)}
    assert differing - {"crc_computed"} == {name}
    assert ("crc_computed" in differing) == (name != "crc_stored")


@pytest.mark.parametrize("name", ["x", "y", "r", "s"])
@pytest.mark.parametrize(("algorithm", "size"), [(row[0], row[3]) for row in CURVES])
def test_a_flip_in_an_ecdsa_block_changes_that_number(name: str, algorithm: int, size: int) -> None:
    payload = ecdsa_payload(algorithm, size)
    start = 17 + "xyrs".index(name) * size
    whole = signature_block.read(payload).part
    for at in (start, start + size - 1):
        flipped = signature_block.read(changed(payload, at, bytes((payload[at] ^ 1,)))).part
        assert [one for one in "xyrs" if getattr(flipped, one) != getattr(whole, one)] == [name]


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_the_block_says_of_the_signed_bytes(name: str) -> None:
    block = signature_block.read(changed(PAYLOADS[name], 4, struct.pack("<II", 0x10, 0xDEADBEEF)))
    assert (block.signed_offset, block.signed_length) == (0x10, 0xDEADBEEF)


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("at", [1, 2, 3, 13, 14, 15])
def test_reserved_bytes_of_the_header_are_ignored(name: str, at: int) -> None:
    payload = PAYLOADS[name]
    assert signature_block.read(changed(payload, at, b"\xff")) == signature_block.read(payload)


def test_padding_of_an_rsa_block_is_ignored() -> None:
    payload = rsa_payload()
    padded = changed(payload, 1216, b"\xff" * 16)
    assert signature_block.read(padded) == signature_block.read(payload)


# --- What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(16))
def test_no_header(length: int) -> None:
    error = refusal(PAYLOADS["p256"][:length])
    assert (error.offset, error.found) == (0, f"{length} bytes")
    assert "16 bytes" in error.expected


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_cut_block(name: str) -> None:
    for length in (16, 17, LENGTHS[name] - 1):
        error = refusal(PAYLOADS[name][:length])
        assert (error.offset, error.found) == (0, f"{length} bytes")
        assert str(LENGTHS[name]) in error.expected


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version(version: int) -> None:
    error = refusal(changed(PAYLOADS["p256"], 0, bytes((version,))))
    assert (error.offset, error.expected, error.found) == (0, "version 1", f"version {version}")


@pytest.mark.parametrize("algorithm", [4, 5, 255])
def test_an_unknown_algorithm(algorithm: int) -> None:
    error = refusal(changed(PAYLOADS["p256"], 12, bytes((algorithm,))))
    assert (error.offset, error.found) == (12, f"algorithm {algorithm}")


@pytest.mark.parametrize("magic", [b"\xe6\x02", b"\xe7\x03", b"\0\0"])
def test_another_magic_of_the_rsa_block(magic: bytes) -> None:
    error = refusal(changed(PAYLOADS["rsa"], 16, magic))
    assert (error.offset, error.expected, error.found) == (16, "magic e7 02", magic.hex(" "))


@pytest.mark.parametrize(("algorithm", "size"), [(row[0], row[3]) for row in CURVES])
@pytest.mark.parametrize("curve", [0, 1, 2, 3, 4, 255])
def test_a_curve_that_contradicts_the_algorithm(algorithm: int, size: int, curve: int) -> None:
    payload = changed(ecdsa_payload(algorithm, size), 16, bytes((curve,)))
    if curve == algorithm:
        assert signature_block.read(payload).scheme.curve
        return
    error = refusal(payload)
    assert (error.offset, error.found) == (16, f"{curve}, while the algorithm is {algorithm}")


# --- The form that was never released ----------------------------------------------------------


def unreleased_payload() -> bytes:
    return struct.pack("<BII", 1, 0, 0) + rsa_payload()[16:]


def test_the_unreleased_form_is_told() -> None:
    assert len(unreleased_payload()) == signature_block.UNRELEASED_LENGTH == 1225
    assert signature_block.has_unreleased_form(unreleased_payload())


@pytest.mark.parametrize(
    "payload",
    [
        *PAYLOADS.values(),
        *(b"", bytes(1225), b"\xff" * 1225),
        unreleased_payload() + b"\0",
        unreleased_payload()[:-1],
        changed(unreleased_payload(), 0, b"\x02"),
        changed(unreleased_payload(), 9, b"\xe6"),
        changed(unreleased_payload(), 10, b"\x03"),
    ],
)
def test_nothing_else_has_the_unreleased_form(payload: bytes) -> None:
    assert not signature_block.has_unreleased_form(payload)


def test_the_unreleased_form_cannot_be_read() -> None:
    assert refusal(unreleased_payload()).offset in (0, 12)


def test_real_blocks_of_the_unreleased_form() -> None:
    contents = tlv.read(real_image("tlv_signed/partition-corrupt.bin"))
    found = [*contents.of_kind(kinds.TEE_KEY), *contents.of_kind(kinds.SIGNATURE_BLOCK)]
    assert len(found) == 6
    assert all(signature_block.has_unreleased_form(item.data) for item in found)


# --- The reader is total -----------------------------------------------------------------------


def read_or_refuse(payload: bytes) -> SignatureBlock | None:
    """A block, or nothing where FormatError says that it is none; any other error fails."""
    signature_block.has_unreleased_form(payload)
    try:
        block = signature_block.read(payload)
    except FormatError as error:
        assert error.offset is not None
        assert 0 <= error.offset <= len(payload)
        return None
    assert len(payload) >= block.scheme.length
    return block


@given(st.binary(max_size=300))
def test_any_bytes(payload: bytes) -> None:
    read_or_refuse(payload)


@given(st.sampled_from(sorted(PAYLOADS)), st.data())
def test_changed_blocks(name: str, draws: st.DataObject) -> None:
    payload = bytearray(PAYLOADS[name])
    for _ in range(draws.draw(st.integers(1, 3))):
        at = draws.draw(st.integers(0, len(payload) - 1) | st.integers(0, 20))
        payload[at] = draws.draw(st.integers(0, 255))
    read_or_refuse(bytes(payload[: draws.draw(st.integers(0, len(payload)))]))
    block = read_or_refuse(bytes(payload))
    if payload[:17] == PAYLOADS[name][:17] and name != "rsa":
        assert block is not None


# --- What is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "curve", "size"), [
    (1, "secp192r1", 24), (2, "secp256r1", 32), (3, "secp384r1", 48),
])  # fmt: skip
def test_ecdsa_blocks_are_written_as_they_are_read(algorithm: int, curve: str, size: int) -> None:
    payload = ecdsa_payload(algorithm, size)
    part = signature_block.read(payload).part
    assert isinstance(part, EcdsaPart)
    assert part.curve == curve
    assert signature_block.encode_ecdsa(part, 0x550) == payload


def test_golden_p192_is_written() -> None:
    part = signature_block.read(GOLDEN_P192).part
    assert isinstance(part, EcdsaPart)
    assert signature_block.encode_ecdsa(part, 4016) == GOLDEN_P192


def encode_again(block: SignatureBlock) -> bytes:
    part = block.part
    if isinstance(part, EcdsaPart):
        return signature_block.encode_ecdsa(part, block.signed_length)
    numbers = (part.n, part.e, part.signature, part.digest)
    return signature_block.encode_rsa(*numbers, block.signed_length)


@pytest.mark.parametrize(
    "name", ["images/tlv_signed_p256", "images/tlv_signed_rsa3072", "verify/signed_p384",
             "verify/signed_three", "verify/signed_p192"]
)  # fmt: skip
def test_blocks_of_the_official_tool_are_written(name: str) -> None:
    blocks = tlv.read((FIXTURES / f"{name}.bin").read_bytes()).of_kind(kinds.SIGNATURE_BLOCK)
    assert blocks
    for item in blocks:
        assert encode_again(signature_block.read(item.data)) == item.data


@pytest.mark.parametrize("index", [0, 1, 2])
def test_real_rsa_blocks_are_written(index: int) -> None:
    item = tlv.read(real_image("tlv_signed/partition.bin")).of_kind(kinds.SIGNATURE_BLOCK)[index]
    assert encode_again(signature_block.read(item.data)) == item.data


@given(
    st.sampled_from([("secp192r1", 24), ("secp256r1", 32), ("secp384r1", 48)]),
    st.lists(st.integers(0, 2**384 - 1), min_size=4, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read_again(
    curve: tuple[str, int], numbers: list[int], length: int
) -> None:
    x, y, r, s = (one % (1 << 8 * curve[1]) for one in numbers)
    part = EcdsaPart(curve[0], x, y, r, s)
    block = signature_block.read(signature_block.encode_ecdsa(part, length))
    assert (block.part, block.signed_length, block.signed_offset) == (part, length, 0)


N_3072 = (1 << 3071) + 1


@given(
    st.integers(0, 2**3070 - 1),
    st.integers(1, 2**32 - 1),
    st.binary(min_size=384, max_size=384),
    st.binary(min_size=32, max_size=32),
)
def test_an_rsa_block_that_is_written_is_read_again(
    rest: int, e: int, signature: bytes, digest: bytes
) -> None:
    n = (1 << 3071) + 2 * rest % (1 << 3071) + 1
    payload = signature_block.encode_rsa(n, e, signature, digest, 0x550)
    part = signature_block.read(payload).part
    assert isinstance(part, RsaPart)
    assert (part.n, part.e, part.signature, part.digest) == (n, e, signature, digest)
    assert part.rinv == 2**6144 % n
    assert part.m_prime * n % 2**32 == 2**32 - 1
    assert part.crc_stored == part.crc_computed
    assert payload[-16:] == bytes(16)
    assert len(payload) == 1232


@pytest.mark.parametrize(
    ("n", "e", "signature", "digest"),
    [
        (N_3072 >> 1 | 1, 65537, 384, 32),
        (N_3072 << 1 | 1, 65537, 384, 32),
        (N_3072 + 1, 65537, 384, 32),
        (N_3072, 1 << 32, 384, 32),
        (N_3072, 0, 384, 32),
        (N_3072, 65537, 383, 32),
        (N_3072, 65537, 384, 48),
    ],
)
def test_numbers_that_do_not_fit_an_rsa_block(n: int, e: int, signature: int, digest: int) -> None:
    with pytest.raises(FormatError):
        signature_block.encode_rsa(n, e, bytes(signature), bytes(digest), 0)


@pytest.mark.parametrize(
    "part",
    [
        EcdsaPart("secp256r1", 1 << 256, 1, 1, 1),
        EcdsaPart("secp256r1", 1, 1, 1, -1),
        EcdsaPart("secp192r1", 1, 1, 1 << 192, 1),
        EcdsaPart("secp521r1", 1, 1, 1, 1),
        EcdsaPart("", 1, 1, 1, 1),
    ],
)
def test_numbers_that_do_not_fit_an_ecdsa_block(part: EcdsaPart) -> None:
    with pytest.raises(FormatError):
        signature_block.encode_ecdsa(part, 0)
