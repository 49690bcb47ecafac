"""Say what an image is, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from espcert import image as images
from espcert.errors import UnreadableError
from espcert.image import Image
from espcert.text import size_text
from espcert_formats import items as kinds
from espcert_formats import registry
from espcert_formats.items import Contents, Item

if TYPE_CHECKING:
    from espcert_formats.registry import Layout

KEY_NONE: Final = "none"
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
        """The label that was given, else the one that the bytes suggest."""
        if self.image.label is not None:
            return self.image.label
        return self.contents.label if self.contents else None

    @property
    def contradiction(self) -> str | None:
        """How the label that was given contradicts the bytes, or None.

        Other labels than the two were free to choose in esp_secure_cert_mgr 1.0.0 to 1.0.2 and
        contradict nothing.
        """
        label = self.image.label
        if label is None or self.contents is None:
            return None
        known = label in (kinds.LABEL, kinds.LABEL_PRE_PROV)
        if not known or label in self.contents.traits.labels:
            return None
        return (
            f'label "{label}" contradicts the bytes: firmware reads no {self.contents.layout} '
            "image under it"
        )

    def require(self) -> Contents:
        """The contents. Raises UnreadableError where the image is no known layout."""
        if self.contents is None:
            raise UnreadableError(self.reason_code or "unknown", self.reason or "")
        return self.contents


def detect(image: Image) -> Reading:
    """Read an image as the first layout that recognises it. Never fails on damage."""
    if image.table is not None:
        return _flash(image)
    found = registry.read(image.data, image.label)
    if found is None:
        from espcert.unreadable import reason_for

        reason = reason_for(image.data)
        return Reading(image, None, None, reason.text, reason.code)
    layout, contents = found
    return Reading(image, contents, layout)


def _flash(image: Image) -> Reading:
    assert image.table is not None
    wrong = ", whose MD5 is wrong" if image.table.md5_ok is False else ""
    where = f"a whole flash image with a partition table at {image.table.offset:#x}{wrong}"
    row = image.row
    if row is None:
        wanted = image.label or "esp_secure_cert or pre_prov"
        return Reading(image, None, None, f"{where}, which has no row {wanted}", "no_partition")
    name = images.label_text(row)
    text = (
        f"{where}; its partition {name} lies at {row.offset:#x}, {size_text(row.size)}"
        f"{', flagged as encrypted' if row.encrypted else ''}"
        f"{', beyond the end of the file' if row.offset + row.size > len(image.data) else ''}. "
        f"Cut it out with: {images.cut_command(image, row)}"
    )
    return Reading(image, None, None, text, "partition_table")


def key_of(contents: Contents) -> str:
    """The kind of private key, by the first rule that applies."""
    if any(item.kind in kinds.DS_MATERIAL for item in contents.items):
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
    contradiction = reading.contradiction
    return [*reading.contents.evidence, *([contradiction] if contradiction else [])]


def to_json(reading: Reading) -> dict[str, Any]:
    """The object of `espcert detect --json`, without `schema` and `file`."""
    contents, image = reading.contents, reading.image
    row = image.row
    result: dict[str, Any] = {
        "container": image.container,
        "layout": contents.layout if contents else None,
        "key": key_of(contents) if contents else KEY_NONE,
        "revision": contents.revision if contents else None,
        "label": images.label_text(row) if row else reading.label,
        "chip_family": chip_family(contents.items) if contents else None,
        "partition": {
            "file_offset": row.offset if row else 0,
            "size": row.size if row else len(image.data),
            "type": row.type if row else None,
            "subtype": row.subtype if row else None,
            "encrypted": row.encrypted if row else None,
        },
        "evidence": evidence(reading),
    }
    if contents is None:
        result |= {"reason": reading.reason, "reason_code": reading.reason_code}
    return result
