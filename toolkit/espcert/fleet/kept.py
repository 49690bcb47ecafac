"""The files of a run that nothing which it writes may replace, whatever is forced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from espcert import files
from espcert.errors import UsageError
from espcert.fleet import manifest, places, walk
from espcert.fleet.journal import Journal, files_of, naming
from espcert.fleet.settings import Request
from espcert.fleet.sources import LIST_MARK

_NEVER: Final = "it is never replaced"
JOURNAL: Final = f"is the journal; {_NEVER}"
SOURCE: Final = "is a source; inputs are never changed"
KEY: Final = f"is a key that a manifest names; {_NEVER}"
OUTPUT: Final = "is an output of this run"
_HMAC_KEY: Final = f"is an HMAC key of --hmac-keys; {_NEVER}"
_KEY_ENDINGS: Final = (".bin", ".hex")


class Kept:
    """Files by their places and, where they are there, by their identities."""

    def __init__(self, named: Iterable[tuple[str, str]], hmac_keys: str | None = None) -> None:
        self._places: dict[str, str] = {}
        self._identities: dict[walk.Identity, str] = {}
        for path, why in named:
            self._places.setdefault(files.place_of(Path(path)), why)
            self._identities = walk.identities([path], why) | self._identities
        self._directory = None if hmac_keys is None else walk.identity_at(hmac_keys)

    def why_not(self, path: str) -> str | None:
        """Why a path is nothing to write to, None where it is."""
        return self._places.get(files.place_of(Path(path))) or self.why_not_replaced(path)

    def why_not_replaced(self, path: str) -> str | None:
        """The same for a file that is there; without resolving its path, for a million of them."""
        identity = walk.identity_at(path)
        if identity in self._identities:
            return self._identities[identity]
        if self._directory is None or not path.endswith(_KEY_ENDINGS):
            return None
        return _HMAC_KEY if walk.identity_at(places.parent(path)) == self._directory else None


def of_journals(journals: Sequence[Path]) -> Kept:
    """Journals, with what SQLite puts beside them."""
    return Kept((str(file), JOURNAL) for path in journals for file in files_of(path))


def of_request(request: Request, journal: Path | None) -> Kept:
    """All files that a run was told of; not yet what its lists, manifests and patterns name."""
    task = request.task
    given = [
        *(() if journal is None else ((str(file), JOURNAL) for file in files_of(journal))),
        *((name, f"is the CA file; {_NEVER}") for name in task.ca),
        (task.signing_key, f"is the signing key; {_NEVER}"),
        (task.key_password, f"is the key's password; {_NEVER}"),
        *_arguments(request.arguments),
    ]
    return Kept(((name, why) for name, why in given if name is not None), task.hmac_keys)


def _arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for argument in map(places.plain, arguments):
        name = argument.removeprefix(LIST_MARK)
        if os.path.isfile(argument):  # noqa: PTH113 - it never raises
            yield argument, _NAMED[manifest.is_manifest(argument)]
        elif name != argument and os.path.isfile(name):  # noqa: PTH113
            yield name, _LISTED[manifest.is_manifest(name, listed=True)]


_MANIFEST: Final = f"is a manifest; {_NEVER}"
_NAMED: Final = {False: SOURCE, True: _MANIFEST}
_LISTED: Final = {False: f"is a list of sources; {_NEVER}", True: _MANIFEST}


def refuse(paths: Iterable[Path], kept: Kept) -> None:
    """Raise UsageError where one of the reports would take the place of such a file."""
    for path in paths:
        why = kept.why_not(str(path))
        if why is not None:
            raise UsageError("output-is-input", f"{path} {why}")


def refuse_sources(paths: Iterable[Path], journal: Journal) -> None:
    """Raise UsageError where one of the reports is a source of the journal."""
    with naming(journal.path):
        found = next((path for path in paths if is_source(journal, str(path))), None)
    if found is not None:
        raise UsageError("output-is-input", f"{found} {SOURCE}")


def is_source(journal: Journal, path: str) -> bool:
    """Whether a file is one of the sources, by whatever path."""
    identity = walk.identity_at(path)
    if identity is None:
        return False
    query = "SELECT source FROM sources WHERE inode = ? AND run = ?"
    given = ("{}:{}".format(*identity), journal.fact("run"))
    rows = journal.database.execute(query, given).fetchall()
    if not rows:
        # The options hold all arguments: too much to be read for each of a million outputs.
        return False
    top = (journal.fact("options") or {}).get("directory", "")
    # The file that had the number may have gone since, and the number to another one.
    named = (os.path.join(top, os.fsdecode(row["source"])) for row in rows)  # noqa: PTH118
    return any(walk.identity_at(name) == identity for name in named)


@contextmanager
def known_keys(journal: Journal, run: int) -> Iterator[None]:
    """Have the identities of the keys that manifests name at hand, for `is_key`, on disk."""
    database = journal.database
    named = " OR ".join(f"json_type(spec, '$.{name}') IS NOT NULL" for name in manifest.KEYS)
    query = f"SELECT spec FROM sources WHERE run = ? AND ({named})"
    database.execute("CREATE TEMP TABLE keys (inode TEXT PRIMARY KEY) WITHOUT ROWID")
    specs = (json.loads(row[0]) for row in database.execute(query, (run,)))
    paths = (spec[name] for spec in specs for name in manifest.KEYS if name in spec)
    found = (identity for path in paths if (identity := walk.identity_at(path)) is not None)
    rows = (("{}:{}".format(*identity),) for identity in found)
    database.executemany("INSERT OR IGNORE INTO keys VALUES (?)", rows)
    yield
    # Not in a `finally`: an error rolls all back, and would be hidden by one of open cursors.
    database.execute("DROP TABLE keys")


def is_key(journal: Journal, path: str) -> bool:
    """Whether a file is a key that a manifest names; inside `known_keys`."""
    identity = walk.identity_at(path)
    query = "SELECT 1 FROM keys WHERE inode = ?"
    key = "" if identity is None else "{}:{}".format(*identity)
    return journal.database.execute(query, (key,)).fetchone() is not None
