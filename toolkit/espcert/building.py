"""Build a partition from certificates and keys, on the host alone, proven before it is handed out.

Where the official tool is right, the used bytes are its bytes; docs/official-tool.md lists where
it is not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from espcert import burning, certificates, checks, detection, inspection, keypairs, verification
from espcert import image as images
from espcert.catalogue import ERROR
from espcert.chips import CHIPS, Chip
from espcert.detection import Reading
from espcert.errors import InternalError, RefusedError, UsageError
from espcert.findings import SEVERITIES, Finding, item_name
from espcert.key_storage import Key, Placed
from espcert.sizes import require_size
from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.checksum import sha256
from espcert_formats.errors import FormatError
from espcert_formats.flash import SECTOR
from espcert_formats.items import Contents
from espcert_formats.tlv import NewEntry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MAX_TYPE: Final = 255
MAX_INDEX: Final = 253
"""The highest subtype; 254 asks for the latest. Source: esp_secure_cert_tlv_config.h."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An item to store: certificates as the official tool stores them, all else as it is.

    `kind` is that of `inspect` (device_cert, ca_cert, user_data_1, unknown_N, ...); `ds_data` is
    key size, IV and ciphertext of a DS key in one. Private keys have classes of their own.
    """

    kind: str
    data: bytes = field(repr=False)
    index: int = 0


Part = Stored | Key


@dataclass(frozen=True, slots=True)
class Built:
    """The outcome. `output` is the partition, None where findings speak against it.

    `reading` is what it reads back as, `findings` are all of them, worst first. `commands` burn
    the keys on which it depends; `notes` say what must be true for them. `public_keys` are those
    of the private keys by index, in PEM.
    """

    reading: Reading
    output: bytes | None = field(repr=False)
    findings: tuple[Finding, ...]
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    public_keys: dict[int, bytes] = field(default_factory=dict)

    @property
    def contents(self) -> Contents:
        """What the partition holds, read back."""
        return self.reading.require()

    @property
    def refused(self) -> bool:
        """Whether verifying what was built found an error."""
        return self.output is None

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The errors."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)


def build(
    parts: Sequence[Part],
    *,
    chip: str | None = None,
    size: int | None = None,
    integrity: bool = True,
    ca: Sequence[bytes] | None = None,
    at: datetime | None = None,
) -> Built:
    """Build a current TLV partition of these parts, in their order, and verify it.

    `size` is the partition's in bytes (default: whole sectors, at least 0x2000). `chip` is needed
    for keys in a peripheral; `ca` and `at` prove the certificates, as in `verify`. Raises
    UsageError for a part that is not what it should be, RefusedError where parts do not fit each
    other, the chip or the size.
    """
    target = _chip(chip)
    placed = [None if isinstance(part, Stored) else part.place(target) for part in parts]
    entries = [entry for one in placed if one is not None for entry in one.front]
    for part, one in zip(parts, placed, strict=True):
        entries += [_stored(part)] if isinstance(part, Stored) else one.own if one else ()
    _refuse_bad_entries(entries)
    _refuse_foreign_keys(parts, placed)
    output = _written(entries, size, integrity=integrity)
    reading = _read_back(output, entries, integrity=integrity)
    burns = [burn for one in placed if one is not None for burn in one.burns]
    dump = burning.burned(target, burns) if target and burns else None
    given = verification.means(efuse=dump, ca=ca, at=at, chip=chip)
    found = checks.run(given.context(reading.require()))
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    refused = any(finding.severity == ERROR for finding in found)
    return Built(
        reading,
        None if refused else output,
        tuple(found),
        tuple(burning.commands(target, burns)) if target else (),
        tuple(burning.notes(burns)),
        dict(_public_keys(parts, placed)),
    )


def _chip(name: str | None) -> Chip | None:
    if name is not None and name not in CHIPS:
        raise UsageError("unknown-chip", f"{name!r}: none of {', '.join(CHIPS)}")
    return CHIPS[name] if name else None


_NOT_GIVEN: Final = kinds.SEALS | {kinds.PRIVATE_KEY}
"""Kinds that are made here, or whose protection must be known."""


def _stored(part: Stored) -> NewEntry:
    data = part.data
    known = part.kind in tlv.TYPE_OF_KIND or re.fullmatch(r"unknown_\d{1,3}", part.kind)
    if not known or part.kind in _NOT_GIVEN or tlv.type_of(part.kind) > MAX_TYPE:
        raise UsageError("bad-kind", f"{part.kind}: no kind of item that can be given as it is")
    if part.kind in kinds.CERTIFICATES:
        stored = certificates.stored_form(data)
        if stored is None:
            text = f"{len(data)} bytes, expected X.509 certificates in PEM or one in DER"
            raise UsageError("bad-certificate", f"{item_name(part.kind, part.index)}: {text}")
        data = stored
    return NewEntry(tlv.type_of(part.kind), part.index, 0, data)


def _refuse_bad_entries(entries: Sequence[NewEntry]) -> None:
    if not entries:
        raise UsageError("nothing-given", "nothing to store: give certificates, a key or user data")
    seen: set[tuple[int, int]] = set()
    for entry in entries:
        name = item_name(tlv.kind_of(entry.type), entry.subtype)
        if not 0 <= entry.subtype <= MAX_INDEX:
            raise UsageError("bad-index", f"{name}: subtypes are 0 to {MAX_INDEX}")
        if (entry.type, entry.subtype) in seen:
            raise UsageError("duplicate-entry", f"{name}: given twice; firmware reads only one")
        seen.add((entry.type, entry.subtype))


def _refuse_foreign_keys(parts: Sequence[Part], placed: Sequence[Placed | None]) -> None:
    """Raise RefusedError for a key that is not that of its certificate."""
    held = {
        part.index: certificates.public_key(part.data)
        for part in parts
        if isinstance(part, Stored) and part.kind == kinds.DEVICE_CERT
    }
    for part, one in zip(parts, placed, strict=True):
        certified = held.get(part.index)
        if one is None or certified is None:
            continue
        if keypairs.key_digest(one.public) != keypairs.key_digest(certified):
            name, wanted = (
                item_name(kind, part.index) for kind in (kinds.PRIVATE_KEY, kinds.DEVICE_CERT)
            )
            text = f"{name}: {_described(one.public)}, expected that of {wanted}:"
            raise RefusedError("key-mismatch", f"{text} {_described(certified)}")


_DIGEST_SHOWN: Final = 16


def _described(key: PublicKeyTypes) -> str:
    digest = keypairs.key_digest(key) or "unknown"
    return f"{keypairs.key_name(key)} (public key {digest[:_DIGEST_SHOWN]}...)"


def _written(entries: Sequence[NewEntry], size: int | None, *, integrity: bool) -> bytes:
    """The partition's bytes. Raises RefusedError where they do not fit."""
    require_size(size)
    try:
        used = tlv.chain(entries, integrity=integrity)
        least = -(-(len(used) + tlv.END_GAP) // SECTOR) * SECTOR
        return tlv.fill(used, size or max(tlv.MIN_SIZE, least))
    except FormatError as error:
        raise RefusedError("does-not-fit", str(error)) from error


def _read_back(output: bytes, entries: Sequence[NewEntry], *, integrity: bool) -> Reading:
    """Read the bytes through the spec and compare; any difference is a bug."""
    reading = detection.detect(images.locate(output))
    contents = reading.require()
    found = Counter(
        (item.kind, item.index, item.flags, item.data)
        for item in contents.items
        if item.kind != kinds.INTEGRITY
    )
    sealed = len(contents.of_kind(kinds.INTEGRITY)) == integrity
    if contents.layout != tlv.NAME or not contents.current or not sealed:
        raise InternalError("the partition that was built does not read back as current")
    if found != Counter(_expected(entries)):
        raise InternalError("the items that were built are not those that were asked for")
    return reading


def _expected(entries: Iterable[NewEntry]) -> Iterator[tuple[str, int, int, bytes]]:
    """What reading the entries must give: DS_DATA is two items."""
    for entry in entries:
        rest = entry.subtype, entry.flags
        data, behind = entry.data, 4 + kinds.DS_IV_LENGTH
        if entry.type != tlv.TYPE_DS_DATA:
            yield tlv.kind_of(entry.type), *rest, data
            continue
        if len(data) >= behind:
            yield kinds.DS_IV, *rest, data[4:behind]
            data = data[behind:]
        yield kinds.DS_CIPHERTEXT, *rest, data


def _public_keys(
    parts: Sequence[Part], placed: Sequence[Placed | None]
) -> Iterator[tuple[int, bytes]]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    for part, one in zip(parts, placed, strict=True):
        if one is not None:
            yield (
                part.index,
                one.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            )


def to_json(built: Built, output: str | None) -> dict[str, Any]:
    """The object of `espcert build --json`, without `schema` and `file`.

    `output` is the path that was written, None where nothing was.
    """
    written = built.output if output is not None else None
    return detection.to_json(built.reading) | {
        "output": output,
        "output_sha256": None if written is None else sha256(written),
        "items": inspection.items_to_json(built.contents),
        "findings": [finding.to_json() for finding in built.findings],
        "efuse_commands": list(built.commands),
        "efuse_notes": list(built.notes),
    }
