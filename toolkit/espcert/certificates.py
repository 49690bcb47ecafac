"""What certificates and keys say, and which key made which signature."""

from __future__ import annotations

import base64
import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from espcert.text import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import (
        PrivateKeyTypes,
        PublicKeyTypes,
    )
    from cryptography.x509 import Certificate, ExtensionType, Name

PEM: Final = "pem"
DER: Final = "der"
UNKNOWN: Final = "unknown"

_PEM_MARK: Final = b"-----BEGIN "
_DER_SEQUENCE: Final = 0x30
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

T = TypeVar("T")
E = TypeVar("E", bound="ExtensionType")


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """The first certificate of an item, and how many there are. What cannot be read is None."""

    certificates: int
    subject: str | None = None
    issuer: str | None = None
    serial: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    public_key: str | None = None


def encoding_of(data: bytes) -> str:
    """`pem`, `der` or `unknown`, by how the bytes begin; a name in DER may look like PEM."""
    end = der_end(data)
    if end is not None and not data[end:].strip(b"\0"):
        return DER
    if _PEM_MARK in data:
        return PEM
    if data[:1] == bytes((_DER_SEQUENCE,)):
        return DER
    return UNKNOWN


def der_end(data: bytes) -> int | None:
    """Where the structure at the start of DER bytes ends, by its own length; None for no such."""
    first = next(_elements(memoryview(data)), None)
    if first is None or first[0] != _DER_SEQUENCE:
        return None
    return first[2]


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview, int]]:
    """Tag, body and end of each element, up to the first that is no whole DER of one-byte tag."""
    at = 0
    while at + 2 <= len(data):
        first = data[at + 1]
        extra = first & 0x7F if first & 0x80 else 0
        start = at + 2 + extra
        length = int.from_bytes(data[at + 2 : start], "big") if extra else first
        if first == 0x80 or start + length > len(data):
            return
        yield data[at], data[start : start + length], start + length
        at = start + length


def _without_nuls(data: bytes) -> bytes:
    """DER without the NULs behind it, which esp-secure-cert-tool 0.9.0 to 0.9.5 append."""
    end = der_end(data)
    return data if end is None or data[end:].strip(b"\0") else data[:end]


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """What the library warns of odd certificates goes nowhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _or_none(action: Callable[[], T]) -> T | None:
    try:
        return action()
    except Exception:  # noqa: BLE001 - parsers of hostile ASN.1 raise what they please
        return None


def _quietly(action: Callable[[], T]) -> T | None:
    """The result without warnings, or None where the bytes cannot be read."""
    with _no_warnings():
        return _or_none(action)


@functools.lru_cache(maxsize=64)
def parse(data: bytes) -> tuple[Certificate, ...]:
    """The certificates of an item, PEM (one or many) or DER; () where they cannot be read.

    A trailing NUL is no part of them. Cached: modules of one fleet share their CA certificates.
    """
    from cryptography import x509

    if encoding_of(data) == PEM:
        found = _quietly(lambda: x509.load_pem_x509_certificates(data.rstrip(b"\0")))
        return tuple(found or ())
    certificate = _quietly(lambda: x509.load_der_x509_certificate(_without_nuls(data)))
    return () if certificate is None else (certificate,)


def describe(data: bytes) -> CertificateInfo:
    """What the certificates of an item say."""
    certificates = parse(data)
    if not certificates:
        return CertificateInfo(0)
    first = certificates[0]
    serial = _quietly(lambda: first.serial_number)
    key = key_of(first)
    not_before, not_after = validity(first)
    return CertificateInfo(
        certificates=len(certificates),
        subject=subject_text(first),
        issuer=issuer_text(first),
        serial=None if serial is None else f"{serial:x}",
        not_before=not_before,
        not_after=not_after,
        public_key=None if key is None else key_name(key),
    )


def public_key(data: bytes) -> PublicKeyTypes | None:
    """The public key of the first certificate, or None."""
    certificates = parse(data)
    return key_of(certificates[0]) if certificates else None


# --- One certificate ---------------------------------------------------------------------------


def key_of(certificate: Certificate) -> PublicKeyTypes | None:
    """The public key of a certificate, None for a kind that cannot be read."""
    return _quietly(certificate.public_key)


def validity(certificate: Certificate) -> tuple[datetime | None, datetime | None]:
    """From when to when a certificate is valid; None for what cannot be read."""
    return (
        _quietly(lambda: certificate.not_valid_before_utc),
        _quietly(lambda: certificate.not_valid_after_utc),
    )


def subject_text(certificate: Certificate) -> str | None:
    """Whose certificate it is, as RFC 4514 writes names, safe to print."""
    return _quietly(lambda: printable(certificate.subject.rfc4514_string()))


def issuer_text(certificate: Certificate) -> str | None:
    """Who issued it, as RFC 4514 writes names, safe to print."""
    return _quietly(lambda: printable(certificate.issuer.rfc4514_string()))


NameKey = tuple[frozenset[tuple[str, str | bytes]], ...]
"""A distinguished name in a form that is equal where X.509 takes two names for the same."""


def subject_key(certificate: Certificate) -> NameKey | None:
    """The subject, to compare with an issuer; None where it cannot be read."""
    return _quietly(lambda: _name_key(certificate.subject))


def issuer_key(certificate: Certificate) -> NameKey | None:
    """The issuer, to compare with a subject; None where it cannot be read."""
    return _quietly(lambda: _name_key(certificate.issuer))


def _name_key(name: Name) -> NameKey:
    """Neither case, nor runs of blanks, nor the type of the string counts.

    Two tools write the same name as PrintableString and as UTF8String, and both mbedTLS and
    OpenSSL take it for the same. Sources: RFC 5280, 7.1; mbedTLS, x509_crt.c, x509_name_cmp.
    """
    return tuple(
        frozenset((part.oid.dotted_string, _folded(part.value)) for part in rdn)
        for rdn in name.rdns
    )


def _folded(value: str | bytes) -> str | bytes:
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


def digest_name(certificate: Certificate) -> str | None:
    """The digest over which a certificate is signed ("sha256"); None where it has none."""

    def name() -> str | None:
        digest = certificate.signature_hash_algorithm
        return None if digest is None else digest.name

    return _quietly(name)


def extension(certificate: Certificate, kind: type[E]) -> E | None:
    """An extension's value. One that is malformed, or stands beside a malformed one, is absent."""
    return _quietly(lambda: certificate.extensions.get_extension_for_class(kind).value)


