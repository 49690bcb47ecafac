"""The library's own calls for each image below a directory, in one process: what a fleet adds to.

python -m tests.bench.library_loop audit|migrate DUMPS [HMAC_KEYS]

Each module has an HMAC key file of its own, if any, which the single verbs open, too.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import espcert
from espcert import migration, verification

AT: Final = datetime(2026, 6, 1, tzinfo=timezone.utc)


def audit(path: Path, keys: Path | None, _: Path) -> None:
    """Detect and verify."""
    reading = espcert.detect(espcert.open_image(path))
    if reading.contents is not None:
        espcert.verify(reading, at=AT, hmac_key=_key(path, keys))


def migrate(path: Path, keys: Path | None, folder: Path) -> None:
    """Detect, migrate, and write what is not refused."""
    reading = espcert.detect(espcert.open_image(path))
    if reading.contents is None:
        return
    means = verification.means(at=AT, hmac_key=_key(path, keys))
    result = espcert.migrate(reading, migration.Options(means=means))
    if not result.refused:
        espcert.save(result, folder / path.name)


def _key(path: Path, keys: Path | None) -> bytes | None:
    return None if keys is None else espcert.open_hmac_key(keys / path.name)


def main(verb: str, dumps: str, keys: str | None = None) -> None:
    """Do it for all."""
    directory = None if keys is None else Path(keys)
    folder = Path(dumps).parent / "single"
    folder.mkdir()
    for path in sorted(Path(dumps).rglob("*.bin")):
        (audit if verb == "audit" else migrate)(path, directory, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
