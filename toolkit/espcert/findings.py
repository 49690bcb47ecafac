"""Findings: one fact each about an image, with a stable code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ERROR: Final = "error"
WARNING: Final = "warning"
INFO: Final = "info"


@dataclass(frozen=True, slots=True)
class Kind:
    """A code of the catalogue: how bad it is, what to do, and what `--accept` of it gives up.

    `accepted` is None where accepting makes no sense: the result could not be right.
    """

    code: str
    severity: str
    hint: str
    accepted: str | None = None


CATALOGUE: Final = {
    kind.code: kind
    for kind in (
        Kind(
            "item-crc",
            ERROR,
            "read the partition again; if the damage is in flash, the item is lost",
            "the damaged item is left out",
        ),
        Kind(
            "trailing-data",
            ERROR,
            "look at it with `espcert inspect --map --show-secrets`",
            "the bytes that belong to no item are left out",
        ),
        Kind(
            "duplicate-entry",
            ERROR,
            "look at both; firmware reads the first, with legacy support the last",
            "only the first entry is kept",
        ),
        Kind(
            "label-contradiction",
            ERROR,
            "leave --label out, or check which partition this is",
            "the bytes decide, not the label",
        ),
        Kind(
            "other-data",
            ERROR,
            "the application that wrote them must store them elsewhere",
            "the other NVS entries are left out",
        ),
        Kind(
            "nvs-damage",
            ERROR,
            "read the partition again; compare the items with what was provisioned",
            "what the firmware would still read is taken, the rest is left out",
        ),
        Kind(
            "ds-incomplete",
            ERROR,
            "the DS peripheral needs ciphertext, IV and context together",
            "the incomplete DS material is left out",
        ),
        Kind(
            "signature-lost",
            ERROR,
            "sign the new image with the signing key",
            "the signature blocks are left out",
        ),
        Kind(
            "ds-key-id",
            ERROR,
            "the metadata is damaged, or this is no module of this family",
            "the key id is taken as it is stored",
        ),
        Kind(
            "ds-key-size",
            ERROR,
            "the metadata is damaged, or the certificate is another module's",
            "the key size is taken as it is stored",
        ),
        Kind(
            "ds-chip",
            ERROR,
            "check --chip; a ciphertext made for the other family cannot work",
            "the ciphertext is taken as it is stored",
        ),
        Kind("does-not-fit", ERROR, "give the partition a larger size with --size"),
        Kind("nothing-left", ERROR, "nothing of the source could be carried over"),
        Kind("end-marker", INFO, "it blocks appending entries on the device; it becomes 0xff"),
        Kind("reserved-bytes", INFO, "they hold nothing and become zeros when written anew"),
        Kind("missing-device-cert", WARNING, "give it with --device-cert, or embed it in firmware"),
        Kind("missing-ca-cert", WARNING, "give it with --ca-cert if firmware reads it from here"),
        Kind("missing-key", WARNING, "right only where the key lives elsewhere"),
        Kind("certificate-unreadable", WARNING, "the module cannot present it in TLS"),
        Kind("certificate-expired", WARNING, "renew the certificate"),
        Kind("certificate-not-yet-valid", WARNING, "check the clock"),
    )
}

ACCEPTABLE: Final = tuple(code for code, kind in CATALOGUE.items() if kind.accepted)
"""Codes that `--accept` takes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding. `item` is "kind" or "kind[index]"; `offset` counts from the partition's start."""

    code: str
    message: str
    item: str | None = None
    offset: int | None = None

    @property
    def severity(self) -> str:
        """`error`, `warning` or `info`."""
        return CATALOGUE[self.code].severity

    @property
    def hint(self) -> str:
        """What to do."""
        return CATALOGUE[self.code].hint

    def to_json(self) -> dict[str, Any]:
        """The object of the contract."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "item": self.item,
            "offset": self.offset,
            "hint": self.hint,
        }


def item_name(kind: str, index: int = 0) -> str:
    """How a finding names an item."""
    return f"{kind}[{index}]" if index else kind