def may_issue(certificate: Certificate) -> bool:
    """Whether a certificate's extensions allow it to issue others.

    A root of X.509 version 1 has no extensions, and may. Sources: RFC 5280, 4.2.1.3 and 4.2.1.9;
    mbedTLS, x509_crt.c, x509_crt_check_parent.
    """
    from cryptography import x509

    if _quietly(lambda: certificate.version) is x509.Version.v1:
        return is_self_issued(certificate)
    basic, usage = (
        extension(certificate, x509.BasicConstraints),
        extension(certificate, x509.KeyUsage),
    )
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def is_self_issued(certificate: Certificate) -> bool:
    """Whether a certificate names itself as its issuer; its signature may say otherwise."""
    name = issuer_key(certificate)
    return name is not None and name == subject_key(certificate)


def is_signed_by(certificate: Certificate, issuer: Certificate) -> bool | None:
    """Whether the issuer's key made a certificate's signature, whatever their names.

    None where the library cannot tell: it knows no such algorithm or key. Its own
    `verify_directly_issued_by` will not do: it refuses SHA-1 and MD5 as if the signature were
    wrong, and takes names for different that X.509 takes for the same.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    key = key_of(issuer)
    if key is None:
        return None
    with _no_warnings():
        try:
            return _verify(certificate, key)
        except UnsupportedAlgorithm:
            return None
        except Exception:  # noqa: BLE001 - a malformed key or signature raises what it pleases
            return False


def _verify(certificate: Certificate, key: PublicKeyTypes) -> bool | None:
    """True, the library's exception, or None for a kind of key that is not tried."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    digest = certificate.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and digest is not None:
        if key.public_numbers().e.bit_length() > MAX_EXPONENT_BITS:
            return None
        stated = certificate.signature_algorithm_parameters
        scheme = stated if isinstance(stated, padding.PSS) else padding.PKCS1v15()
        key.verify(signature, signed, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
        key.verify(signature, signed, ec.ECDSA(digest))
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, signed)
    else:
        return None
    return True


# --- Private keys ------------------------------------------------------------------------------


