"""A small PKI for tests: keys, authorities, certificates, and TLV partitions that hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from espcert.checks.context import Context
from espcert_formats import tlv
from espcert_formats.items import Contents, Item

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

AT = datetime(2026, 6, 1, tzinfo=timezone.utc)
"""The clock of `context`: everything that is made here without dates is valid then."""

PEM, DER = Encoding.PEM, Encoding.DER
PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])

_CURVES: dict[str, ec.EllipticCurve] = {
    "P-192": ec.SECP192R1(),
    "P-224": ec.SECP224R1(),
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
}
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


# --- Keys --------------------------------------------------------------------------------------


@cache
def make_key(kind: str = "P-256", which: int = 0) -> Key:  # noqa: ARG001 - part of the cache's key
    """A key: "P-256", "RSA-2048", "Ed25519", ...; one for each `which`, made once."""
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


def key_bytes(
    key: Any,
    encoding: Encoding = PEM,
    form: PrivateFormat = PKCS8,
    password: bytes | None = None,
) -> bytes:
    """A private key as firmware wants it: PEM with a NUL, or DER."""
    protection = NoEncryption() if password is None else BestAvailableEncryption(password)
    data: bytes = key.private_bytes(encoding, form, protection)
    return data + b"\0" if encoding is PEM else data


def sign(key: Key, data: bytes, digest: hashes.HashAlgorithm | None = None) -> bytes:
    """A signature as it stands in certificates; the digest is SHA-256 unless another is named."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest or hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(digest or hashes.SHA256()))
    return key.sign(data)


# --- Certificates ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Issued:
    """A certificate and the private key that belongs to it."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @property
    def pem(self) -> bytes:
        """PEM without a NUL, so that several make a chain."""
        return self.certificate.public_bytes(PEM)

    @property
    def der(self) -> bytes:
        """DER."""
        return self.certificate.public_bytes(DER)


def name_of(text: str) -> x509.Name:
    """A name of one common name; empty for no text."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def usage(*bits: str) -> x509.KeyUsage:
    """A key usage of these bits alone."""
    return x509.KeyUsage(**{bit: bit in bits for bit in _USAGES})


def issue(
    subject: str,
    key: Key,
    by: Issued | None = None,
    *,
    issuer: str | None = None,
    since: int = 2020,
    until: int = 2049,
    extensions: tuple[x509.ExtensionType, ...] = (),
    rsa_padding: padding.PSS | None = None,
) -> Issued:
    """A certificate for `key`, valid from the first moment of a year to that of another.

    It is signed by the key of `by`, under the name of `by` or another one; by itself without.
    """
    named = name_of(issuer if issuer is not None else subject)
    if by is not None and issuer is None:
        named = by.certificate.subject
    signer = by.key if by is not None else key
    builder = x509.CertificateBuilder().subject_name(name_of(subject)).issuer_name(named)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(datetime(since, 1, 1, tzinfo=timezone.utc))
    builder = builder.not_valid_after(datetime(until, 1, 1, tzinfo=timezone.utc))
    for extension in extensions:
        builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints))
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(builder.sign(signer, digest, rsa_padding=rsa_padding), key)


def make_ca(
    name: str = "Test CA",
    by: Issued | None = None,
    *,
    key: Key | None = None,
    ca: bool | None = True,
    extensions: tuple[x509.ExtensionType, ...] = (),
    **others: Any,
) -> Issued:
    """A CA, a root unless `by` is given, with a key of its own; `ca` None: no basicConstraints."""
    basic = () if ca is None else (x509.BasicConstraints(ca, None),)
    own = key or make_key("P-256", _next("ca"))
    return issue(name, own, by, extensions=(*basic, *extensions), **others)


def make_leaf(
    by: Issued | None = None, name: str = "device", *, key: Key | None = None, **others: Any
) -> Issued:
    """A device certificate, self-signed unless `by` is given, with a key of its own."""
    return issue(name, key or make_key("P-256", _next("leaf")), by, **others)


_made: dict[str, int] = {"ca": 0, "leaf": 1 << 16}


def _next(kind: str) -> int:
    _made[kind] += 1
    return _made[kind]


# --- Certificates that no builder makes --------------------------------------------------------


def tagged(tag: int, body: bytes) -> bytes:
    """A DER element."""
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def children(element: bytes) -> list[bytes]:
    """The elements inside a constructed DER element."""
    found, at = [], _header(element)
    while at < len(element):
        end = at + _header(element[at:]) + _length(element[at:])
        found.append(element[at:end])
        at = end
    return found


def _header(element: bytes) -> int:
    return 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)


def _length(element: bytes) -> int:
    if not element[1] & 0x80:
        return element[1]
    return int.from_bytes(element[2 : _header(element)], "big")


def edited(
    issued: Issued,
    signer: Key,
    edit: Callable[[list[bytes]], list[bytes]],
    *,
    algorithm: bytes | None = None,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A certificate as DER with other fields in its TBSCertificate, signed anew.

    The fields are version, serial, algorithm, issuer, validity, subject, key, extensions.
    `algorithm` is an AlgorithmIdentifier for both places where one stands.
    """
    fields = edit(children(issued.certificate.tbs_certificate_bytes))
    if algorithm is not None:
        fields[2] = algorithm
    signed = tagged(0x30, b"".join(fields))
    outer = algorithm or children(issued.der)[1]
    made = sign(signer, signed, digest)
    return tagged(0x30, signed + outer + tagged(0x03, b"\0" + made))


def unchanged(fields: list[bytes]) -> list[bytes]:
    """For `edited`: the fields as they are."""
    return fields


# --- Partitions --------------------------------------------------------------------------------


def entry(kind: str, data: bytes, index: int = 0, flags: int = 0) -> tlv.NewEntry:
    """A TLV entry by the kind of item that it holds."""
    return tlv.NewEntry(tlv.type_of(kind), index, flags, data)


def tlv_image(*entries: tlv.NewEntry, damaged: bool = False) -> Contents:
    """A TLV partition of these entries, read; `damaged`: the CRC of the last one is wrong."""
    data = bytearray(tlv.chain(entries, integrity=False))
    if damaged:
        data[-1] ^= 1
    return tlv.read(bytes(data).ljust(len(data) + 64, b"\xff"))


def context(contents: Contents, **overrides: Any) -> Context:
    """What the checks get to see: the contents at `AT`, nothing else unless it is given."""
    return Context(**{"contents": contents, "at": AT, **overrides})


def item_of(contents: Contents, kind: str, index: int = 0) -> Item:
    """The first item of a kind and index."""
    return next(item for item in contents.of_kind(kind) if item.index == index)
