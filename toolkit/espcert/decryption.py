"""What of an image is encrypted, and its plain text where the keys for it are at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from espcert.errors import UnreadableError
from espcert_formats import items, registry
from espcert_formats.flash import SECTOR, is_erased

if TYPE_CHECKING:
    from espcert.flash_encryption import FlashEncryption
    from espcert.nvs_encryption import NvsKeys
    from espcert_formats.partition_table import Row, Table

MAX_ATTEMPTS: Final = 16
"""Partitions of one image that are decrypted to see what they hold; real tables have one or two."""
MAX_DECRYPTED: Final = 0x1000000

TYPE_DATA_NVS: Final = 0x02
LABELS: Final = (items.LABEL.encode(), items.LABEL_PRE_PROV.encode())
"""Labels under which firmware looks for the credentials, today's first."""

UNFIT: Final = "key, address or scheme does not fit"
"""Which of them cannot be told: a wrong one of any kind gives noise."""


class Held(NamedTuple):
    """A partition's plain text, and what was undone for it: flash encryption, NVS encryption."""

    data: bytes
    flash: bool = False
    nvs: bool = False


@dataclass(frozen=True, slots=True)
class Encryption:
    """The keys that were given for an image, and what was encrypted under them.

    `table_sector` is the plain text of the partition table's sector, None where the table is
    plain. `partition` tells whether the partition was flash-encrypted, `nvs` whether its entries
    were under NVS encryption.
    """

    flash: FlashEncryption | None = None
    keys: NvsKeys | None = None
    table_sector: bytes | None = field(default=None, repr=False)
    partition: bool = False
    nvs: bool = False

    @property
    def of_flash(self) -> bool:
        """Whether anything was flash-encrypted."""
        return self.partition or self.table_sector is not None

    def notes(self, row: Row | None, address: int | None) -> list[str]:
        """How the keys were used, in words; `address` is the partition's in flash."""
        found = [] if self.flash is None else self._flash_notes(self.flash, row, address)
        if self.keys is not None:
            how = "the entries are decrypted with the NVS keys"
            found.append(how if self.nvs else "NVS keys not applied: nothing is under them")
        return found

    def _flash_notes(self, key: FlashEncryption, row: Row | None, address: int | None) -> list[str]:
        if not self.of_flash:
            return ["flash encryption key not applied: the image is plain"]
        parts = ["the partition table"] if self.table_sector is not None else []
        parts += [f"the partition at {address or 0:#x}"] if self.partition else []
        notes = [f"{' and '.join(parts)} decrypted with the flash encryption key ({key.name})"]
        if row is not None and not self.partition:
            flagged = ", though its row is flagged as encrypted" if row.encrypted else ""
            notes.append(f"flash encryption key not applied to the partition: it is plain{flagged}")
        if row is not None and self.partition and not row.encrypted:
            notes.append("the partition is encrypted, though its row is not flagged as encrypted")
        return notes


