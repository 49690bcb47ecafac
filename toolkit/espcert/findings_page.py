"""The catalogue of findings as a page: docs/findings.md and `espcert verify --list-findings`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from espcert.catalogue import SUBJECTS, Kind

_INTRODUCTION: Final = """\
# Findings

What `espcert verify` can say of an image, by subject. Codes are stable: scripts may build on
them. An *error* means that something does not work (exit code 1), a *warning* that somebody
should look at it (`--strict` counts it as an error), *info* that it is worth knowing.
`espcert migrate` refuses errors unless `--accept CODE` takes them.

This page is made from the code by `espcert verify --list-findings`.

SCM is espressif/esp_secure_cert_mgr at 2296511 (v2.9.3), IDF is espressif/esp-idf at 102122904ad.
"Seen" means that the unmodified reader of the component, compiled for a host, was seen to do it.
"""


def page() -> str:
    """The page, as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for subject, rows in SUBJECTS.items():
        yield f"## {subject}"
        yield ""
        for row in rows:
            yield from _entry(row)


def _entry(row: Kind) -> Iterator[str]:
    other = f", in `migrate` {row.migration}" if row.migration else ""
    yield f"### {row.code}"
    yield ""
    yield f"**{row.severity}{other}.** {row.meaning}"
    yield ""
    yield f"- To do: {row.hint}."
    if row.accepted:
        yield f"- With `migrate --accept {row.code}`: {row.accepted}."
    yield f"- Source: {row.source}."
    yield ""
