"""The codes of records' errors: docs/fleet.md lists what the code can say, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support import ROOT

import espcert
from espcert import unreadable

MODULES: Final = (
    *("fleet/work", "fleet/storage", "fleet/remote", "confined", "csv_material", "decryption"),
    *("detection", "unreadable", "image", "efuse", "files", "flash_encryption", "nvs_encryption"),
    *("keys", "migration", "opening", "pem_directory", "verification"),
)
"""Where the work on one image can end."""

EXIT_CODES: Final = {
    "RefusedError": 1,
    "UsageError": 2,
    "UnreadableError": 3,
    "FileError": 4,
    "Reason": 3,
}
OF_RUNS: Final = {
    *("bad-certificate", "bad-options", "bad-signing-key", "no-password", "unknown-chip"),
    *("bad-crypt-conf", "bad-output", "bad-scheme", "bad-url"),
}
"""Told before any image is looked at."""


def raised() -> Iterator[tuple[str, int]]:
    """Code and exit code of each error that the modules make with a literal code."""
    top = Path(espcert.__file__).parent
    for name in MODULES:
        for node in ast.walk(ast.parse((top / f"{name}.py").read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=made), args=[ast.Constant(value=str(code)), *_]):
                    if made in EXIT_CODES:
                        yield code, EXIT_CODES[made]
    for code in unreadable.ENCRYPTED_CODES:
        yield code, 3


def documented() -> set[tuple[str, int]]:
    text = (ROOT / "docs" / "fleet.md").read_text("utf-8")
    section = text[text.index("### Errors") :].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \| ([0-9, ]+) \|", section, re.MULTILINE)
    return {
        (code, int(number))
        for codes, numbers in rows
        for code in re.findall("`(.*?)`", codes)
        for number in numbers.split(",")
    }


def test_every_code_of_an_error_is_documented_with_its_exit_code() -> None:
    of_records = {one for one in raised() if one[0] not in OF_RUNS}
    others = {("refused", 1), ("bug", 70), ("worker-died", 70)}
    assert documented() == of_records | others