@dataclass(slots=True)
class Reader:
    """The bytes of an image, read through the keys at hand; without keys as they are."""

    data: bytes = field(repr=False)
    flash: FlashEncryption | None = None
    nvs: NvsKeys | None = None
    table_sector: bytes | None = field(default=None, repr=False)
    _held: dict[Row, Held] = field(default_factory=dict, repr=False)
    _attempts: int = 0
    _decrypted: int = 0

    @property
    def keyed(self) -> bool:
        """Whether there is any key."""
        return self.flash is not None or self.nvs is not None

    def table(self, given: int | None) -> Table | None:
        """The partition table, where it is looked for; decrypted where it has to be."""
        from espcert_formats import partition_table

        found = partition_table.find(self.data, given)
        if found is not None or self.flash is None:
            return found
        # With an address the image may be a bare partition, which is asked first.
        asked = given is not None or self.flash.address is None
        return self.encrypted_table(given) if asked else None

    def encrypted_table(self, given: int | None = None) -> Table | None:
        """The partition table, where it is looked for and only decrypted is one."""
        from espcert_formats import partition_table

        start = given or 0
        if self.flash is None or start % SECTOR:
            return None
        length = partition_table.SEARCH_LIMIT if given is None else SECTOR
        plain = self._decrypt(self.data[start : start + length], start)
        found = partition_table.find(plain, None if given is None else 0)
        if found is None:
            return None
        self.table_sector = plain[found.offset : found.offset + SECTOR]
        return found._replace(offset=start + found.offset)

    def row(self, row: Row, *, insist: bool = False) -> Held:
        """A row's partition, as far as the file holds it.

        Decrypted are flagged rows that may hold credentials; where it is insisted, any row.
        """
        held = self._held.get(row)
        if held is None or insist:
            raw = self.data[row.offset : row.offset + row.size]
            wanted = insist or (row.encrypted and _may_hold_credentials(row))
            if held is None or not held.flash:
                held = self.opened(raw, row.offset if wanted else None)
            self._held[row] = held
        return held

    def opened(self, raw: bytes, address: int | None) -> Held:
        """Bytes in plain text: decrypted at the address where that makes a partition of them."""
        held = self._without_nvs(Held(raw))
        if self.flash is None or address is None or address % 16 or is_known(raw):
            return held
        if is_erased(raw):
            return held
        plain = Held(self._decrypt(raw, address), flash=True)
        return self._without_nvs(plain) if is_known(plain.data) else held

    def _without_nvs(self, held: Held) -> Held:
        if self.nvs is None:
            return held
        from espcert.nvs_encryption import is_encrypted

        if not is_encrypted(held.data):
            return held
        plain = self.nvs.decrypt(held.data)
        return held if is_encrypted(plain) else Held(plain, held.flash, nvs=True)

    def _decrypt(self, raw: bytes, address: int) -> bytes:
        assert self.flash is not None
        self._attempts += 1
        self._decrypted += len(raw)
        if self._attempts > MAX_ATTEMPTS or self._decrypted > MAX_DECRYPTED:
            text = f"over {MAX_ATTEMPTS} partitions or {MAX_DECRYPTED >> 20} MiB may be encrypted"
            raise UnreadableError("several_partitions", f"{text}; --label says which is meant")
        return self.flash.decrypt(raw, address)


def is_known(data: bytes) -> bool:
    """Whether bytes are as a partition's in plain text: they begin as one, or hold an NVS page."""
    if registry.starts(data):
        return True
    from espcert_formats import nvs  # NVS is the most to load: most images are none

    return nvs.has_page(data)


def _may_hold_credentials(row: Row) -> bool:
    """Whether firmware of any age would look into a partition of this row."""
    is_nvs = (row.type, row.subtype) == (items.TYPE_DATA, TYPE_DATA_NVS)
    return is_nvs or row.type == items.TYPE_SECURE_CERT or row.label in LABELS


def why_unopened(reader: Reader, raw: bytes, address: int | None) -> tuple[str, str] | None:
    """Reason code and sentence where a key was applied and nothing recognisable came out."""
    from espcert import unreadable
    from espcert_formats import nvs

    if reader.nvs is not None and nvs.has_page(raw) and nvs.looks_encrypted(raw):
        text = "an NVS partition that is encrypted or random, and the NVS keys do not fit"
        return unreadable.ENCRYPTED, text
    found = unreadable.reason_for(raw)
    if reader.flash is None or is_known(raw) or found.code in unreadable.PLAIN_CODES:
        return None
    where = "" if address is None else f" at {address:#x}"
    hint = "" if address is not None else " (a bare partition needs --flash-address)"
    code = found.code if found.code in unreadable.ENCRYPTED_CODES else unreadable.ENCRYPTED
    text = f"nothing recognisable, as it is or decrypted{where} ({reader.flash.name})"
    return code, f"{text}: {UNFIT}{hint}"
