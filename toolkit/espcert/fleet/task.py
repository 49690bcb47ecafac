"""What is asked of a fleet: the images, and what is to be done with each of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

AUDIT: Final = "audit"
MIGRATE: Final = "migrate"

MAX_SIZE: Final = 128 * 1024 * 1024
"""Bytes of the largest flash of these modules: what is larger is no dump of one."""


class Source(NamedTuple):
    """One image of a fleet, as it is handed to a worker; key files by their paths alone.

    `flash_address` is where in flash an encrypted bare partition lies.
    `named` tells whether it was named or found by looking through a directory. `output` is the
    file to write, `ours` the digest of what an earlier run wrote there. `known` is the digest of
    the bytes for which there is a record already. `problem` is why it cannot be read.
    """

    path: str
    id: str
    named: bool = True
    label: str | None = None
    chip: str | None = None
    hmac_key: str | None = None
    efuse: str | None = None
    flash_encryption_key: str | None = None
    flash_address: int | None = None
    nvs_keys: str | None = None
    output: str | None = None
    ours: str | None = None
    known: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with every image, in a form that any process can be sent.

    `at` is the clock. `ca`, `signing_key` and `key_password` are files, `hmac_keys` a directory
    of STEM.bin and STEM.hex. `expires_within` is in days, `max_size` in bytes. Those from `size` on
    are for migrations. `mark` is part of the names of temporary files; `run` counts the starts of
    the journal with that mark.
    """

    verb: str
    at: datetime
    chip: str | None = None
    label: str | None = None
    table_offset: int | None = None
    hmac_keys: str | None = None
    ca: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()
    signing_key: str | None = None
    key_password: str | None = None
    strict: bool = False
    require_proof: bool = False
    expires_within: int | None = None
    max_size: int = MAX_SIZE
    size: int | None = None
    accept: tuple[str, ...] = ()
    integrity: bool = True
    partition_only: bool = False
    encrypted: bool | None = None
    force: bool = False
    mark: str = ""
    run: int = 0
