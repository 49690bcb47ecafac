"""The report for code scanning: SARIF 2.1.0 (OASIS), written as it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from espcert import files
from espcert.catalogue import CATALOGUE
from espcert.fleet import places
from espcert.fleet.reports import Report, reasons

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Final = {"error": "error", "warning": "warning"}
"""By severity; what is only worth knowing is no result."""

_IN_NAMES: Final = "/:"
_RESERVED: Final = "/:@[]?&=;,+$!*'()~"
"""Characters of a URL that are not encoded: in names of a store, and on the web."""

Object = dict[str, Any]


def write(report: Report, path: Path, *, force: bool = False) -> None:
    """Write one run with a result for each error, warning and module without an answer."""
    with files.written_atomically(path, force=force) as file:
        head = {"$schema": SCHEMA, "version": "2.1.0"}
        file.write(f'{json.dumps(head)[:-1]}, "runs": [{{"results": ['.encode())
        rules: dict[str, int] = {}
        for number, result in enumerate(_results(report)):
            result["ruleIndex"] = rules.setdefault(result["ruleId"], len(rules))
            file.write((",\n" if number else "\n").encode() + json.dumps(result).encode())
        rest = _rest(report.header, rules)
        file.write(f"], {json.dumps(rest)[1:]}]}}\n".encode())


def _results(report: Report) -> Iterator[Object]:
    for record in reasons.records(report):
        for finding in record["findings"]:
            if finding["severity"] in _LEVELS:
                place = _place(record, finding["offset"])
                yield _result(finding["code"], finding["severity"], finding["message"], [place])
        error = record.get("error")
        if error is not None and error["code"] != "refused":
            yield _result(error["code"], "error", error["message"], [_place(record, None)])
    for shared in report.across:
        places = [{"physicalLocation": _artifact(name)} for name in shared["sources"]]
        yield _result(shared["code"], shared["severity"], shared["message"], places)


def _result(code: str, severity: str, message: str, places: list[Object]) -> Object:
    return {
        "ruleId": code,
        "level": _LEVELS[severity],
        "message": {"text": message},
        "locations": places,
    }


def _place(record: Mapping[str, Any], offset: int | None) -> Object:
    """A file, and where in it, counted from its start and not the partition's."""
    place = _artifact(record["source"])
    partition = record["partition"]
    if offset is not None and partition is not None and partition["file_offset"] is not None:
        place["region"] = {"byteOffset": partition["file_offset"] + offset, "byteLength": 0}
    return {"physicalLocation": place}


def _artifact(source: str) -> Object:
    return {"artifactLocation": {"uri": _uri(source)}}


def _uri(source: str) -> str:
    """A relative reference, or a URI of an absolute path. Source: RFC 3986, RFC 8089."""
    if places.is_url(source):
        scheme, _, rest = source.partition(places.MARK)
        # Names on the web are encoded as they are; those of stores are plain.
        safe = _RESERVED + "%" if scheme in ("http", "https") else _IN_NAMES
        return f"{scheme}{places.MARK}{quote(os.fsencode(rest), safe)}"
    plain = quote(os.fsencode(source.replace(os.sep, "/")))
    if os.path.isabs(source):  # noqa: PTH117 - of a million paths
        return f"file://{plain if plain.startswith('/') else '/' + plain}"
    return plain


def _rest(header: Mapping[str, Any], rules: Iterable[str]) -> Object:
    driver = {
        "name": header["tool"],
        "semanticVersion": header["version"],
        "rules": [_rule(code) for code in rules],
    }
    return {
        "tool": {"driver": driver},
        "invocations": [_invocation(header)],
        "properties": {"fleet": dict(header)},
    }


def _invocation(header: Mapping[str, Any]) -> Object:
    """Not successful where the run did not come to its end."""
    end = {} if header["finished"] is None else {"endTimeUtc": header["finished"]}
    return {"executionSuccessful": not header["left"]} | end


def _rule(code: str) -> Object:
    row = CATALOGUE.get(code)
    if row is None:
        return {"id": code, "shortDescription": {"text": "The image gave no answer."}}
    return {
        "id": code,
        "shortDescription": {"text": row.meaning},
        "help": {"text": row.hint},
    }
