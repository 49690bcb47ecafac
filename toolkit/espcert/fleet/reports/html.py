"""The HTML report: one file that needs no network, to be read by someone who was not there.

All figures and the table of findings are written here, so that they are there without scripts;
the page's script draws the charts from these tables and unpacks the rows of the modules. The
content security policy of the page names every script and style by its digest and allows nothing
else, neither requests nor evaluation. Strings from records are escaped by Jinja2, or travel as
JSON inside base64 and become text nodes; what is not printable is shown as `\\xNN`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from espcert import files
from espcert.catalogue import ERROR as SEVERE
from espcert.catalogue import WARNING as WARNS
from espcert.detection import KEY_WORDS
from espcert.errors import UsageError
from espcert.fleet.reports import Report, embedding, figures, reasons, wording
from espcert.fleet.reports.figures import Figures
from espcert.text import printable

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

HERE: Final = Path(__file__).parent
TEMPLATES: Final = HERE / "templates"
STATIC: Final = HERE / "static"
SCRIPTS: Final = (STATIC / "chart.min.js", STATIC / "tabulator.min.js", TEMPLATES / "page.js")
STYLES: Final = (STATIC / "tabulator.min.css", TEMPLATES / "page.css")
LICENCES: Final = tuple(sorted(STATIC.glob("*.LICENSE")))

_JUDGED: Final = tuple(state for state in reversed(wording.STATES) if state != wording.SKIPPED)
"""What can be said of a module that was looked at, the best first."""

_PLACES: Final = ("sources", "directory")
"""Options of a run that are no options of the command line."""

_FEW: Final = 10
"""Values of one option that are shown."""

_LIMITS: Final[dict[str, Any]] = {
    "max_steps": 6,
    "chart_bars": 12,
    "max_shared": 100,
    "max_sources": 8,
}
"""How many things to do next, bars of findings, findings between modules, and modules of one."""

_SOURCE_MAP: Final = re.compile(r"\n(//|/\*)# sourceMappingURL=[^\n]*\n?$")


def write(
    report: Report, path: Path, *, force: bool = False, full_report: str | None = None
) -> None:
    """Write the page, complete or not at all.

    `full_report` is the name of a report that holds every record; it is named where not all rows
    fit into this one. Raises UsageError where Jinja2 is missing or the file exists without
    `force`, FileError where it cannot be written.
    """
    files.write_atomically(path, page(report, full_report=full_report), force=force)


def page(
    report: Report, *, full_report: str | None = None, limit: int = embedding.MAX_ROWS
) -> bytes:
    """The page, UTF-8, with at most `limit` rows. Raises UsageError where Jinja2 is missing."""
    environment = _environment()
    header = report.header
    migrates = header["verb"] == "migrate"
    words = wording.STATE_WORDS["migrate" if migrates else "audit"]
    counted = figures.count(header, report.across, reasons.records(report))
    judged = functools.partial(reasons.records, report)
    rows = embedding.embed(judged, report.across, counted, words, limit)
    told = _assets() | _LIMITS | _pictures(counted) | {"header": header, "words": words}
    text = environment.get_template("page.html.j2").render(
        told,
        facts=list(_facts(header)),
        meanings=wording.MIGRATED_MEANINGS if migrates else wording.STATE_MEANINGS,
        shared=sorted(report.across, key=lambda finding: -finding["count"]),
        groups=max(len(report.across), sum((header.get("across") or {}).values())),
        rows=rows,
        full_report=full_report,
    )
    return text.encode("utf-8")


def _pictures(counted: Figures) -> dict[str, Any]:
    """What the first screen and the charts show."""
    return {
        "figures": counted,
        "states": [state for state in _JUDGED if counted.states[state]],
        "bar": list(_bar(counted)),
        "steps": [group for group in counted.sorted_groups if group.asks],
        "severities": (SEVERE, WARNS),
        "old_layouts": _old_layouts(counted),
        "key_words": {**KEY_WORDS, figures.NOT_READ: "image not read"},
    }


def _environment() -> jinja2.Environment:
    """Jinja2 with escaping on, and nothing unprintable let through."""
    try:
        import jinja2
    except ImportError as error:
        text = "an HTML report needs Jinja2: pip install 'espcert[report]'"
        raise UsageError("missing-extra", text) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    environment.filters |= {
        "prose": _prose,
        "number": "{:,}".format,
        "sentence": _sentence,
    }
    return environment


def _finalized(value: object) -> object:
    """Plain strings made printable; what is marked as safe was made here and stays as it is."""
    return printable(value) if type(value) is str else value


def _prose(text: str) -> Markup:
    """A sentence of a catalogue: escaped, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = [escape(printable(part)) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


def _sentence(text: str) -> str:
    """A hint as a sentence."""
    closed = text if text.endswith((".", "!", "?")) else f"{text}."
    return closed if text.startswith("`") else closed[:1].upper() + closed[1:]


@functools.cache
def _assets() -> dict[str, Any]:
    """Scripts, styles and the policy that allows them, and nothing else."""
    from markupsafe import Markup, escape

    scripts, styles = [_inline(path) for path in SCRIPTS], [_inline(path) for path in STYLES]
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_digest, scripts))}",
            f"style-src {' '.join(map(_digest, styles))}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return {
        "policy": Markup(policy),
        "scripts": [Markup(text) for text in scripts],
        "styles": [Markup(text) for text in styles],
        "licences": [escape(path.read_text("utf-8")) for path in LICENCES],
    }


