"""The exact report for tables of a million rows: Parquet with typed columns (pyarrow)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from espcert import files
from espcert.fleet.reports import Report

if TYPE_CHECKING:
    import pyarrow

ROWS: Final = 10_000
"""Records of a row group: as many as are in memory at once."""

_TEXTS: Final = (
    *("source", "id", "status", "container", "layout", "key", "revision", "label", "chip_family"),
    *("reason", "reason_code", "verdict", "output", "flash_command", "input_sha256"),
    *("output_sha256", "input_version", "subject", "serial", "key_sha256"),
    *("table_output", "plan_output"),
)
_NUMBERS: Final = ("exit_code", "input_size", "efuse_key_id")
_LISTS: Final = ("evidence", "changes", "names")
_JSON: Final = ("items", "partition_table", "fingerprints")
"""Fields of many forms, which are kept as JSON."""


def write(report: Report, path: Path, *, force: bool = False) -> None:
    """Write a row for each record; the run and what modules share are the file's metadata."""
    import pyarrow
    from pyarrow import parquet

    known = {"espcert": json.dumps(dict(report.header)), "across": json.dumps(list(report.across))}
    schema = _schema().with_metadata(known)
    with (
        files.written_atomically(path, force=force) as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        records = iter(report.records())
        while rows := [_row(record) for record in itertools.islice(records, ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    partition = [(name, number) for name in ("file_offset", "size", "type", "subtype")]
    finding = [(name, text) for name in ("code", "severity", "message", "item", "hint")]
    return pa.schema(
        [
            ("schema", number),
            *((name, text) for name in _TEXTS),
            *((name, number) for name in _NUMBERS),
            *((name, pa.list_(text)) for name in _LISTS),
            *((name, text) for name in _JSON),
            ("partition", pa.struct([*partition, ("encrypted", pa.bool_())])),
            ("findings", pa.list_(pa.struct([*finding, ("offset", number)]))),
            ("error", pa.struct([("code", text), ("message", text)])),
            ("proven", pa.bool_()),
            ("output_encrypted", pa.bool_()),
            ("not_after", pa.timestamp("s", tz="UTC")),
            ("duration_ms", pa.float64()),
        ]
    )


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: _storable(value) for name, value in record.items()}
    for name in _JSON:
        if name in record:
            row[name] = json.dumps(record[name])
    end = record["not_after"]
    row["not_after"] = None if end is None else datetime.fromisoformat(end.replace("Z", "+00:00"))
    return row


def _storable(value: Any) -> Any:
    """Paths that are no Unicode get escapes: Parquet's text is UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
