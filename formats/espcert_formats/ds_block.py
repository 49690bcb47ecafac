"""The decrypted parameters of an RSA key for the Digital Signature (DS) peripheral.

Three large numbers (private exponent Y, modulus M, and Rb), a digest, the constants M' and L, and
eight bytes of padding. The bytes are described in `ksy/esp_ds_block.ksy`. To encrypt and decrypt
them is the caller's business. Sources: ESP-IDF 102122904ad, esp_ds.h; esp_secure_cert_mgr 2296511,
configure_ds.py, calculate_rsa_ds_params.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

from espcert_formats.errors import FormatError
from espcert_formats.items import DS_MAX_BITS

NAME: Final = "ds_block"
BETA: Final = b"\x08" * 8
"""The padding, as PKCS#7 makes it."""


@dataclass(frozen=True, slots=True)
class DsBlock:
    """The parameters as they are stored, right or not; all of them are secret.

    `numbers` are the bytes of Y, M and Rb with the zeros at their high ends; `length` is L, the
    key's length in 32-bit words less one.
    """

    numbers: bytes = field(repr=False)
    private_exponent: int = field(repr=False)
    modulus: int = field(repr=False)
    r_squared: int = field(repr=False)
    digest: bytes = field(repr=False)
    m_prime: int = field(repr=False)
    length: int = field(repr=False)
    beta: bytes = field(repr=False)

    @property
    def max_bits(self) -> int:
        """Bits of the largest RSA key that has room in a block of this length."""
        return 8 * len(self.numbers) // 3


def read(plaintext: bytes) -> DsBlock:
    """Take the parameters apart. Raises FormatError for a length that no chip has."""
    from kaitaistruct import KaitaiStream

    from espcert_formats._ksy.esp_ds_block import EspDsBlock

    bits = DS_MAX_BITS.get(len(plaintext))
    if bits is None:
        lengths = " or ".join(str(length) for length in DS_MAX_BITS)
        raise FormatError(NAME, expected=f"{lengths} bytes", found=f"{len(plaintext)} bytes")
    raw = EspDsBlock(bits // 8, KaitaiStream(BytesIO(plaintext)))
    return DsBlock(
        numbers=plaintext[: 3 * bits // 8],
        private_exponent=int.from_bytes(raw.private_exponent, "little"),
        modulus=int.from_bytes(raw.modulus, "little"),
        r_squared=int.from_bytes(raw.r_squared, "little"),
        digest=raw.box.digest,
        m_prime=raw.box.m_prime,
        length=raw.box.length,
        beta=raw.box.beta,
    )


def write(modulus: int, private_exponent: int, iv: bytes, max_bits: int) -> bytes:
    """The parameters of a key as they are encrypted, with an IV of 16 bytes.

    `max_bits` are those of the largest key of the chip: 3072 or 4096. Raises FormatError where
    the peripheral cannot have such a key: it is larger, or its modulus is even.
    """
    if max_bits not in DS_MAX_BITS.values():
        sizes = " or ".join(map(str, DS_MAX_BITS.values()))
        raise FormatError(NAME, expected=f"chips with keys of up to {sizes} bits", found="others")
    r_squared, m_prime = expected_r_squared(modulus), expected_m_prime(modulus)
    if r_squared is None or m_prime is None or modulus.bit_length() > max_bits:
        found = f"one of {modulus.bit_length()} bits that is {'odd' if modulus % 2 else 'even'}"
        raise FormatError(NAME, expected=f"an odd modulus of at most {max_bits} bits", found=found)
    if not 0 < private_exponent < modulus:
        expected = "a private exponent between 0 and the modulus"
        raise FormatError(NAME, expected=expected, found="another")
    size = max_bits // 8
    large = (private_exponent, modulus, r_squared)
    numbers = b"".join(number.to_bytes(size, "little") for number in large)
    words = _words_of(m_prime, expected_length(modulus))
    return numbers + hashlib.sha256(numbers + words + iv).digest() + words + BETA


def expected_digest(block: DsBlock, iv: bytes) -> bytes:
    """The digest that the peripheral computes: SHA-256 of Y, M, Rb, M', L and the IV."""
    words = _words_of(block.m_prime, block.length)
    return hashlib.sha256(block.numbers + words + iv).digest()


def _words_of(m_prime: int, length: int) -> bytes:
    return m_prime.to_bytes(4, "little") + length.to_bytes(4, "little")


def expected_r_squared(modulus: int) -> int | None:
    """Rb, 2^(2 * bits) mod M, with the bits of the modulus's whole words; None for modulus 0."""
    return pow(2, 64 * _words(modulus), modulus) if modulus else None


def expected_m_prime(modulus: int) -> int | None:
    """M', the negative inverse of M modulo 2^32; None for an even modulus, which has none."""
    return -pow(modulus, -1, 1 << 32) % (1 << 32) if modulus % 2 else None


def expected_length(modulus: int) -> int:
    """L, the modulus's length in 32-bit words less one."""
    return _words(modulus) - 1


def _words(modulus: int) -> int:
    return -(-modulus.bit_length() // 32)
