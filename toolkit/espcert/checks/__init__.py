"""Checks: small functions from a context to findings, one module a subject."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final

from espcert.checks import (
    certificates,
    ds,
    ecdsa,
    encoding,
    firmware,
    flash_table,
    hmac,
    private_key,
    seals,
    structure,
    whose_key,
)
from espcert.checks.context import Context
from espcert.findings import Finding
from espcert.quiet import no_warnings

CHECKS: Final[tuple[Callable[[Context], Iterator[Finding]], ...]] = (
    structure.check,
    flash_table.check,
    encoding.check,
    certificates.check,
    private_key.check,
    ds.check,
    hmac.check,
    ecdsa.check,
    seals.check,
    firmware.check,
)
"""All checks, in the order in which their findings are told."""


def run(context: Context) -> list[Finding]:
    """All findings on an image that was read."""
    with no_warnings():
        found = [finding for check in CHECKS for finding in check(context)]
        sorted_out = whose_key.sort_out(context, found)
        if context.contents.traits.placed:
            return list(sorted_out)
        return [dataclasses.replace(finding, offset=None) for finding in sorted_out]
