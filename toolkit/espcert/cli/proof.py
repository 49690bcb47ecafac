"""Options that give what images are proven with, and how the files behind them are read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from espcert import files
from espcert.errors import UnreadableError, UsageError

if TYPE_CHECKING:
    from espcert.verification import Means

MAX_FILE_SIZE: Final = 1 << 20


def parse_time(text: str) -> datetime:
    """A date or a time of ISO 8601 / RFC 3339; without a zone it is UTC."""
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no date (2026-12-31) or time (2026-12-31T23:59:59Z)"
        ) from None


HmacKeyOption = Annotated[
    str | None,
    typer.Option(
        "--hmac-key",
        metavar="FILE",
        help="The module's HMAC key: 32 bytes, raw or hex.",
        show_default=False,
    ),
]
EfuseOption = Annotated[
    str | None,
    typer.Option(
        "--efuse",
        metavar="FILE",
        help="A dump of the module's eFuses (espefuse dump or summary, QEMU, ...).",
        show_default=False,
    ),
]
CaOption = Annotated[
    str | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="CA certificates that the device certificate must lead to, PEM or DER.",
        show_default=False,
    ),
]
AtOption = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        metavar="DATE",
        parser=parse_time,
        help="The clock for certificates' validity.  [default: now]",
        show_default=False,
    ),
]
KeyPasswordOption = Annotated[
    str | None,
    typer.Option(
        "--key-password-file",
        metavar="FILE",
        help="A file with the password of the private key.",
        show_default=False,
    ),
]


def means(
    *,
    chip: str | None,
    hmac_key: str | None,
    efuse: str | None,
    ca: str | None,
    at: datetime | None,
    key_password: str | None,
    firmware: str | None = None,
    signing_key: str | None = None,
) -> Means:
    """Read the files behind the options. Raises UsageError for what is not what it should be."""
    from espcert import efuse as efuses
    from espcert import keys, verification

    return verification.means(
        hmac_key=None if hmac_key is None else keys.load_hmac_key(hmac_key),
        efuse=None if efuse is None else efuses.load(efuse, chip),
        ca=_read("--ca", ca),
        at=at,
        chip=chip,
        firmware=firmware,
        signing_key=_read("--signing-key", signing_key),
        key_password=_password(key_password),
    )


def _read(option: str, name: str | None) -> bytes | None:
    if name is None:
        return None
    if name == files.STDIN:
        raise UsageError("bad-file", f"{option} -: standard input is for the image")
    try:
        return files.read_image(name, MAX_FILE_SIZE)
    except UnreadableError as error:
        raise UsageError(error.code, f"{option} {name}: over 1 MiB, too large") from error


def _password(name: str | None) -> bytes | None:
    """The first line of a file, without its line break."""
    data = _read("--key-password-file", name)
    return None if data is None else data.split(b"\n", 1)[0].rstrip(b"\r")
