"""Rewrite a partition as a current TLV partition, proven before it is handed out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from espcert import checks, detection, inspection, placement, verification
from espcert import image as images
from espcert.catalogue import ERROR, INFO
from espcert.checks import structure
from espcert.comparison import material
from espcert.detection import Reading
from espcert.errors import InternalError, UsageError
from espcert.findings import SEVERITIES, Finding, item_name
from espcert.flashing import CUSTOMARY_SUBTYPE, Flashing, new_row, table_line
from espcert.mending import mends
from espcert.placement import Placing
from espcert.selection import Loss, select
from espcert.settlement import ASKED_AGAIN, require_acceptable, settle
from espcert.sizes import require_size
from espcert.verification import PROVEN, UNPROVEN, Means
from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.checksum import sha256
from espcert_formats.errors import FormatError
from espcert_formats.flash import SECTOR, is_erased
from espcert_formats.items import Contents, Item
from espcert_formats.partition_table import Row

_MAY_REMAIN: Final = (
    kinds.RESERVED_BYTES,
    kinds.UNKNOWN_FLAGS,
    kinds.CONTRADICTING_FLAGS,
    kinds.UNKNOWN_ENTRY,
)
"""What the result may have in common with its source."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a migration is asked for; all of it optional.

    `size` is the partition's in bytes. `accept` names finding codes whose loss is taken.
    `device_cert` and `ca_cert` are certificate files (PEM or DER) that the source may lack.
    `means` (of `verification.means`) prove source and result; without them `chip` and `at` do.
    `partition_only` makes of a whole flash image the partition alone, `encrypted` sets or clears
    that flag of its row. `encrypt_output` encrypts what is written with the image's own flash
    encryption key, for where it will lie.
    """

    size: int | None = None
    integrity: bool = True
    accept: frozenset[str] = frozenset()
    device_cert: bytes | None = field(default=None, repr=False)
    ca_cert: bytes | None = field(default=None, repr=False)
    chip: str | None = None
    at: datetime | None = None
    means: Means | None = None
    partition_only: bool = False
    encrypted: bool | None = None
    encrypt_output: bool = False

    @property
    def placing(self) -> Placing:
        """Where the new partition goes."""
        return Placing(self.partition_only, self.encrypted, self.encrypt_output)

    def __post_init__(self) -> None:
        object.__setattr__(self, "accept", frozenset(self.accept))
        if self.means is not None and (self.chip or self.at):
            raise UsageError("bad-options", "chip and at are part of means, where that is given")
        if self.means is None:
            object.__setattr__(self, "means", verification.means(chip=self.chip, at=self.at))
        require_acceptable(self.accept)
        require_size(self.size)


@dataclass(frozen=True, slots=True)
class Migration:
    """The outcome. `output` is the new partition, None where the migration is refused.

    `size` is its size in bytes, `kept` and `supplied` count the items that it holds of the source
    and of the certificate files. `findings` are errors and warnings, `proven` says of each
    key of the result whether it is proven. `sealed` is the partition as it will lie in encrypted
    flash, where it is written alone and encrypted.
    """

    reading: Reading
    output: bytes | None = field(repr=False)
    contents: Contents | None
    findings: tuple[Finding, ...]
    changes: tuple[str, ...]
    size: int
    size_given: bool = False
    kept: int = 0
    supplied: int = 0
    proven: tuple[Finding, ...] = ()
    flashing: Flashing | None = None
    chip: str | None = None
    partition_only: bool = False
    sealed: bytes | None = field(default=None, repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether the partition is written under flash encryption."""
        return self.sealed is not None or bool(self.flashing and self.flashing.partition_sealed)

    @property
    def file(self) -> bytes | None:
        """What is written: the partition, or the whole flash image that holds it now."""
        if self.sealed is not None:
            return self.sealed
        if self.flashing is None or self.partition_only:
            return self.output
        return self.flashing.data

    @property
    def refused(self) -> bool:
        """Whether something would be lost that was not accepted."""
        return self.output is None

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The errors, accepted ones left out."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)


