"""The data of a TLV signature entry: a public key, and its signature over the partition.

The bytes are described in `ksy/esp_secure_cert_signature.ksy`. Sources: esp_secure_cert_mgr
2296511 (v2.9.3), esp_secure_cert_signature_verify.c; esptool bb72741, espsecure/__init__.py.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from kaitaistruct import KaitaiStream

from espcert_formats.errors import FormatError

if TYPE_CHECKING:
    from espcert_formats._ksy.esp_secure_cert_signature import EspSecureCertSignature

NAME: Final = "signature_block"
HEADER_LENGTH: Final = 16
VERSION: Final = 1

RSA_MAGIC: Final = b"\xe7\x02"
"""Magic and version that a secure boot v2 block with an RSA key begins with."""
RSA_CHECKED_LENGTH: Final = 1196
"""Bytes of the secure boot v2 block that its CRC covers. Source: espsecure, `sig_blk[:1196]`."""
RSA_BITS: Final = 3072
_RSA_LENGTH: Final = RSA_BITS // 8
_RSA_PADDING: Final = bytes(16)
_ALGORITHM_AT: Final = 12

UNRELEASED_LENGTH: Final = 1225
"""A header of 9 bytes (u8 version, u32 offset, u32 length) before an RSA block of 1216 bytes.

It was replaced before component 2.8.0 came out. Source: esp_secure_cert_mgr c2da195,
tlv_format_construct.py, EspSecCertSig.
"""
_UNRELEASED_HEADER: Final = 9

MAX_BLOCKS: Final = 3
"""Firmware reads the subtypes 0 to 2. Source: ESP-IDF, secure_boot.h, SECURE_BOOT_NUM_BLOCKS."""


class Scheme(NamedTuple):
    """A kind of signature: its name, what it hashes with, and how many bytes the data have.

    `curve` is the name of the curve in SEC 2, None for RSA.
    """

    name: str
    digest: str
    length: int
    curve: str | None = None

    @property
    def number_length(self) -> int:
        """Bytes of each of the four numbers of an ECDSA block."""
        return (self.length - HEADER_LENGTH - 1) // 4


SCHEMES: Final = {
    0: Scheme("RSA 3072", "sha256", 1232),
    1: Scheme("ECDSA P-192", "sha256", 113, "secp192r1"),
    2: Scheme("ECDSA P-256", "sha256", 145, "secp256r1"),
    3: Scheme("ECDSA P-384", "sha384", 209, "secp384r1"),
}
"""The schemes by the algorithm's number."""


@dataclass(frozen=True, slots=True)
class RsaPart:
    """What an RSA block holds besides: the numbers of its key, its signature, its own checks.

    `rinv` and `m_prime` are derived from `n`, for the RSA peripheral. `signature` is big-endian,
    as RFC 8017 has it. `digest` is the one that the block says the signed bytes have.
    """

    n: int
    e: int
    rinv: int
    m_prime: int
    signature: bytes
    digest: bytes
    crc_stored: int
    crc_computed: int


@dataclass(frozen=True, slots=True)
class EcdsaPart:
    """What an ECDSA block holds besides: the point of its key, and the signature's two numbers."""

    curve: str
    x: int
    y: int
    r: int
    s: int


@dataclass(frozen=True, slots=True)
class SignatureBlock:
    """A signature block. Nothing is verified.

    `signed_offset` and `signed_length` are what the block says it was made over; firmware ignores
    them. `key_bytes` are those of which eFuses hold the SHA-256. `part` has the numbers.
    """

    scheme: Scheme
    signed_offset: int
    signed_length: int
    key_bytes: bytes
    part: RsaPart | EcdsaPart


def read(payload: bytes) -> SignatureBlock:
    """Read the data of a signature entry.

    Bytes behind the block are ignored, as by the firmware. Raises FormatError, with the offset
    in the data, for a length, version or algorithm that no release reads.
    """
    from espcert_formats._ksy.esp_secure_cert_signature import EspSecureCertSignature

    raw = EspSecureCertSignature(KaitaiStream(BytesIO(payload)))
    if raw.header is None:
        raise _malformed(0, f"a header of {HEADER_LENGTH} bytes", f"{len(payload)} bytes")
    scheme = _scheme(raw.header)
    if len(payload) < scheme.length:
        found = f"{len(payload)} bytes"
        raise _malformed(0, f"{scheme.length} bytes of an {scheme.name} block", found)
    key_bytes, part = _ecdsa(raw, scheme) if scheme.curve else _rsa(payload, raw.rsa)
    return SignatureBlock(scheme, raw.header.ofs_signed, raw.header.len_signed, key_bytes, part)


def has_unreleased_form(payload: bytes) -> bool:
    """Whether data have the length and the header of the form that was never released."""
    start = _UNRELEASED_HEADER
    return (
        len(payload) == UNRELEASED_LENGTH
        and payload[0] == VERSION
        and payload[start : start + 2] == RSA_MAGIC
    )


