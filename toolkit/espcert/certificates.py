"""What a certificate says about itself, and what kind of key a private key is."""

from __future__ import annotations

import contextlib
import functools
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
    from cryptography.x509 import Certificate

PEM: Final = "pem"
DER: Final = "der"
UNKNOWN: Final = "unknown"

_PEM_MARK: Final = b"-----BEGIN "
_DER_SEQUENCE: Final = 0x30
_ENCRYPTED_MARKS: Final = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")
_CURVE_NAMES: Final = {
    "secp192r1": "P-192",
    "secp224r1": "P-224",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}

T = TypeVar("T")


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
    """`pem`, `der` or `unknown`, by how the bytes begin."""
    if _PEM_MARK in data:
        return PEM
    if data[:1] == bytes((_DER_SEQUENCE,)):
        return DER
    return UNKNOWN


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
    stripped = data.rstrip(b"\0") if data[-1:] == b"\0" else data
    for candidate in (data, stripped):
        certificate = _quietly(lambda: x509.load_der_x509_certificate(candidate))  # noqa: B023
        if certificate is not None:
            return (certificate,)
    return ()


def describe(data: bytes) -> CertificateInfo:
    """What the certificates of an item say."""
    certificates = parse(data)
    if not certificates:
        return CertificateInfo(0)
    first = certificates[0]
    with _no_warnings():
        serial = _or_none(lambda: first.serial_number)
        key = _or_none(first.public_key)
        return CertificateInfo(
            certificates=len(certificates),
            subject=_or_none(lambda: printable(first.subject.rfc4514_string())),
            issuer=_or_none(lambda: printable(first.issuer.rfc4514_string())),
            serial=None if serial is None else f"{serial:x}",
            not_before=_or_none(lambda: first.not_valid_before_utc),
            not_after=_or_none(lambda: first.not_valid_after_utc),
            public_key=None if key is None else key_name(key),
        )


def validity(data: bytes) -> tuple[datetime | None, datetime | None] | None:
    """From when to when the first certificate is valid; None where there is none."""
    certificates = parse(data)
    if not certificates:
        return None
    first = certificates[0]
    with _no_warnings():
        return (
            _or_none(lambda: first.not_valid_before_utc),
            _or_none(lambda: first.not_valid_after_utc),
        )


def public_key(data: bytes) -> PublicKeyTypes | None:
    """The public key of the first certificate, or None."""
    certificates = parse(data)
    if not certificates:
        return None
    return _quietly(certificates[0].public_key)


def is_encrypted(data: bytes) -> bool:
    """Whether a private key is protected by a password."""
    if encoding_of(data) == PEM:
        return any(mark in data for mark in _ENCRYPTED_MARKS)
    return load_private_key(data) is None and _needs_password(data)


def _needs_password(data: bytes) -> bool:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        load_der_private_key(data, None)
    except TypeError:
        return True
    except Exception:  # noqa: BLE001 - anything else is not an encrypted key
        return False
    return False


def load_private_key(data: bytes) -> PrivateKeyTypes | None:
    """A private key in plain text, PEM or DER, or None.

    RSA keys are loaded without OpenSSL's primality test, which costs a hundred times the rest;
    they are proven against their certificate instead.
    """
    from cryptography.hazmat.primitives import serialization

    if encoding_of(data) == PEM:
        return _quietly(
            lambda: serialization.load_pem_private_key(
                data.rstrip(b"\0"), None, unsafe_skip_rsa_key_validation=True
            )
        )
    return _quietly(
        lambda: serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    )


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
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def encoded(key: PublicKeyTypes) -> bytes:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    return bool(_quietly(lambda: encoded(private.public_key()) == encoded(public)))


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
