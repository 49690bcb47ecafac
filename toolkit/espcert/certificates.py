"""What certificates say, and which key signed which."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from espcert import keypairs
from espcert.encoding import DER, PEM, c_string, encoding_of, without_nuls
from espcert.quiet import no_warnings, quietly
from espcert.text import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate, ExtensionType, Name

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


@functools.lru_cache(maxsize=64)
def parse(data: bytes) -> tuple[Certificate, ...]:
    """The certificates of an item, PEM (one or many) or DER; () where they cannot be read.

    A trailing NUL is no part of them. Cached: modules of one fleet share their CA certificates.
    """
    from cryptography import x509

    if encoding_of(data) == PEM:
        found = quietly(lambda: x509.load_pem_x509_certificates(c_string(data)))
        return tuple(found or ())
    certificate = quietly(lambda: x509.load_der_x509_certificate(without_nuls(data)))
    return () if certificate is None else (certificate,)


@functools.lru_cache(maxsize=64)
def describe(data: bytes) -> CertificateInfo:
    """What the certificates of an item say. Cached as `parse` is."""
    certificates = parse(data)
    if not certificates:
        return CertificateInfo(0)
    first = certificates[0]
    serial = quietly(lambda: first.serial_number)
    key = key_of(first)
    not_before, not_after = validity(first)
    return CertificateInfo(
        certificates=len(certificates),
        subject=subject_text(first),
        issuer=issuer_text(first),
        serial=None if serial is None else f"{serial:x}",
        not_before=not_before,
        not_after=not_after,
        public_key=None if key is None else keypairs.key_name(key),
    )


def public_key(data: bytes) -> PublicKeyTypes | None:
    """The public key of the first certificate, or None."""
    certificates = parse(data)
    return key_of(certificates[0]) if certificates else None


@functools.lru_cache(maxsize=64)
def spki(data: bytes) -> bytes | None:
    """That key as SubjectPublicKeyInfo, in DER. Cached: a key is compared and named by it."""
    key = public_key(data)
    return None if key is None else keypairs.spki(key)


# --- One certificate ---------------------------------------------------------------------------


def key_of(certificate: Certificate) -> PublicKeyTypes | None:
    """The public key of a certificate, None for a kind that cannot be read."""
    return quietly(certificate.public_key)


def validity(certificate: Certificate) -> tuple[datetime | None, datetime | None]:
    """From when to when a certificate is valid; None for what cannot be read."""
    return (
        quietly(lambda: certificate.not_valid_before_utc),
        quietly(lambda: certificate.not_valid_after_utc),
    )


@functools.lru_cache(maxsize=64)
def subject_text(certificate: Certificate) -> str | None:
    """Whose certificate it is, as RFC 4514 writes names, safe to print."""
    return quietly(lambda: printable(certificate.subject.rfc4514_string()))


@functools.lru_cache(maxsize=64)
def issuer_text(certificate: Certificate) -> str | None:
    """Who issued it, as RFC 4514 writes names, safe to print."""
    return quietly(lambda: printable(certificate.issuer.rfc4514_string()))


NameKey = tuple[frozenset[tuple[str, str | bytes]], ...]
"""A distinguished name in a form that is equal where X.509 takes two names for the same."""


def subject_key(certificate: Certificate) -> NameKey | None:
    """The subject, to compare with an issuer; None where it cannot be read."""
    return quietly(lambda: _name_key(certificate.subject))


def issuer_key(certificate: Certificate) -> NameKey | None:
    """The issuer, to compare with a subject; None where it cannot be read."""
    return quietly(lambda: _name_key(certificate.issuer))


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

    return quietly(name)


def extension(certificate: Certificate, kind: type[E]) -> E | None:
    """An extension's value. One that is malformed, or stands beside a malformed one, is absent."""
    return quietly(lambda: certificate.extensions.get_extension_for_class(kind).value)


def may_issue(certificate: Certificate) -> bool:
    """Whether a certificate's extensions allow it to issue others.

    A root of X.509 version 1 has no extensions, and may. Sources: RFC 5280, 4.2.1.3 and 4.2.1.9;
    mbedTLS, x509_crt.c, x509_crt_check_parent.
    """
    from cryptography import x509

    if quietly(lambda: certificate.version) is x509.Version.v1:
        return is_self_issued(certificate)
    basic, usage = (
        extension(certificate, x509.BasicConstraints),
        extension(certificate, x509.KeyUsage),
    )
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def path_length(certificate: Certificate) -> int | None:
    """How many CAs a CA allows below it, None for any number. RFC 5280, 4.2.1.9."""
    from cryptography import x509

    constraints = extension(certificate, x509.BasicConstraints)
    return None if constraints is None else constraints.path_length


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
    with no_warnings():
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
        if key.public_numbers().e.bit_length() > keypairs.MAX_EXPONENT_BITS:
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
