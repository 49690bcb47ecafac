"""Which findings on the source stand against a migration, and which are settled, and how."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from espcert.catalogue import ACCEPTABLE, SUBJECTS
from espcert.errors import UsageError
from espcert.findings import Finding
from espcert_formats import items as kinds

ASKED_AGAIN: Final = frozenset(
    {"missing-device-cert", "missing-ca-cert", "missing-key", "issuer-missing"}
    | {kinds.ENTRY_DERAILS_WALK, kinds.OFFSET_WRAPS, kinds.NO_END_GAP}
)
"""Asked of what is kept and supplied, or of what is written, not of the source."""

LEAVE_SOMETHING_OUT: Final = frozenset(
    {kinds.ITEM_CRC, kinds.TRAILING_DATA, kinds.DUPLICATE_ENTRY, kinds.NVS_DAMAGE}
    | {"other-data", "ds-incomplete", "signature-lost"}
)
"""Accepting these is told where something is left out; of all others, that they were accepted."""

_PLACE_OR_FORM: Final = frozenset(
    {"signature-order", "signature-unreachable", "signature-subtypes", "signature-uncovered"}
    | {"signature-malformed", "signature-unreleased", "signature-not-proven"}
)
"""Said of a block that is left out, not of the bytes that it was made over."""

_OF_THE_TABLE: Final = frozenset(row.code for row in SUBJECTS["Flash image"])
"""Of no matter where the partition alone is written."""


def require_acceptable(codes: Collection[str]) -> None:
    """Raise UsageError for a code that `--accept` does not take."""
    unknown = sorted(set(codes) - set(ACCEPTABLE))
    if unknown:
        raise UsageError(
            "unknown-code",
            f"--accept {unknown[0]}: not a code that can be accepted; "
            "`espcert verify --list-findings` names them",
        )


@dataclass(frozen=True, slots=True)
class Settlement:
    """The findings that stand, and the lines of `changes` that tell of those that do not."""

    standing: tuple[Finding, ...]
    told: tuple[str, ...]


def settle(
    found: Collection[Finding],
    *,
    accept: Collection[str],
    mended: Collection[tuple[str, str | None]],
    drops_signatures: bool,
    leaves_table: bool,
) -> Settlement:
    """Settle findings on the source.

    `accept` are the codes that the user takes, `mended` are (code, item) of what is mended,
    `drops_signatures` says that signature blocks are left out, as was accepted, `leaves_table`
    that no partition table is changed.
    """
    standing, told = [], []
    unchecked = set(_broken_by_damage(found))
    for finding in found:
        moot = drops_signatures and finding.code in _PLACE_OR_FORM and _of_a_block(finding)
        moot = moot or (leaves_table and finding.code in _OF_THE_TABLE)
        if finding.code in ASKED_AGAIN or (finding.code, finding.item) in mended or moot:
            continue
        if finding in unchecked:
            told.append(f"{finding.item}: not checked, as damaged bytes lie before it")
        elif finding.code not in accept:
            standing.append(finding)
        elif finding.code not in LEAVE_SOMETHING_OUT:
            told.append(f"accepted: {finding.message} ({finding.code})")
    return Settlement(tuple(standing), tuple(told))


def _of_a_block(finding: Finding) -> bool:
    return (finding.item or "").partition("[")[0] == kinds.SIGNATURE_BLOCK


def _broken_by_damage(found: Iterable[Finding]) -> Iterator[Finding]:
    """Integrity entries that cannot fit any more, because of damage that is named by itself."""
    found = list(found)
    damaged = [one.offset for one in found if one.code == kinds.ITEM_CRC and one.offset is not None]
    first = min(damaged, default=None)
    for finding in found:
        behind = first is not None and first < (finding.offset or 0)
        if behind and finding.code == "integrity-mismatch":
            yield finding