def migrate(reading: Reading, options: Options | None = None) -> Migration:
    """Rewrite an image that was read as a current TLV partition.

    An image that is current already keeps its entries byte for byte, unless something is mended.
    Every other is written anew, read back and compared item by item. Source and result are
    verified. Raises UnreadableError where the image is no known layout, UsageError where an
    option contradicts it.
    """
    options = options or Options()
    source = reading.require()
    size = size_for(reading, options.size, options.placing)
    given = options.means
    assert given is not None
    before = [in_migration(one) for one in checks.run(given.context(reading))]
    plan = _Plan(source, options, before)
    found = [*plan.standing, *plan.findings({finding.code for finding in plan.standing})]
    if _errors(found):
        return _refused(reading, found, size)
    try:
        output = plan.write(size)
    except FormatError as error:
        return _refused(reading, [*found, Finding("does-not-fit", str(error))], size)
    old = left_behind(reading, size)
    found += [Finding("does-not-fit", old, None, size)] if old else []
    result = _proven(output, plan, size)
    after = [in_migration(one) for one in checks.run(given.context(result))]
    found += new_in_result(after, before, options.accept)
    if _errors(found):
        return _refused(reading, found, size)
    image, placing = reading.image, options.placing
    flashing = placement.flashed(image, output, placing)
    sealed = placement.sealed(image, output, placing)
    plan.changes += placement.changes(image, placing, flashing, sealed)
    return Migration(
        reading,
        output,
        result,
        tuple(worth_telling(found)),
        tuple(plan.changes),
        size,
        flashing=flashing,
        partition_only=options.partition_only,
        sealed=sealed,
        chip=given.chip.name if given.chip else None,
        size_given=options.size is not None or reading.image.row is not None,
        kept=len(plan.selection.material) - len(plan.selection.supplied),
        supplied=len(plan.selection.supplied),
        proven=tuple(one for one in after if one.code in PROVEN | UNPROVEN),
    )


def size_for(reading: Reading, size: int | None, placing: Placing) -> int:
    """Bytes of the new partition: `size` if it is given, in a flash image what the table says.

    Raises UsageError where a size is given and the table says it, or neither says one, and where
    it is unclear what is to be encrypted.
    """
    image, source = reading.image, reading.require()
    partition_only = placing.partition_only
    placement.check(image, placing)
    if image.container != images.FLASH:
        return partition_size(source, size)
    if size is not None and not partition_only:
        raise UsageError(
            "bad-size", "--size: the partition table says it; with --partition-only it can be given"
        )
    if image.row is None and (size is None or not partition_only):
        raise UsageError(
            "no-table",
            f"{images.place_text(image)}: --partition-only --size N writes the partition alone",
        )
    return partition_size(source, size or (image.row.size if image.row else None))


def _refused(reading: Reading, found: Iterable[Finding], size: int) -> Migration:
    return Migration(reading, None, None, tuple(worth_telling(found)), (), size)


def worth_telling(found: Iterable[Finding]) -> list[Finding]:
    """Errors and warnings, worst first; mends and repairs are told in `changes`."""
    told = [finding for finding in found if finding.severity != INFO]
    return sorted(told, key=lambda finding: SEVERITIES.index(finding.severity))


def in_migration(finding: Finding) -> Finding:
    """The finding with the severity that it has where an image is written."""
    return dataclasses.replace(finding, in_migration=True)


def new_in_result(
    after: Iterable[Finding], before: Sequence[Finding], accept: Collection[str]
) -> Iterator[Finding]:
    """What verifying the result shows and the source did not: of supplied certificates."""
    known = {(finding.code, finding.item) for finding in before}
    for finding in after:
        if finding.severity == INFO or finding.code in accept:
            continue
        asked = finding.code in ASKED_AGAIN
        if finding.code == "issuer-missing" or not (asked or (finding.code, finding.item) in known):
            yield finding


def _errors(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == ERROR for finding in findings)


