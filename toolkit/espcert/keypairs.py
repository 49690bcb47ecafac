"""Private and public keys: read them, name them, and tell whether they belong together."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from espcert.encoding import (
    DER_SEQUENCE,
    PEM,
    PEM_MARK,
    c_string,
    der_end,
    elements,
    encoding_of,
    without_nuls,
)
from espcert.quiet import or_none, quietly

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import (
        PrivateKeyTypes,
        PublicKeyTypes,
    )

_DER_INTEGER: Final = 0x02
_DER_OCTETS: Final = 0x04
_DER_CONSTRUCTED: Final = 0x20
_ENCRYPTED_MARKS: Final = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")
_CURVE_NAMES: Final = {
    "secp192r1": "P-192",
    "secp224r1": "P-224",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}

MAX_RSA_BITS: Final = 8192
"""The largest RSA key that firmware can handle. Source: mbedTLS, bignum.h, MBEDTLS_MPI_MAX_SIZE."""

MAX_EXPONENT_BITS: Final = 64
"""Of an RSA key, above which verifying costs as much as signing, and nobody uses it.

Source: OpenSSL, rsa.h, OPENSSL_RSA_MAX_PUBEXP_BITS, which it applies to large keys only.
"""

MAX_TESTED_BITS: Final = 4096
"""The largest RSA key whose primes are tested: 0.3 s for 4096 bits, 4 s for 8192."""

MAX_KDF_COST: Final = 1 << 20
"""Rounds of PBKDF2, or N * r * p of scrypt (128 MiB), up to which a password is tried."""


def is_encrypted(data: bytes) -> bool:
    """Whether a private key is protected by a password."""
    if encoding_of(data) == PEM:
        return any(mark in c_string(data) for mark in _ENCRYPTED_MARKS)
    return _encryption_of(without_nuls(data)) is not None


def load_private_key(data: bytes, password: bytes | None = None) -> PrivateKeyTypes | None:
    """A private key, PEM or DER, or None. `password` is for one that `is_encrypted` only.

    RSA keys are loaded without OpenSSL's primality test, which costs a hundred times the rest;
    they are proven against their certificate instead. What would take hostile amounts of time
    is not tried: DSA keys, of which the public key is computed, and too many rounds of hashing.
    """
    from cryptography.hazmat.primitives import serialization

    if not _is_affordable(data):
        return None
    if encoding_of(data) == PEM:
        return quietly(
            lambda: serialization.load_pem_private_key(
                c_string(data), password, unsafe_skip_rsa_key_validation=True
            )
        )
    der = without_nuls(data)
    if der_end(der) != len(der):
        return None
    return quietly(
        lambda: serialization.load_der_private_key(
            der, password, unsafe_skip_rsa_key_validation=True
        )
    )


_DSA: Final = bytes.fromhex("2a8648ce380401")
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_PKCS8_LABELS: Final = (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")


def _is_affordable(data: bytes) -> bool:
    """Whether loading a key takes about as long as an honest one, whatever the bytes say."""
    if encoding_of(data) != PEM:
        return _is_affordable_der(data)
    for block in c_string(data).split(PEM_MARK)[1:]:
        label, _, rest = block.partition(b"-----")
        if label in _PKCS8_LABELS:
            der = _pem_body(rest.partition(b"-----END")[0])
            if der is None or not _is_affordable_der(der):
                return False
    return True


def _pem_body(text: bytes) -> bytes | None:
    """The bytes between two lines of PEM; None where headers or anything else is among them."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if not all(lines):
        return None
    return or_none(lambda: base64.b64decode(b"".join(lines), validate=True))


def _is_affordable_der(data: bytes) -> bool:
    encryption = _encryption_of(data)
    if encryption is None:
        return _DSA not in data
    numbers = list(_integers(encryption))
    memory = math.prod(numbers[:3]) if _SCRYPT in bytes(encryption) else 0
    return max((memory, *numbers)) <= MAX_KDF_COST


def _encryption_of(data: bytes) -> memoryview | None:
    """The algorithm of an EncryptedPrivateKeyInfo; None for another structure. RFC 5958, 3."""
    outer = next(elements(memoryview(data)), None)
    if outer is None or outer[0] != DER_SEQUENCE:
        return None
    parts = [(tag, body) for tag, body, _ in elements(outer[1])]
    if [tag for tag, _ in parts] != [DER_SEQUENCE, _DER_OCTETS]:
        return None
    return parts[0][1]


def _integers(data: memoryview) -> Iterator[int]:
    """All INTEGERs inside, those of one SEQUENCE in their order."""
    pending = [data]
    while pending:
        for tag, body, _ in elements(pending.pop()):
            if tag == _DER_INTEGER:
                yield int.from_bytes(body, "big")
            elif tag & _DER_CONSTRUCTED:
                pending.append(body)