def is_encrypted(data: bytes) -> bool:
    """Whether a private key is protected by a password."""
    if encoding_of(data) == PEM:
        return any(mark in data for mark in _ENCRYPTED_MARKS)
    return _encryption_of(_without_nuls(data)) is not None


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
        return _quietly(
            lambda: serialization.load_pem_private_key(
                data.rstrip(b"\0"), password, unsafe_skip_rsa_key_validation=True
            )
        )
    der = _without_nuls(data)
    if der_end(der) != len(der):
        return None
    return _quietly(
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
    for block in data.split(_PEM_MARK)[1:]:
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
    return _or_none(lambda: base64.b64decode(b"".join(lines), validate=True))


def _is_affordable_der(data: bytes) -> bool:
    encryption = _encryption_of(data)
    if encryption is None:
        return _DSA not in data
    numbers = list(_integers(encryption))
    memory = math.prod(numbers[:3]) if _SCRYPT in bytes(encryption) else 0
    return max((memory, *numbers)) <= MAX_KDF_COST


def _encryption_of(data: bytes) -> memoryview | None:
    """The algorithm of an EncryptedPrivateKeyInfo; None for another structure. RFC 5958, 3."""
    outer = next(_elements(memoryview(data)), None)
    if outer is None or outer[0] != _DER_SEQUENCE:
        return None
    parts = [(tag, body) for tag, body, _ in _elements(outer[1])]
    if [tag for tag, _ in parts] != [_DER_SEQUENCE, _DER_OCTETS]:
        return None
    return parts[0][1]


def _integers(data: memoryview) -> Iterator[int]:
    """All INTEGERs inside, those of one SEQUENCE in their order."""
    pending = [data]
    while pending:
        for tag, body, _ in _elements(pending.pop()):
            if tag == _DER_INTEGER:
                yield int.from_bytes(body, "big")
            elif tag & _DER_CONSTRUCTED:
                pending.append(body)


def load_public_key(data: bytes) -> PublicKeyTypes | None:
    """The public key of a key file, public or private, PEM or DER; None where it is no key."""
    from cryptography.hazmat.primitives import serialization

    private = load_private_key(data)
    if private is not None:
        return public_half(private)
    if encoding_of(data) == PEM:
        return _quietly(lambda: serialization.load_pem_public_key(data))
    return _quietly(lambda: serialization.load_der_public_key(data))


def public_half(private: PrivateKeyTypes) -> PublicKeyTypes | None:
    """The public key that belongs to a private one, None where it makes none."""
    return _quietly(lambda: private.public_key())


def key_name(key: PublicKeyTypes | PrivateKeyTypes) -> str:
    """ "RSA 2048", "ECDSA P-256", or the library's name of other kinds of key."""
    curve = getattr(key, "curve", None)
    if curve is not None:
        return f"ECDSA {_CURVE_NAMES.get(curve.name, curve.name)}"
    kind = type(key).__name__.lstrip("_").removesuffix("PublicKey").removesuffix("PrivateKey")
    bits = getattr(key, "key_size", None)
    return f"{kind} {bits}" if bits else kind


def same_key(private: PrivateKeyTypes, public: PublicKeyTypes) -> bool:
    """Whether a private key belongs to a public one: the same public key bytes."""
    return bool(_quietly(lambda: _encoded(private.public_key()) == _encoded(public)))


def _encoded(key: PublicKeyTypes) -> bytes:
    """A public key as SubjectPublicKeyInfo, in DER."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_digest(key: PublicKeyTypes) -> str | None:
    """SHA-256 of a public key's SubjectPublicKeyInfo, hex."""
    from espcert_formats.checksum import sha256

    return _quietly(lambda: sha256(_encoded(key)))


def signs_for(private: PrivateKeyTypes, public: PublicKeyTypes) -> bool:
    """Whether a signature made with the private key verifies with the public one: one round.

    False also for kinds of keys that `can_sign` refuses, and for RSA keys whose numbers
    contradict each other: OpenSSL makes up for a damaged one where firmware does not.
    """
    return can_sign(private) and bool(
        _quietly(lambda: _numbers_agree(private) and _sign_and_verify(private, public))
    )


def can_sign(private: PrivateKeyTypes) -> bool:
    """Whether a key is of a kind and a size with which firmware can sign a TLS handshake."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(private, rsa.RSAPrivateKey):
        return private.key_size <= MAX_RSA_BITS
    return isinstance(
        private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
    )


def is_sound(private: PrivateKeyTypes) -> bool:
    """Whether a key is right by itself. For RSA this is the full test, of its primes too."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    public = public_half(private)
    if public is None or not signs_for(private, public):
        return False
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size <= MAX_TESTED_BITS:
        return _quietly(lambda: private.private_numbers().private_key()) is not None
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
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
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
    for private_type, public_type in (
        (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
        (ed448.Ed448PrivateKey, ed448.Ed448PublicKey),
    ):
        if isinstance(private, private_type) and isinstance(public, public_type):
            public.verify(private.sign(_CHALLENGE), _CHALLENGE)
            return True
    return False


def stored_form(data: bytes) -> bytes | None:
    """A certificate file as the official tool stores it, or None where it is no certificate.

    PEM is written anew with one NUL behind it, DER kept as it is; unlike that tool, all
    certificates of a chain are kept. Source: esp_secure_cert_mgr 2296511,
    esp_secure_cert_helper.py, convert_to_pem / load_certificate.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    certificates = parse(data)
    if not certificates:
        return None
    if encoding_of(data) == DER:
        return data
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates) + b"\0"


def same_certificates(one: bytes, other: bytes) -> bool:
    """Whether two items hold the same certificates, whatever their encodings."""
    return parse(one) == parse(other) != ()
