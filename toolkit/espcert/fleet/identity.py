"""Who a module is: what its first device certificate says, and what must be its own alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from espcert import certificates, keypairs
from espcert.checks.context import Context
from espcert.findings import Finding, item_name
from espcert.inspection import time_text
from espcert.quiet import no_warnings, quietly
from espcert_formats import items as kinds
from espcert_formats.checksum import sha256
from espcert_formats.items import Item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

PRIVATE_KEY: Final = "private_key"
DEVICE_CERT: Final = "device_cert"
SERIAL: Final = "serial"
DS_BLOCK: Final = "ds_block"
HMAC_KEY: Final = "hmac_key"

NOBODY: Final[dict[str, Any]] = {
    "subject": None,
    "serial": None,
    "not_after": None,
    "efuse_key_id": None,
    "key_sha256": None,
    "names": [],
    "fingerprints": {},
}
"""The fields of an image that could not be read."""


class _Device(NamedTuple):
    """A device certificate, and what it says; None what cannot be read."""

    data: bytes
    certificates: int = 0
    subject: str | None = None
    issuer: str | None = None
    serial: str | None = None
    not_after: datetime | None = None


def _device(data: bytes) -> _Device:
    """Less than `certificates.describe` tells, for less time."""
    parsed = certificates.parse(data)
    if not parsed:
        return _Device(data)
    first = parsed[0]
    serial = quietly(lambda: first.serial_number)
    return _Device(
        data,
        len(parsed),
        certificates.subject_text(first),
        certificates.issuer_text(first),
        None if serial is None else f"{serial:x}",
        quietly(lambda: first.not_valid_after_utc),
    )


def describe(context: Context, found: Iterable[Finding]) -> dict[str, Any]:
    """The fields of a record that tell which module this is, once it is known what was `found`.

    `subject`, `serial` and `not_after` are those of the first device certificate, null where
    there is none. `key_sha256` is the digest of the SubjectPublicKeyInfo that belongs to the first
    private key. `names` are all distinguished names that messages about the image may hold.
    `fingerprints` are digests of what no two modules should share, by kind.
    """
    with no_warnings():
        devices = [_device(data) for _, data in _devices(context)]
        first = devices[0] if devices else _Device(b"")
        proven = {finding.item for finding in found if finding.code == "key-proven"}
        keys = list(dict.fromkeys(_keys(context, devices, proven)))
        contexts = context.contents.of_kind(kinds.DS_CONTEXT)
        return {
            "subject": first.subject,
            "serial": first.serial,
            "not_after": time_text(first.not_after),
            "efuse_key_id": contexts[0].efuse_key_id if contexts else None,
            "key_sha256": keys[0] if keys else None,
            "names": _names(context, devices),
            "fingerprints": _fingerprints(context, devices, keys),
        }


def expiry(context: Context, days: int) -> Iterator[Finding]:
    """A finding where a device certificate that is valid now is not after some days."""
    for item, data in _devices(context):
        parsed = certificates.parse(data)
        end = certificates.validity(parsed[0])[1] if parsed else None
        if end is not None and context.at <= end < _later(context.at, days):
            name = kinds.DEVICE_CERT if not item.index else f"{kinds.DEVICE_CERT}[{item.index}]"
            left = (end - context.at).days
            text = f"{name}: expires on {end.date()}, {left} days after {context.at.date()}"
            yield Finding("device-expires", text, name, item.offset)


def _later(at: datetime, days: int) -> datetime:
    try:
        return at + timedelta(days=days)
    except OverflowError:
        return datetime.max.replace(tzinfo=at.tzinfo)


def _devices(context: Context) -> Iterator[tuple[Item, bytes]]:
    for item in context.whole(kinds.DEVICE_CERT):
        data = context.plain(item)
        if data is not None:
            yield item, data


def _keys(
    context: Context, devices: Sequence[_Device], proven: Collection[str | None]
) -> Iterator[str]:
    """Digests of the public keys of private keys in plain text, then of the certificates.

    A private key that was proven is that of its certificate, and need not be read again.
    """
    for item in context.whole(kinds.PRIVATE_KEY):
        if item.protection == kinds.PLAINTEXT:
            if item_name(item.kind, item.index) in proven:
                key = context.device_key(item.index)
            else:
                private = keypairs.load_private_key(item.data, context.key_password)
                key = None if private is None else private.public_key()
            yield from () if key is None else _key_digest(key)
    held = [_certificate_key(device.data) for device in devices]
    yield from (digest for digest in held if digest is not None)


@lru_cache(maxsize=64)
def _certificate_key(data: bytes) -> str | None:
    key = certificates.public_key(data)
    return None if key is None else next(_key_digest(key), None)


def _key_digest(key: PublicKeyTypes) -> Iterator[str]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded = quietly(lambda: key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    if encoded is not None:
        yield sha256(encoded)


def _names(context: Context, devices: Sequence[_Device]) -> list[str]:
    found: set[str | None] = set()
    for device in devices:
        found |= {device.subject, device.issuer}
        if device.certificates > 1:
            found |= _names_in(device.data)
    for item in context.whole(kinds.CA_CERT):
        found |= _names_in(context.plain(item) or b"")
    for certificate in context.ca or ():
        found |= _names_of(certificate)
    return sorted(name for name in found if name)


@lru_cache(maxsize=64)
def _names_in(data: bytes) -> frozenset[str]:
    chain = certificates.parse(data)
    return frozenset(name for certificate in chain for name in _names_of(certificate))


def _names_of(certificate: Certificate) -> set[str]:
    both = (certificates.subject_text(certificate), certificates.issuer_text(certificate))
    return {name for name in both if name}


def _fingerprints(
    context: Context, devices: Sequence[_Device], keys: list[str]
) -> dict[str, list[str]]:
    found = {
        PRIVATE_KEY: keys,
        DEVICE_CERT: [_certificate_digest(device.data) for device in devices],
        SERIAL: [one for device in devices for one in _serial(device)],
        DS_BLOCK: list(_ds_blocks(context)),
        HMAC_KEY: list(_under_hmac(context)),
    }
    return {kind: list(dict.fromkeys(values)) for kind, values in found.items() if values}


def _certificate_digest(data: bytes) -> str:
    """Of the certificate itself where it can be read: PEM and DER are one certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding

    parsed = certificates.parse(data)
    encoded = quietly(lambda: parsed[0].public_bytes(Encoding.DER)) if parsed else None
    return sha256(encoded or data)


def _serial(device: _Device) -> Iterator[str]:
    """A serial number is unique among the certificates of one issuer. RFC 5280, 4.1.2.2."""
    if device.serial is not None and device.issuer is not None:
        yield sha256(f"{device.serial} {device.issuer}".encode("utf-8", "surrogatepass"))


def _ds_blocks(context: Context) -> Iterator[str]:
    ivs = {item.index: item.data for item in context.whole(kinds.DS_IV)}
    for item in context.whole(kinds.DS_CIPHERTEXT):
        yield sha256(ivs.get(item.index, b"") + item.data)


def _under_hmac(context: Context) -> Iterator[str]:
    """Ciphertexts with the HMAC key that opens them: the same twice means the same key twice."""
    ids = {item.index: item.efuse_key_id for item in context.whole(kinds.DS_CONTEXT)}
    for item in context.whole(kinds.DS_CIPHERTEXT):
        if item.index in ids:
            yield sha256(f"{ids[item.index]} ".encode() + item.data)
    for item in context.whole(kinds.PRIVATE_KEY):
        if item.protection == kinds.HMAC_ENCRYPTED:
            yield sha256(b"up " + item.data)
