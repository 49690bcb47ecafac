"""What a partition holds, item by item, without showing a secret."""

from __future__ import annotations

import functools
from datetime import datetime, timezone
from typing import Any

from espcert import certificates, detection, encoding, keypairs
from espcert.checks import structure
from espcert.detection import Reading
from espcert.quiet import no_warnings
from espcert.text import printable
from espcert_formats import items as kinds
from espcert_formats.checksum import sha256
from espcert_formats.items import Contents, Item

PASSWORD = "password"


def protection_of(item: Item) -> str | None:
    """How a private key is protected; a plaintext entry may hold a key under a password."""
    if item.protection == kinds.PLAINTEXT and keypairs.is_encrypted(item.data):
        return PASSWORD
    return item.protection


def time_text(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds."""
    if moment is None:
        return None
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")[: -len("+00:00")] + "Z"


def item_to_json(item: Item) -> dict[str, Any]:
    """The object of one item."""
    offset = item.offset if item.spans else None
    result: dict[str, Any] = {"kind": item.kind, "index": item.index, "offset": offset}
    if item.flags is not None:
        result |= {"entry_offset": item.entry_offset, "flags": item.flags}
    if len(item.spans) > 1:
        result["spans"] = [{"offset": s.offset, "length": s.length} for s in item.spans]
    if item.kind != kinds.DS_CONTEXT:
        result |= {"length": len(item.data), "sha256": sha256(item.data)}
    result["intact"] = item.intact
    return result | _details(item)


def _details(item: Item) -> dict[str, Any]:
    if item.kind in kinds.CERTIFICATES:
        return _certificate_details(item.data)
    if item.kind == kinds.PRIVATE_KEY:
        return _key_details(item)
    if item.kind == kinds.DS_CONTEXT:
        return {"rsa_bits": item.rsa_bits, "efuse_key_id": item.efuse_key_id}
    if item.kind == kinds.SECURITY_CONFIG:
        return {"efuse_block": item.efuse_block}
    return {}


@functools.lru_cache(maxsize=64)
def _certificate_details(data: bytes) -> dict[str, Any]:
    info = certificates.describe(data)
    return {
        "encoding": encoding.encoding_of(data),
        "certificates": info.certificates,
        "subject": info.subject,
        "issuer": info.issuer,
        "serial": info.serial,
        "not_before": time_text(info.not_before),
        "not_after": time_text(info.not_after),
        "public_key": info.public_key,
    }


def _key_details(item: Item) -> dict[str, Any]:
    protection = protection_of(item)
    key = keypairs.load_private_key(item.data) if protection == kinds.PLAINTEXT else None
    return {
        "protection": protection,
        "encoding": encoding.encoding_of(item.data),
        "algorithm": None if key is None else keypairs.key_name(key),
    }


def items_to_json(contents: Contents) -> list[dict[str, Any]]:
    """All items, sorted by offset, then kind."""
    with no_warnings():
        return [item_to_json(item) for item in contents.items]


def to_json(reading: Reading) -> dict[str, Any]:
    """The object of `espcert inspect --json`, without `schema` and `file`.

    Raises UnreadableError where the image is no known layout.
    """
    contents = reading.require()
    return detection.to_json(reading) | {
        "items": items_to_json(contents),
        "findings": [
            finding.to_json() for finding in structure.of_bytes(contents, reading.contradiction)
        ],
        "other_entries": [
            {
                "namespace": printable(entry.namespace),
                "key": printable(entry.key),
                "type": entry.type,
                "length": entry.length,
            }
            for entry in contents.other_entries
        ],
    }
