"""Releases of esp_secure_cert_mgr, the component by which firmware reads the partition."""

from __future__ import annotations

import re
from typing import Final

from espcert.errors import UsageError

Version = tuple[int, int, int]

RELEASES: Final[tuple[Version, ...]] = (
    *((1, 0, patch) for patch in range(4)),
    *((2, 0, patch) for patch in range(9)),
    (2, 1, 0),
    (2, 2, 0),
    (2, 2, 1),
    (2, 3, 0),
    (2, 3, 1),
    (2, 4, 0),
    (2, 4, 1),
    (2, 5, 0),
    (2, 5, 1),
    (2, 6, 0),
    (2, 6, 1),
    (2, 7, 0),
    (2, 7, 1),
    (2, 7, 2),
    (2, 8, 0),
    (2, 8, 1),
    (2, 9, 0),
    (2, 9, 1),
    (2, 9, 2),
    (2, 9, 3),
)
"""All releases, oldest first; 2.4.0 was withdrawn. Source: SCM 2296511, Changelog.md."""

FIRST: Final = RELEASES[0]
LATEST: Final = RELEASES[-1]
"""The last release of which anything is known."""

_NUMBERS: Final = r"v?([0-9]{1,5})\.([0-9]{1,5})(?:\.([0-9]{1,5}))?"


def parse_version(text: str) -> Version:
    """The version that a text names: `2.4.1`, `v2.4.1`, or `2.4` for 2.4.0.

    Versions that were never released are taken too. Raises UsageError for what is no version,
    and for one below 1.0.0.
    """
    found = re.fullmatch(_NUMBERS, text.strip())
    if found is None:
        raise UsageError("bad-firmware", f"{text!r}: no version of esp_secure_cert_mgr like 2.4.1")
    major, minor, patch = (int(number or 0) for number in found.groups())
    if (major, minor, patch) < FIRST:
        raise UsageError("bad-firmware", f"{text!r}: the first release is {version_text(FIRST)}")
    return major, minor, patch


def version_text(version: Version) -> str:
    """A version as people write it."""
    return ".".join(str(number) for number in version)
