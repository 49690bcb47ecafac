"""Prove what a partition holds: every check, with all that the user gives to prove it with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from espcert import checks, detection
from espcert.catalogue import ERROR, INFO, WARNING
from espcert.checks.context import Context
from espcert.chips import CHIPS, Chip
from espcert.detection import Reading
from espcert.errors import UsageError
from espcert.findings import SEVERITIES, Finding, worst
from espcert.keys import HMAC_KEY_LENGTH, NO_KEYS, Keys
from espcert_formats.items import Contents

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

    from espcert.efuse import EfuseDump

VERDICT_OK: Final = "ok"
_VERDICTS: Final = {ERROR: ERROR, WARNING: WARNING, INFO: VERDICT_OK}


@dataclass(frozen=True, slots=True)
class Means:
    """What images are proven with, read once for all of them. Made by `means`."""

    at: datetime
    chip: Chip | None = None
    keys: Keys = NO_KEYS
    ca: tuple[Certificate, ...] | None = None
    firmware: tuple[int, int, int] | None = None
    signing_key: PublicKeyTypes | None = None
    key_password: bytes | None = field(default=None, repr=False)

    def context(self, source: Contents | Reading) -> Context:
        """What the checks get to see of one image. Raises UnreadableError where it is none."""
        reading = source if isinstance(source, Reading) else None
        contents = source if isinstance(source, Contents) else source.require()
        return Context(
            contents,
            self.at,
            contradiction=reading.contradiction if reading else None,
            chip=self.chip,
            keys=self.keys,
            ca=self.ca,
            firmware=self.firmware,
            signing_key=self.signing_key,
            key_password=self.key_password,
        )


def means(
    *,
    hmac_key: bytes | None = None,
    efuse: EfuseDump | None = None,
    ca: bytes | None = None,
    at: datetime | None = None,
    chip: str | None = None,
    firmware: str | None = None,
    signing_key: bytes | None = None,
    key_password: bytes | None = None,
) -> Means:
    """Read what the user gives: `ca` and `signing_key` are the contents of files, PEM or DER.

    `hmac_key` is 32 bytes. `at` without a time zone is UTC, None is now. Raises UsageError for
    what is not what it should be.
    """
    if chip is not None and chip not in CHIPS:
        raise UsageError("unknown-chip", f"{chip!r}: none of {', '.join(CHIPS)}")
    if hmac_key is not None and len(hmac_key) != HMAC_KEY_LENGTH:
        raise UsageError(
            "bad-hmac-key", f"an HMAC key of {len(hmac_key)} bytes, expected {HMAC_KEY_LENGTH}"
        )
    return Means(
        at=_aware(at),
        chip=CHIPS[chip] if chip else None,
        keys=Keys(hmac_key, efuse),
        ca=None if ca is None else _certificates(ca),
        firmware=None if firmware is None else _version(firmware),
        signing_key=None if signing_key is None else _signing_key(signing_key),
        key_password=key_password,
    )


def _aware(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(timezone.utc)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _certificates(data: bytes) -> tuple[Certificate, ...]:
    from espcert import certificates

    found = certificates.parse(data)
    if not found:
        raise UsageError("bad-certificate", "--ca: no X.509 certificate (PEM, one or many, or DER)")
    return found


def _version(text: str) -> tuple[int, int, int]:
    from espcert.firmware import parse_version

    return parse_version(text)


def _signing_key(data: bytes) -> PublicKeyTypes:
    from espcert import keypairs

    key = keypairs.load_public_key(data)
    if key is None:
        raise UsageError(
            "bad-signing-key", "--signing-key: neither a public nor a private key (PEM or DER)"
        )
    return key


def verify(
    contents: Contents | Reading,
    *,
    hmac_key: bytes | None = None,
    efuse: EfuseDump | None = None,
    ca: bytes | None = None,
    at: datetime | None = None,
    chip: str | None = None,
    firmware: str | None = None,
    signing_key: bytes | None = None,
    key_password: bytes | None = None,
) -> list[Finding]:
    """All findings on what a partition holds, worst first; the arguments are those of `means`.

    A Reading also tells whether the label that was given fits. Raises UsageError for an argument
    that is not what it should be, UnreadableError for a Reading of no known layout.
    """
    given = means(
        hmac_key=hmac_key,
        efuse=efuse,
        ca=ca,
        at=at,
        chip=chip,
        firmware=firmware,
        signing_key=signing_key,
        key_password=key_password,
    )
    return findings(contents, given)


def findings(source: Contents | Reading, given: Means) -> list[Finding]:
    """All findings on one image, worst first, in each severity in the order of the checks."""
    found = checks.run(given.context(source))
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def verdict(found: list[Finding], *, strict: bool = False) -> str:
    """`ok`, `warning` or `error`: the worst finding; with `strict` a warning is an error."""
    result = _VERDICTS[worst(found)]
    return ERROR if strict and result == WARNING else result


def to_json(reading: Reading, found: list[Finding], *, strict: bool = False) -> dict[str, Any]:
    """The object of `espcert verify --json`, without `schema` and `file`."""
    return detection.to_json(reading) | {
        "verdict": verdict(found, strict=strict),
        "findings": [finding.to_json() for finding in found],
    }
