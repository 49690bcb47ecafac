"""Say what an image is, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from espcert import image as images
from espcert.errors import UnreadableError
from espcert.image import Image
from espcert_formats import items as kinds
from espcert_formats import registry
from espcert_formats.items import Contents, Item

if TYPE_CHECKING:
    from espcert_formats.registry import Layout

KEY_NONE: Final = "none"
KEY_WORDS: Final = {
    "rsa_ds": "RSA key in the DS peripheral",
    "hmac_derived": "ECDSA key derived by HMAC",
    "ecdsa_peripheral": "key in the ECDSA peripheral",
    "hmac_encrypted": "key encrypted by HMAC",
    "plaintext": "private key in plain text",
    "none": "no private key",
}
"""What `key` means."""

_KEY_ORDER: Final = (kinds.HMAC_DERIVED, kinds.ECDSA_PERIPHERAL, kinds.HMAC_ENCRYPTED)


@dataclass(frozen=True, slots=True)
class Reading:
    """An image with what it is and, where it is a known layout, what it holds."""

    image: Image
    contents: Contents | None
    layout: Layout | None
    reason: str | None = None
    reason_code: str | None = None

    @property
    def label(self) -> str | None:
        """The label that was given, or the table's, else the one that the bytes suggest."""
        row = self.image.row
        if row is not None:
            return images.label_of(row)
        if self.image.label is not None:
            return self.image.label
        return self.contents.label if self.contents else None

    @property
    def contradiction(self) -> str | None:
        """How the label that was given, or the row of the table, contradicts the bytes, or None.

        Other labels than the two were free to choose in esp_secure_cert_mgr 1.0.0 to 1.0.2 and
        contradict nothing.
        """
        if self.contents is None:
            return None
        row = self.image.row
        label = self.image.label if row is None else images.label_of(row)
        traits, layout = self.contents.traits, self.contents.layout
        if label in (kinds.LABEL, kinds.LABEL_PRE_PROV) and label not in traits.labels:
            return (
                f'label "{label}" contradicts the bytes: firmware reads no {layout} image under it'
            )
        if row is None or row.type == traits.partition_type:
            return None
        found = f"type {row.type:#04x} contradicts the bytes"
        wanted = f"firmware looks for {layout} in partitions of type {traits.partition_type:#04x}"
        erases = row.type == kinds.TYPE_DATA and traits.partition_type != kinds.TYPE_DATA
        return f"{found}: {wanted}{', and with legacy support erases this one' if erases else ''}"

    def require(self) -> Contents:
        """The contents. Raises UnreadableError where the image is no known layout."""
        if self.contents is None:
            raise UnreadableError(self.reason_code or "unknown", self.reason or "")
        return self.contents


def detect(image: Image) -> Reading:
    """Read an image as the first layout that recognises it. Never fails on damage."""
    if image.contents is not None:
        return Reading(image, image.contents, None)
    if image.container == images.FLASH and image.row is None and image.table is not None:
        wanted = "no row that holds credentials or is labelled esp_secure_cert or pre_prov"
        if image.label is not None:
            wanted = f"no row {image.label}"
        reason = f"{images.place_text(image)}, which has {wanted}"
        return Reading(image, None, None, reason, "no_partition")
    label = image.label if image.row is None else images.label_of(image.row)
    found = registry.read(image.partition, label)
    if found is not None:
        layout, contents = found
        return Reading(image, contents, layout)
    if image.row is not None and not image.partition and image.row.offset >= len(image.data):
        text = "the file ends before the partition begins: read the whole flash again"
        return Reading(image, None, None, f"{images.place_text(image)}: {text}", "truncated")
    from espcert.unreadable import reason_for

    code, text = image.unopened or reason_for(image.partition)
    place = images.place_text(image)
    return Reading(image, None, None, f"{place}: {text}" if place else text, code)


def key_of(contents: Contents) -> str:
    """The kind of private key, by the first rule that applies."""
    if not kinds.DS_MATERIAL.isdisjoint([item.kind for item in contents.items]):
        return "rsa_ds"
    protections = {item.protection for item in contents.of_kind(kinds.PRIVATE_KEY)}
    for protection in _KEY_ORDER:
        if protection in protections:
            return protection
    return kinds.PLAINTEXT if protections else KEY_NONE


def chip_family(items: tuple[Item, ...]) -> str | None:
    """The family of chips whose DS peripheral reads the ciphertext, by its length."""
    for item in items:
        if item.kind == kinds.DS_CIPHERTEXT:
            bits = kinds.DS_MAX_BITS.get(len(item.data))
            return f"ds{bits}" if bits else None
    return None


def evidence(reading: Reading) -> list[str]:
    """The reasons, and a contradicting label last."""
    if reading.contents is None:
        return []
    extra = (images.place_text(reading.image), *reading.image.notes, reading.contradiction)
    return [*reading.contents.evidence, *(text for text in extra if text)]


def to_json(reading: Reading) -> dict[str, Any]:
    """The object of `espcert detect --json`, without `schema` and `file`."""
    contents, image = reading.contents, reading.image
    row = image.row
    placed = contents is None or contents.traits.placed
    result: dict[str, Any] = {
        "container": image.container,
        "layout": contents.layout if contents else None,
        "key": key_of(contents) if contents else KEY_NONE,
        "revision": contents.revision if contents else None,
        "label": images.label_text(row) if row else reading.label,
        "chip_family": chip_family(contents.items) if contents else None,
        "partition": {
            "file_offset": image.start if placed else None,
            "size": (row.size if row else len(image.partition)) if placed else None,
            "type": row.type if row else None,
            "subtype": row.subtype if row else None,
            "encrypted": row.encrypted if row else None,
        },
        "evidence": evidence(reading),
    }
    if contents is None:
        result |= {"reason": reading.reason, "reason_code": reading.reason_code}
    return result