def _inline(path: Path) -> str:
    """A file as it stands in the page: without the reference to a source map, which is not there.

    Line ends are those that the browser makes of them, or the digest would be another one.
    """
    return _SOURCE_MAP.sub("\n", path.read_bytes().decode("utf-8").replace("\r\n", "\n"))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"


def _bar(counted: Figures) -> Iterator[tuple[str, float, float]]:
    """The bar of the first screen: (state, start, width) in percent, the best first."""
    start = 0.0
    for state in _JUDGED:
        width = 100 * counted.states[state] / max(counted.total, 1)
        if width:
            yield state, round(start, 3), round(width, 3)
        start += width


def _old_layouts(counted: Figures) -> int:
    """Modules in a layout that today's firmware reads with legacy support only, or not at all."""
    return sum(
        number
        for (layout, _), number in counted.layouts.items()
        if layout not in ("tlv", figures.NOT_READ)
    )


def _facts(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the report was made of, and by what."""
    yield "Made by", f"{header['tool']} {header['version']}, espcert fleet {header['verb']}"
    yield "Clock", f"{header['at']} (validity of certificates is judged at this moment)"
    for name, key in (("Started", "started"), ("Finished", "finished")):
        if header.get(key):
            yield name, str(header[key])
    yield "Journal, SHA-256", header.get("journal_sha256") or "no journal was kept"
    options = header.get("options") or {}
    for name in _PLACES:
        if options.get(name):
            yield name.capitalize(), _value(options[name])
    given = {name: value for name, value in options.items() if name not in _PLACES}
    yield "Options", ", ".join(_options(given)) or "none"
    left_out = header.get("skipped") or {}
    if left_out:
        counts = ", ".join(f"{number:,} {reason}" for reason, number in sorted(left_out.items()))
        yield "Files left out", counts


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    """The options that were given, as on the command line."""
    for name, value in sorted(options.items()):
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            yield flag
        elif value is not None and value is not False and value not in ([], ""):
            yield f"{flag} {_value(value)}"


def _value(value: object) -> str:
    """What an option was given, in few words."""
    if not isinstance(value, list):
        return str(value)
    rest = f" and {len(value) - _FEW:,} more" if len(value) > _FEW else ""
    return ", ".join(map(str, value[:_FEW])) + rest