def is_key(data: bytes) -> bool:
    """Whether the bytes are a private key, in plain text or under a password."""
    return is_encrypted(data) or load_private_key(data) is not None


def load_public_key(data: bytes) -> PublicKeyTypes | None:
    """The public key of a key file, public or private, PEM or DER; None where it is no key."""
    from cryptography.hazmat.primitives import serialization

    private = load_private_key(data)
    if private is not None:
        return public_half(private)
    if encoding_of(data) == PEM:
        return quietly(lambda: serialization.load_pem_public_key(data))
    return quietly(lambda: serialization.load_der_public_key(data))


def public_half(private: PrivateKeyTypes) -> PublicKeyTypes | None:
    """The public key that belongs to a private one, None where it makes none."""
    return quietly(lambda: private.public_key())


def key_name(key: PublicKeyTypes | PrivateKeyTypes) -> str:
    """ "RSA 2048", "ECDSA P-256", or the library's name of other kinds of key."""
    curve = getattr(key, "curve", None)
    if curve is not None:
        return f"ECDSA {curve_name(curve.name)}"
    kind = type(key).__name__.lstrip("_").removesuffix("PublicKey").removesuffix("PrivateKey")
    bits = getattr(key, "key_size", None)
    return f"{kind} {bits}" if bits else kind


def curve_name(name: str) -> str:
    """ "P-256" for the library's "secp256r1"; other names as they are."""
    return _CURVE_NAMES.get(name, name)


def same_key(private: PrivateKeyTypes, public: PublicKeyTypes) -> bool:
    """Whether a private key belongs to a public one: the same public key bytes."""
    own = public_half(private)
    return own is not None and (encoded := spki(own)) is not None and encoded == spki(public)


def spki(key: PublicKeyTypes) -> bytes | None:
    """A public key as SubjectPublicKeyInfo, in DER; None for a kind that cannot be written."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return quietly(lambda: key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def key_digest(key: PublicKeyTypes) -> str | None:
    """SHA-256 of a public key's SubjectPublicKeyInfo, hex."""
    from espcert_formats.checksum import sha256

    encoded = spki(key)
    return None if encoded is None else sha256(encoded)


def signs_for(private: PrivateKeyTypes, public: PublicKeyTypes) -> bool:
    """Whether a signature made with the private key verifies with the public one: one round.

    False also for kinds of keys that `can_sign` refuses, and for RSA keys whose numbers
    contradict each other: OpenSSL makes up for a damaged one where firmware does not.
    """
    return can_sign(private) and bool(
        quietly(lambda: _numbers_agree(private) and _sign_and_verify(private, public))
    )


def can_sign(private: PrivateKeyTypes) -> bool:
    """Whether a key is of a kind and a size with which firmware can sign a TLS handshake.

    mbedTLS knows ECDSA and RSA, no EdDSA. Source: mbedTLS 3.6, include/mbedtls/pk.h.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(private, rsa.RSAPrivateKey):
        return private.key_size <= MAX_RSA_BITS
    return isinstance(private, ec.EllipticCurvePrivateKey)


def is_sound(private: PrivateKeyTypes, *, thorough: bool = True) -> bool:
    """Whether a key is right by itself. For RSA `thorough` also tests its primes."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    public = public_half(private)
    if public is None or not signs_for(private, public):
        return False
    if not thorough:
        return True
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size <= MAX_TESTED_BITS:
        return quietly(lambda: private.private_numbers().private_key()) is not None
    return True


def _numbers_agree(private: PrivateKeyTypes) -> bool:
    """Whether each number of an RSA key fits the others; true of other keys. RFC 8017, 3.2."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    if not isinstance(private, rsa.RSAPrivateKey):
        return True
    numbers = private.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    public = numbers.public_numbers
    return (
        min(p, q) > 2
        and p * q == public.n
        and all((d * public.e - 1) % (prime - 1) == 0 for prime in (p, q))
        and (numbers.dmp1 - d) % (p - 1) == 0
        and (numbers.dmq1 - d) % (q - 1) == 0
        and numbers.iqmp * q % p == 1
    )


_CHALLENGE: Final = b"espcert: one sign/verify round"


def _sign_and_verify(private: PrivateKeyTypes, public: PublicKeyTypes) -> bool:
    """True, or the library's exception."""
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(private, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
        made = private.sign(_CHALLENGE, padding.PKCS1v15(), SHA256())
        public.verify(made, _CHALLENGE, padding.PKCS1v15(), SHA256())
        return True
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(
        public, ec.EllipticCurvePublicKey
    ):
        made = private.sign(_CHALLENGE, ec.ECDSA(SHA256()))
        public.verify(made, _CHALLENGE, ec.ECDSA(SHA256()))
        return True
    return False
