"""Prove what a partition holds: every check, with all that the user gives to prove it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from espcert import checks, detection
from espcert.catalogue import ERROR, INFO, WARNING
from espcert.checks import firmware as firmware_check
from espcert.checks.context import Context
from espcert.chips import CHIPS, Chip
from espcert.detection import Reading
from espcert.errors import UsageError
from espcert.findings import SEVERITIES, Finding, worst
from espcert.keys import HMAC_KEY_LENGTH, NO_KEYS, Keys
from espcert_formats import items as kinds
from espcert_formats.items import Contents

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

    from espcert.efuse import EfuseDump
    from espcert.firmware import Version

VERDICT_OK: Final = "ok"
_VERDICTS: Final = {ERROR: ERROR, WARNING: WARNING, INFO: VERDICT_OK}


@dataclass(frozen=True, slots=True)
class Means:
    """What images are proven with, read once for all of them. Made by `means`."""

    at: datetime
    chip: Chip | None = None
    keys: Keys = NO_KEYS
    ca: tuple[Certificate, ...] | None = None
    firmware: tuple[Version, ...] = ()
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
            firmware=self.firmware[0] if self.firmware else None,
            signing_key=self.signing_key,
            key_password=self.key_password,
            image=reading.image if reading else None,
        )


def means(
    *,
    hmac_key: bytes | None = None,
    efuse: EfuseDump | None = None,
    ca: bytes | Sequence[bytes] | None = None,
    at: datetime | None = None,
    chip: str | None = None,
    firmware: str | Sequence[str] | None = None,
    signing_key: bytes | None = None,
    key_password: bytes | None = None,
) -> Means:
    """Read what the user gives: `ca` and `signing_key` are the contents of files, PEM or DER.

    `hmac_key` is 32 bytes. `at` without a time zone is UTC, None is now. `firmware` is one version
    or several. Where `chip` is not given, it is that of the eFuse dump, if the dump tells. Raises
    UsageError for what is not what it should be.
    """
    if chip is not None and chip not in CHIPS:
        raise UsageError("unknown-chip", f"{chip!r}: none of {', '.join(CHIPS)}")
    if hmac_key is not None and not any(hmac_key):
        raise UsageError("bad-hmac-key", "an HMAC key of zeros, as a protected eFuse block reads")
    if chip is None and efuse is not None:
        chip = efuse.chip
    if hmac_key is not None and len(hmac_key) != HMAC_KEY_LENGTH:
        raise UsageError(
            "bad-hmac-key", f"an HMAC key of {len(hmac_key)} bytes, expected {HMAC_KEY_LENGTH}"
        )
    return Means(
        at=_aware(at),
        chip=CHIPS[chip] if chip else None,
        keys=Keys(hmac_key, efuse),
        ca=None if ca is None else _certificates([ca] if isinstance(ca, bytes) else ca),
        firmware=_versions([firmware] if isinstance(firmware, str) else firmware or ()),
        signing_key=None if signing_key is None else _signing_key(signing_key),
        key_password=key_password,
    )


def _aware(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(timezone.utc)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


def _certificates(files: Sequence[bytes]) -> tuple[Certificate, ...]:
    from espcert import certificates

    found: list[Certificate] = []
    for data in files:
        parsed = certificates.parse(data)
        if not parsed:
            text = "no X.509 certificate (PEM, one or many, or DER)"
            raise UsageError("bad-certificate", f"--ca: {text}")
        found += parsed
    return tuple(found)


def _versions(texts: Sequence[str]) -> tuple[Version, ...]:
    from espcert.firmware import parse_version

    return tuple(parse_version(text) for text in texts)


def _signing_key(data: bytes) -> PublicKeyTypes:
    from espcert import keypairs

    key = keypairs.load_public_key(data)
    if key is None:
        found = "neither a public nor a private key (PEM or DER)"
        if keypairs.is_encrypted(data):
            found = "a private key under a password; its public key is enough"
        raise UsageError("bad-signing-key", f"--signing-key: {found}")
    return key


def verify(
    contents: Contents | Reading,
    *,
    hmac_key: bytes | None = None,
    efuse: EfuseDump | None = None,
    ca: bytes | Sequence[bytes] | None = None,
    at: datetime | None = None,
    chip: str | None = None,
    firmware: str | Sequence[str] | None = None,
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
    context = given.context(source)
    found = checks.run(context)
    for version in given.firmware[1:]:
        found += firmware_check.check(dataclasses.replace(context, firmware=version))
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


UNPROVEN: Final = frozenset(
    {"key-encrypted", "key-not-proven", "ds-not-proven", "ecdsa-not-proven", "hmac-not-proven"}
)
"""Codes that say of a private key that nothing is known of it."""

PROVEN: Final = frozenset(
    {"issuer-proven", "key-proven", "ds-proven", "ecdsa-proven", "hmac-proven"}
)
"""Codes that say that a certificate or a private key is what it should be."""


def is_proven(contents: Contents, found: Iterable[Finding]) -> bool | None:
    """Whether every private key was proven; None where there is none."""
    if detection.key_of(contents) == detection.KEY_NONE:
        return None
    shown = list(found)
    wrong = any(finding.severity == ERROR and _is_of_key(finding) for finding in shown)
    return not wrong and not any(finding.code in UNPROVEN for finding in shown)


def _is_of_key(finding: Finding) -> bool:
    kind = (finding.item or "").partition("[")[0]
    return kind == kinds.PRIVATE_KEY or kind in kinds.DS_MATERIAL


def verdict(found: Iterable[Finding], *, strict: bool = False, proof: bool = False) -> str:
    """`ok`, `warning` or `error`: the worst finding.

    With `strict` a warning counts as an error, with `proof` also a key that is not proven.
    """
    shown = list(found)
    result = _VERDICTS[worst(shown)]
    unproven = proof and any(finding.code in UNPROVEN for finding in shown)
    return ERROR if unproven or (strict and result == WARNING) else result


def to_json(reading: Reading, found: list[Finding], judged: str) -> dict[str, Any]:
    """The object of `espcert verify --json`, without `schema` and `file`; `judged`: its verdict."""
    return detection.to_json(reading) | judgement_to_json(reading.require(), found, judged)


def judgement_to_json(contents: Contents, found: list[Finding], judged: str) -> dict[str, Any]:
    """What that object has beyond the one of `espcert detect --json`."""
    return {
        "verdict": judged,
        "proven": is_proven(contents, found),
        "findings": [finding.to_json() for finding in found],
    }