def _malformed(offset: int, expected: str, found: str) -> FormatError:
    return FormatError(NAME, offset=offset, expected=expected, found=found)


def _scheme(header: EspSecureCertSignature.Header) -> Scheme:
    if header.version != VERSION:
        raise _malformed(0, f"version {VERSION}", f"version {header.version}")
    if header.algorithm not in SCHEMES:
        raise _malformed(_ALGORITHM_AT, "algorithm 0 to 3", f"algorithm {header.algorithm}")
    return SCHEMES[header.algorithm]


def _rsa(payload: bytes, raw: EspSecureCertSignature.RsaBody) -> tuple[bytes, RsaPart | EcdsaPart]:
    """Key bytes and numbers. Source: espsecure, generate_rsa_signature_block, signature_info_v2."""
    body = payload[HEADER_LENGTH:]
    if body[:2] != RSA_MAGIC:
        raise _malformed(HEADER_LENGTH, f"magic {RSA_MAGIC.hex(' ')}", body[:2].hex(" "))
    part = RsaPart(
        n=int.from_bytes(raw.n, "little"),
        e=raw.e,
        rinv=int.from_bytes(raw.rinv, "little"),
        m_prime=raw.m_prime,
        signature=raw.signature[::-1],
        digest=raw.digest,
        crc_stored=raw.crc,
        crc_computed=zlib.crc32(body[:RSA_CHECKED_LENGTH]),
    )
    return body[36:812], part


def _ecdsa(raw: EspSecureCertSignature, scheme: Scheme) -> tuple[bytes, RsaPart | EcdsaPart]:
    """Key bytes and numbers: for P-192 eFuses hold the digest of a point filled to 64 bytes.

    Source: espsecure, _microecc_format, _digest_sbv2_public_key.
    """
    body, algorithm = raw.ecdsa, raw.header.algorithm
    if body.curve != algorithm:
        found = f"{body.curve}, while the algorithm is {algorithm}"
        raise _malformed(HEADER_LENGTH, f"curve {algorithm} ({scheme.name})", found)
    x, y, r, s = (int.from_bytes(one, "little") for one in (body.x, body.y, body.r, body.s))
    key_bytes = bytes((body.curve,)) + (body.x + body.y).ljust(64, b"\0")
    return key_bytes, EcdsaPart(scheme.curve or "", x, y, r, s)


def encode_rsa(n: int, e: int, signature: bytes, digest: bytes, signed_length: int) -> bytes:
    """The data of a signature entry with an RSA block; the inverse of `read`.

    `signature` is the 384 bytes big-endian, `digest` the SHA-256 of the `signed_length` bytes from
    the partition's start. Raises FormatError where a number does not fit its field.
    Source: espsecure, generate_rsa_signature_block, _get_sbv2_rsa_primitives.
    """
    if n.bit_length() != RSA_BITS or n % 2 == 0:
        raise _malformed(0, f"an odd modulus of {RSA_BITS} bits", f"one of {n.bit_length()} bits")
    if not 0 < e < 1 << 32:
        raise _malformed(0, "a public exponent of at most 32 bits", f"{e.bit_length()} bits")
    if (len(signature), len(digest)) != (_RSA_LENGTH, 32):
        found = f"{len(signature)} and {len(digest)} bytes"
        raise _malformed(0, f"{_RSA_LENGTH} bytes of signature and 32 of digest", found)
    square = pow(1 << RSA_BITS, 2, n)
    inverse = -pow(n, -1, 1 << 32) % (1 << 32)
    body = RSA_MAGIC + bytes(2) + digest
    body += n.to_bytes(_RSA_LENGTH, "little") + struct.pack("<I", e)
    body += square.to_bytes(_RSA_LENGTH, "little") + struct.pack("<I", inverse)
    body += signature[::-1]
    return _header(0, signed_length) + body + struct.pack("<I", zlib.crc32(body)) + _RSA_PADDING


def encode_ecdsa(part: EcdsaPart, signed_length: int) -> bytes:
    """The data of a signature entry with an ECDSA block; the inverse of `read`.

    Raises FormatError where a number is too large for the curve, or the curve has no scheme.
    Source: esp_secure_cert_signature_verify.c, esp_secure_cert_signature_t.
    """
    curves = {scheme.curve: number for number, scheme in SCHEMES.items() if scheme.curve}
    if part.curve not in curves:
        raise _malformed(0, f"a curve among {', '.join(map(str, curves))}", part.curve)
    algorithm = curves[part.curve]
    length = SCHEMES[algorithm].number_length
    numbers = (part.x, part.y, part.r, part.s)
    if not all(0 <= one < 1 << 8 * length for one in numbers):
        raise _malformed(0, f"numbers of at most {length} bytes", "a larger or a negative one")
    stored = b"".join(one.to_bytes(length, "little") for one in numbers)
    return _header(algorithm, signed_length) + bytes((algorithm,)) + stored


def _header(algorithm: int, signed_length: int) -> bytes:
    return struct.pack("<B3xIIB3x", VERSION, 0, signed_length, algorithm)
