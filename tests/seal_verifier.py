"""A verifier of signed partitions that shares nothing with espcert but the facts.

It walks as firmware walks, hashes up to the signature entry of subtype 0, and verifies the blocks
of subtypes 0 to 2 with `cryptography`. Sources: esp_secure_cert_mgr 2296511,
esp_secure_cert_signature_verify.c, esp_secure_cert_tlv_read.c; esptool, espsecure/__init__.py.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm

SIGNATURE, INTEGRITY = 8, 9


@dataclass(frozen=True)
class RawEntry:
    """An entry with its place, and all of its bytes."""

    start: int
    type: int
    subtype: int
    flags: int
    data: bytes
    raw: bytes


def entries(partition: bytes) -> list[RawEntry]:
    """The entries up to the first wrong magic; a wrong CRC fails."""
    found, at = [], 0
    while partition[at : at + 4] == b"\x11\xba\x5e\xba":
        flags, kind, subtype, length = struct.unpack_from("<B3xBBH", partition, at + 4)
        end = at + 12 + (length + 15) // 16 * 16 + 4
        raw = partition[at:end]
        (stored,) = struct.unpack("<I", raw[-4:])
        assert stored == zlib.crc32(raw[:-4], 0xFFFFFFFF)
        found.append(RawEntry(at, kind, subtype, flags, raw[12 : 12 + length], raw))
        at = end
    return found


Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def verified_keys(partition: bytes) -> list[Key]:
    """The keys of the blocks, in order of subtype; a signature that does not verify fails."""
    blocks = {one.subtype: one for one in entries(partition) if one.type == SIGNATURE}
    assert sorted(blocks) == list(range(len(blocks)))
    assert 1 <= len(blocks) <= 3
    signed = partition[: blocks[0].start]
    return [_verified(blocks[subtype].data, signed) for subtype in sorted(blocks)]


def has_integrity(partition: bytes) -> bool:
    """Whether the last entry is an integrity entry; one that is wrong fails."""
    last = entries(partition)[-1]
    if last.type != INTEGRITY:
        return False
    assert last.data == hashlib.sha256(partition[: last.start]).digest()
    return True


def _verified(block: bytes, signed: bytes) -> Key:
    version, start, length, algorithm = struct.unpack_from("<B3xIIB3x", block)
    assert (version, start, length) == (1, 0, len(signed))
    assert block[1:4] + block[13:16] == bytes(6)
    if algorithm == 0:
        return _verified_rsa(block[16:], signed)
    return _verified_ecdsa(algorithm, block[16:], signed)


def _verified_rsa(body: bytes, signed: bytes) -> rsa.RSAPublicKey:
    assert len(body) == 1216
    assert body[:4] == b"\xe7\x02\x00\x00"
    assert body[4:36] == hashlib.sha256(signed).digest()
    assert struct.unpack("<I", body[1196:1200])[0] == zlib.crc32(body[:1196])
    assert body[1200:] == bytes(16)
    n, r_inverse = (int.from_bytes(body[at : at + 384], "little") for at in (36, 424))
    e, m_prime = (struct.unpack_from("<I", body, at)[0] for at in (420, 808))
    assert r_inverse == (1 << 6144) % n
    assert (m_prime * n + 1) % (1 << 32) == 0
    key = rsa.RSAPublicNumbers(e, n).public_key()
    scheme = padding.PSS(padding.MGF1(SHA256()), 32)
    key.verify(body[812:1196][::-1], signed, scheme, SHA256())
    return key


CURVES: dict[int, tuple[type[ec.EllipticCurve], int, HashAlgorithm]] = {
    1: (ec.SECP192R1, 24, SHA256()),
    2: (ec.SECP256R1, 32, SHA256()),
    3: (ec.SECP384R1, 48, SHA384()),
}


def _verified_ecdsa(algorithm: int, body: bytes, signed: bytes) -> ec.EllipticCurvePublicKey:
    curve, size, digest = CURVES[algorithm]
    assert body[0] == algorithm
    assert len(body) == 1 + 4 * size
    x, y, r, s = (
        int.from_bytes(body[1 + size * at : 1 + size * (at + 1)], "little") for at in range(4)
    )
    key = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))
    return key