def partition_size(source: Contents, given: int | None = None) -> int:
    """Bytes to fill: what was given, else the image's length in whole sectors, with a minimum.

    The minimum covers all of flash over which the old layout spreads its material: a legacy
    private key lies at 0x1840 and may reach 0x2840.

    Raises UsageError where the given size is below the minimum for the layout.
    """
    extent = source.traits.extent
    minimum = max(tlv.MIN_SIZE, extent)
    if given is None and not source.traits.placed:
        return _size_of_files(source)
    if given is None:
        return max(minimum, -(-_length(source) // SECTOR) * SECTOR)
    if given < minimum:
        raise UsageError(
            "bad-size",
            f"--size {given:#x}: at least {minimum:#x} from {source.layout}, or old material "
            "would stay in flash behind the new partition",
        )
    return given


def _size_of_files(source: Contents) -> int:
    """Bytes that hold the items of files, which no old partition was read from."""
    try:
        return len(tlv.write(item for item in source.items if item.kind not in kinds.SEALS))
    except FormatError:
        return tlv.MIN_SIZE


def _length(source: Contents) -> int:
    """The image's bytes; one more than the layout's extent is a slip of a known writer."""
    extent = source.traits.extent
    return extent if source.size == extent + 1 else source.size


def left_behind(reading: Reading, size: int) -> str | None:
    """What of the source lies behind the new partition's end and would survive flashing it."""
    length = _length(reading.require())
    if is_erased(reading.image.partition[size:length]):
        return None
    return f"the image holds data behind {size:#x}, where the new partition would end"


_BROKEN_SEAL: Final = frozenset({"integrity-mismatch", "integrity-malformed"})
"""Accepting these makes the integrity entry anew, or the result would be no better."""


class _Plan:
    """What is written, how, and how that is told in `changes`."""

    def __init__(self, source: Contents, options: Options, before: Sequence[Finding]) -> None:
        self.source = source
        self.options = options
        self.selection = select(source, options.device_cert, options.ca_cert)
        whole = len(self.selection.kept) == len(source.items) and not self.selection.supplied
        signed = source.current and whole and bool(source.of_kind(kinds.SIGNATURE_BLOCK))
        self.mends = [] if signed else mends(self.selection.kept, before, options.accept)
        reseals = _BROKEN_SEAL & options.accept & {finding.code for finding in before}
        rewrites = bool(self.mends) or (bool(reseals) and not signed)
        self.keeps_entries = source.current and whole and not rewrites
        self.losses = [*self.selection.losses, *self._lost_seals()]
        settled = settle(
            before,
            accept=options.accept,
            mended=[(one.code, item_name(one.before.kind, one.before.index)) for one in self.mends],
            drops_signatures=self.drops_signatures,
            leaves_table=options.partition_only,
        )
        self.standing = settled.standing
        self.changes = list(settled.told)

    def _lost_seals(self) -> Iterator[Loss]:
        signed = [item for item in self.selection.kept if item.kind == kinds.SIGNATURE_BLOCK]
        if signed and not self.keeps_entries:
            blocks = "1 signature block" if len(signed) == 1 else f"{len(signed)} signature blocks"
            text = f"{blocks}, which would not verify after rewriting"
            yield Loss("signature-lost", text, kinds.SIGNATURE_BLOCK, signed[0].offset)

    @property
    def drops_signatures(self) -> bool:
        """Whether signatures are left out, as the user accepted."""
        lost = any(loss.code == "signature-lost" for loss in self.losses)
        return lost and "signature-lost" in self.options.accept

    @property
    def material(self) -> list[Item]:
        """What is written: the selection, mended."""
        mended = {id(mend.before): mend.after for mend in self.mends}
        return [mended.get(id(item), item) for item in self.selection.material]

    def findings(self, known: Collection[str]) -> Iterator[Finding]:
        """Losses that were not accepted and that no check has found, and what is missing now."""
        for loss in self.losses:
            if loss.code not in self.options.accept and loss.code not in known:
                yield Finding(loss.code, f"would be left out: {loss.text}", loss.item, loss.offset)
        if not self.selection.material and not self.keeps_entries:
            yield Finding("nothing-left", "no item is left to write")
        yield from structure.missing(self.selection.material)

    def write(self, size: int) -> bytes:
        """The new partition. Raises FormatError where it does not fit."""
        self.changes += [f"left out: {loss.text} ({loss.code})" for loss in self.losses]
        for item in self.selection.supplied:
            option = "--" + item.kind.replace("_", "-")
            self.changes.append(f"added: {item.kind} from {option}, {len(item.data)} bytes")
        self.changes += [f"mended: {mend.change} ({mend.code})" for mend in self.mends]
        self.changes += self._cleaned()
        if self.keeps_entries:
            return tlv.fill(self.source.used, size)
        self._note_rewriting()
        return tlv.write(self.material, size, integrity=self.options.integrity)

    def _cleaned(self) -> Iterator[str]:
        for anomaly in self.source.anomalies:
            if anomaly.code == kinds.END_MARKER:
                yield f"end marker ff ff 00 00 at {anomaly.offset:#x} → ff ff ff ff"
            elif anomaly.code == kinds.RESERVED_BYTES and not self.keeps_entries:
                yield f"{anomaly.found} at {anomaly.offset:#x} → {anomaly.expected}"

    def _note_rewriting(self) -> None:
        source = self.source
        if source.layout != tlv.NAME:
            self.changes.insert(0, f"layout {source.layout} → {tlv.NAME}")
        erased = {item.entry_offset for item in self.selection.kept if item.flags == 0xFF}
        if erased:
            self.changes.append(f"flags and reserved bytes 0xff → 0x00 in {len(erased)} entries")
        elif source.layout == tlv.NAME:
            self.changes.append("entries written anew in canonical order")
        had = any(item.kind == kinds.INTEGRITY for item in source.items)
        if self.options.integrity:
            self.changes.append("integrity entry remade" if had else "integrity entry added")
        elif had:
            self.changes.append("integrity entry left out (--no-integrity)")


def _proven(output: bytes, plan: _Plan, size: int) -> Contents:
    """Read the new partition back through the spec and compare; any difference is a bug."""
    result = tlv.read(output)
    odd = [anomaly for anomaly in result.anomalies if anomaly.code not in _MAY_REMAIN]
    if odd or not result.current or len(output) != size:
        raise InternalError("the partition that was written does not read back as current")
    if plan.keeps_entries and output[: plan.source.end] != plan.source.used:
        raise InternalError("the entries of a current image changed")
    if material(result.items) != material(plan.material):
        raise InternalError("the items that were written are not those of the source")
    for item in result.of_kind(kinds.DS_CIPHERTEXT):
        _prove_rsa_length(item, plan.selection.kept)
    return result


def _prove_rsa_length(written: Item, source: Sequence[Item]) -> None:
    """The key size in front of the IV is the source's own word, or that of its context."""
    group = {item.kind: item for item in source if item.index == written.index}
    stored = group[kinds.DS_CIPHERTEXT].rsa_length
    bits = group[kinds.DS_CONTEXT].rsa_bits or 0
    if written.rsa_length != (bits // 32 - 1 if stored is None else stored):
        raise InternalError("the key size of the DS data changed")


def wanted_line(migration: Migration) -> str:
    """The line of the partition table under which today's firmware finds the new partition.

    Without a table its place is that of `--flash-address`, `<offset>` where it is not given.
    Source: esp_secure_cert_mgr 2296511, esp_secure_cert_map_partition (type 0x3F, this label).
    """
    row = migration.reading.image.row
    if row is not None:
        return table_line(wanted_row(migration, row))
    address = _offset(migration)
    offset = "<offset>" if address is None else f"{address:#x}"
    ending = " encrypted" if flagged(migration) else ""
    line = f"{kinds.LABEL}, {kinds.TYPE_SECURE_CERT:#x}, {CUSTOMARY_SUBTYPE:#04x}"
    return f"{line}, {offset}, {migration.size:#x},{ending}"


def wanted_row(migration: Migration, row: Row) -> Row:
    """What a row of the partition table becomes."""
    return new_row(row) if migration.flashing is None else migration.flashing.after


def flagged(migration: Migration) -> bool:
    """Whether the partition's row is, or without a table must be, flagged as encrypted."""
    image = migration.reading.image
    if image.row is not None:
        return wanted_row(migration, image.row).encrypted
    used = image.encryption
    return migration.encrypted or (used is not None and used.partition)


def encrypts_later(migration: Migration) -> bool:
    """Whether the partition is written in plain text, and its row says that it is encrypted."""
    return flagged(migration) and not migration.encrypted


def _offset(migration: Migration) -> int | None:
    """Where in flash the partition lies: as the table says, or the user of a bare partition."""
    image = migration.reading.image
    if image.row is not None:
        return image.row.offset
    return None if image.container == images.FLASH else image.address


def flash_command(migration: Migration, written: str | None, *, reset: bool = True) -> str | None:
    """The command that writes the file to a module; None where its place is not known.

    Without `reset` the module does not start when it is done.
    """
    import shlex

    offset = _offset(migration)
    if offset is None or written is None:
        return None
    if migration.flashing is not None and not migration.partition_only:
        offset = 0
    used = migration.reading.image.encryption
    in_plain = used is not None and used.of_flash and encrypts_later(migration)
    tool = f"esptool --chip {migration.chip or 'auto'}{'' if reset else ' --after no-reset'}"
    how = " --encrypt" if in_plain else ""
    return f"{tool} write-flash{how} {offset:#x} {shlex.quote(written)}"


def to_json(
    migration: Migration,
    output: str | None,
    *,
    table_output: str | None = None,
    plan_output: str | None = None,
) -> dict[str, Any]:
    """The object of `espcert migrate --json`, without `schema` and `file`.

    `output` is the path that was written, `table_output` and `plan_output` those of the new
    partition table and of the commands; None where nothing was.
    """
    outcome = outcome_to_json(migration, output, table_output=table_output, plan_output=plan_output)
    return detection.to_json(migration.reading) | outcome


def outcome_to_json(
    migration: Migration,
    output: str | None,
    *,
    table_output: str | None = None,
    plan_output: str | None = None,
) -> dict[str, Any]:
    """What that object has beyond the one of `espcert detect --json`."""
    written = migration.file if output is not None else None
    row = migration.reading.image.row
    return {
        "output": output,
        "output_sha256": None if written is None else sha256(written),
        "output_encrypted": migration.encrypted,
        "table_output": table_output,
        "plan_output": plan_output,
        "items": inspection.items_to_json(migration.contents) if migration.contents else [],
        "findings": [finding.to_json() for finding in migration.findings],
        "changes": list(migration.changes),
        "partition_table": {
            "before": None if row is None else table_line(row),
            "after": wanted_line(migration),
        },
        "flash_command": flash_command(migration, output),
    }
