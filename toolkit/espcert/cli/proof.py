"""Options that give what images are proven with, and how the files behind them are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from espcert import files
from espcert.errors import UnreadableError, UsageError

if TYPE_CHECKING:
    from espcert.efuse import EfuseDump
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
    list[str] | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="CA certificates that the device certificate must lead to, PEM or DER; repeatable.",
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
    ca: list[str] | None,
    at: datetime | None,
    key_password: str | None,
    firmware: list[str] | None = None,
    signing_key: str | None = None,
) -> Means:
    """Read the files behind the options. Raises UsageError for what is not what it should be."""
    from espcert import verification

    return verification.means(
        hmac_key=None if hmac_key is None else read_hmac_key("--hmac-key", hmac_key),
        efuse=None if efuse is None else _efuse(efuse, chip),
        ca=[read_file("--ca", name) for name in ca] if ca else None,
        at=at,
        chip=chip,
        firmware=firmware,
        signing_key=None if signing_key is None else read_file("--signing-key", signing_key),
        key_password=None if key_password is None else read_password(key_password),
    )


@contextlib.contextmanager
def _named(option: str) -> Iterator[None]:
    """Errors of use name the option besides the file."""
    try:
        yield
    except UsageError as error:
        raise UsageError(error.code, f"{option} {error.message}") from error


def read_hmac_key(option: str, name: str) -> bytes:
    """The 32 bytes of the HMAC key file of an option."""
    from espcert.keys import load_hmac_key

    _refuse_stdin(option, name)
    with _named(option):
        return load_hmac_key(name)


def _efuse(name: str, chip: str | None) -> EfuseDump:
    from espcert import efuse

    with _named("--efuse"):
        return efuse.load(name, chip)


def _refuse_stdin(option: str, name: str) -> None:
    if name == files.STDIN:
        raise UsageError("bad-file", f"{option} -: a file is expected, not standard input")


def read_file(option: str, name: str) -> bytes:
    """A file of at most 1 MiB that an option names. Raises UsageError, FileError."""
    _refuse_stdin(option, name)
    try:
        with _named(option):
            return files.read_image(name, MAX_FILE_SIZE)
    except UnreadableError as error:
        raise UsageError(error.code, f"{option} {name}: over 1 MiB, too large") from error


def read_password(name: str) -> bytes:
    """The first line of a file of --key-password-file, without its line break."""
    password = read_file("--key-password-file", name).split(b"\n", 1)[0].rstrip(b"\r")
    if not password:
        raise UsageError("no-password", f"--key-password-file {name}: its first line is empty")
    return password
