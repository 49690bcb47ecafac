"""Who a module is: what its first device certificate says, and what must be its own alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from espcert import certificates, keypairs
from espcert.checks.context import Context
from espcert.findings import Finding, item_name
from espcert.inspection import time_text
from espcert.quiet import quietly
from espcert_formats import items as kinds
from espcert_formats.checksum import sha256
from espcert_formats.items import Item

if TYPE_CHECKING:
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
    `fingerprints` are digests of what no two modules should share, by kind. That no warnings of
    odd certificates are shown is the caller's business.
    """
    held = _by_kind(context)
    devices = [_device(data) for _, data in _readable(held.get(kinds.DEVICE_CERT, ()), context)]
    first = devices[0] if devices else _Device(b"")
    public = dict.fromkeys(_public_keys(held, context, devices, found))
    keys = [sha256(encoded) for encoded in public if encoded is not None]
    contexts = context.contents.of_kind(kinds.DS_CONTEXT)
    return {
        "subject": first.subject,
        "serial": first.serial,
        "not_after": time_text(first.not_after),
        "efuse_key_id": contexts[0].efuse_key_id if contexts else None,
        "key_sha256": keys[0] if keys else None,
        "names": _names(held, context, devices),
        "fingerprints": _fingerprints(held, devices, keys),
    }


_Held = dict[str, list[Item]]
"""Items by kind, in their order."""


def _by_kind(context: Context) -> _Held:
    """The items that are not damaged."""
    held: _Held = {}
    for item in context.contents.items:
        if item.intact is not False:
            held.setdefault(item.kind, []).append(item)
    return held


def expiry(context: Context, days: int) -> Iterator[Finding]:
    """A finding where a device certificate that is valid now is not after some days."""
    for item, data in _readable(context.whole(kinds.DEVICE_CERT), context):
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


def _readable(items: Iterable[Item], context: Context) -> Iterator[tuple[Item, bytes]]:
    """Those items whose bytes are plain, or that a key at hand opens, with the bytes."""
    for item in items:
        data = context.plain(item)
        if data is not None:
            yield item, data


def _public_keys(
    held: _Held, context: Context, devices: Sequence[_Device], found: Iterable[Finding]
) -> Iterator[bytes | None]:
    """The public keys of private keys in plain text, then of the certificates; None for none.

    A private key that was proven is that of its certificate, and need not be read again.
    """
    proven = {finding.item for finding in found if finding.code == "key-proven"}
    for item in held.get(kinds.PRIVATE_KEY, ()):
        if item.protection == kinds.PLAINTEXT:
            if item_name(item.kind, item.index) in proven:
                encoded = context.device_spki(item.index)
            else:
                private = keypairs.load_private_key(item.data, context.key_password)
                public = None if private is None else keypairs.public_half(private)
                encoded = None if public is None else keypairs.spki(public)
            yield encoded
    yield from (certificates.spki(device.data) for device in devices)


def _names(held: _Held, context: Context, devices: Sequence[_Device]) -> list[str]:
    found: set[str | None] = set()
    for device in devices:
        found |= {device.subject, device.issuer}
        if device.certificates > 1:
            found |= _names_in(device.data)
    for _, data in _readable(held.get(kinds.CA_CERT, ()), context):
        found |= _names_in(data)
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


def _fingerprints(held: _Held, devices: Sequence[_Device], keys: list[str]) -> dict[str, list[str]]:
    found = {
        PRIVATE_KEY: keys,
        DEVICE_CERT: [_certificate_digest(device.data) for device in devices],
        SERIAL: [one for device in devices for one in _serial(device)],
        DS_BLOCK: list(_ds_blocks(held)),
        HMAC_KEY: list(_under_hmac(held)),
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


def _ds_blocks(held: _Held) -> Iterator[str]:
    ivs = {item.index: item.data for item in held.get(kinds.DS_IV, ())}
    for item in held.get(kinds.DS_CIPHERTEXT, ()):
        yield sha256(ivs.get(item.index, b"") + item.data)


def _under_hmac(held: _Held) -> Iterator[str]:
    """Ciphertexts with the HMAC key that opens them: the same twice means the same key twice."""
    ids = {item.index: item.efuse_key_id for item in held.get(kinds.DS_CONTEXT, ())}
    for item in held.get(kinds.DS_CIPHERTEXT, ()):
        if item.index in ids:
            yield sha256(f"{ids[item.index]} ".encode() + item.data)
    for item in held.get(kinds.PRIVATE_KEY, ()):
        if item.protection == kinds.HMAC_ENCRYPTED:
            yield sha256(b"up " + item.data)
