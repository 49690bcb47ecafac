"""The options of `espcert build`, and whether they can be meant together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from espcert.cli import common
from espcert.errors import UsageError

CsvArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[CSV]",
        help="All material as a CSV of configure_esp_secure_cert.py.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="OUT", help="Where to write.", show_default=False),
]
DeviceCertOption = Annotated[
    str | None,
    typer.Option(
        "--device-cert",
        metavar="FILE",
        help="The device certificate, or its chain.",
        show_default=False,
    ),
]
CaCertOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ca-cert",
        metavar="FILE",
        help="A CA certificate; repeatable, for subtypes 0, 1, ...",
        show_default=False,
    ),
]
PrivateKeyOption = Annotated[
    str | None,
    typer.Option(
        "--private-key",
        metavar="FILE",
        help="The device's private key; stored in plain text unless told otherwise.",
        show_default=False,
    ),
]
DsHmacKeyOption = Annotated[
    str | None,
    typer.Option(
        "--ds-hmac-key",
        metavar="FILE",
        help="Encrypt an RSA key for the DS peripheral under this HMAC key: 32 bytes, raw or hex.",
        show_default=False,
    ),
]
NewHmacKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--new-hmac-key",
        metavar="FILE",
        help="The same under a new HMAC key, which is made and written to FILE.",
        show_default=False,
    ),
]
EcdsaOption = Annotated[
    bool,
    typer.Option(
        "--ecdsa-peripheral",
        help="The key is to be burned for the ECDSA peripheral, and is stored nowhere.",
    ),
]
DerivedOption = Annotated[
    bool,
    typer.Option("--hmac-derived", help="The module derives its P-256 key from an HMAC key."),
]
HmacKeyOption = Annotated[
    str | None,
    typer.Option(
        "--hmac-key",
        metavar="FILE",
        help="The HMAC key to derive from: 32 bytes, raw or hex.",
        show_default=False,
    ),
]
SaltOption = Annotated[
    str | None,
    typer.Option(
        "--salt",
        metavar="FILE",
        help="The salt to derive with.  [default: 32 random bytes]",
        show_default=False,
    ),
]
KeyIdOption = Annotated[
    int | None,
    typer.Option(
        "--efuse-key-id",
        metavar="N",
        parser=common.parse_integer,
        help="The eFuse block BLOCK_KEYN that is to hold the key.",
        show_default=False,
    ),
]
UserDataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--user-data",
        metavar="N=FILE",
        help="User data 1 to 5; repeatable.",
        show_default=False,
    ),
]
PublicKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--public-key-out",
        metavar="FILE",
        help="Write the private key's public half, too, as PEM.",
        show_default=False,
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="N",
        parser=common.parse_integer,
        help="The partition's size in bytes.  [default: 0x2000, or what is needed]",
        show_default=False,
    ),
]
NoIntegrityOption = Annotated[
    bool, typer.Option("--no-integrity", help="Write no integrity entry.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Do everything but create files.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace an existing OUT; never an HMAC key.")
]

PLAIN: Final = "plain"
RSA_DS: Final = "rsa_ds"
ECDSA: Final = "ecdsa_peripheral"
DERIVED: Final = "hmac_derived"


class Asked(NamedTuple):
    """What the options ask for, as they were given."""

    csv: str | None
    device_cert: str | None
    ca_certs: list[str]
    private_key: str | None
    key_password: str | None
    ds_hmac_key: str | None
    new_hmac_key: Path | None
    ecdsa_peripheral: bool
    hmac_derived: bool
    hmac_key: str | None
    salt: str | None
    efuse_key_id: int | None
    user_data: list[str]
    files_root: Path | None

    @property
    def read(self) -> list[str]:
        """The files that are read."""
        named = (self.csv, self.device_cert, self.private_key, self.key_password)
        keys = (self.ds_hmac_key, self.hmac_key, self.salt)
        data = [text.partition("=")[2] for text in self.user_data]
        return [name for name in (*named, *keys, *self.ca_certs, *data) if name]


def check_beside_csv(asked: Asked) -> None:
    """Raise UsageError for options that name material beside a CSV, which names all of it."""
    for option, value in (
        ("--device-cert", asked.device_cert),
        ("--ca-cert", asked.ca_certs),
        ("--private-key", asked.private_key),
        ("--ecdsa-peripheral", asked.ecdsa_peripheral),
        ("--hmac-derived", asked.hmac_derived),
        ("--hmac-key", asked.hmac_key),
        ("--salt", asked.salt),
        ("--efuse-key-id", asked.efuse_key_id is not None),
        ("--user-data", asked.user_data),
    ):
        if value:
            raise _bad(f"{option} beside a CSV: the CSV names all material")
    if asked.ds_hmac_key is not None and asked.new_hmac_key is not None:
        raise _bad("--ds-hmac-key and --new-hmac-key exclude each other")


def mode_of(asked: Asked) -> str | None:
    """How the private key is to be held; None without one.

    Raises UsageError for options that contradict each other or lack another.
    """
    modes = [
        (RSA_DS, "--ds-hmac-key", asked.ds_hmac_key is not None),
        (RSA_DS, "--new-hmac-key", asked.new_hmac_key is not None and not asked.hmac_derived),
        (ECDSA, "--ecdsa-peripheral", asked.ecdsa_peripheral),
        (DERIVED, "--hmac-derived", asked.hmac_derived),
    ]
    given = [(mode, option) for mode, option, is_given in modes if is_given]
    if len(given) > 1:
        options = " and ".join(option for _, option in given)
        raise _bad(f"{options} exclude each other: a key is held in one way")
    if not given:
        _require_no_mode(asked)
        return PLAIN if asked.private_key is not None else None
    ((mode, option),) = given
    if asked.efuse_key_id is None:
        raise _bad(f"{option} needs --efuse-key-id N: the block BLOCK_KEYN that holds the key")
    _check_key(asked, mode, option)
    return mode


def _require_no_mode(asked: Asked) -> None:
    """Raise UsageError for options that mean nothing without a peripheral."""
    for option, value in (
        ("--efuse-key-id", asked.efuse_key_id),
        ("--hmac-key", asked.hmac_key),
        ("--salt", asked.salt),
    ):
        if value is not None:
            needs = "--ds-hmac-key, --new-hmac-key, --ecdsa-peripheral or --hmac-derived"
            raise _bad(
                f"{option} needs {needs if option == '--efuse-key-id' else '--hmac-derived'}"
            )
    if asked.key_password is not None and asked.private_key is None:
        raise _bad("--key-password-file needs --private-key")
    if asked.files_root is not None:
        raise _bad("--files-root needs a CSV")


def _check_key(asked: Asked, mode: str, option: str) -> None:
    """Raise UsageError where the mode lacks its key, or has one too many."""
    if mode == DERIVED:
        if asked.private_key is not None or asked.key_password is not None:
            raise _bad("--hmac-derived excludes --private-key: the key is that of --hmac-key")
        if (asked.hmac_key is None) == (asked.new_hmac_key is None):
            raise _bad("--hmac-derived needs either --hmac-key or --new-hmac-key")
        return
    if asked.private_key is None:
        raise _bad(f"{option} needs --private-key")
    for other, value in (("--hmac-key", asked.hmac_key), ("--salt", asked.salt)):
        if value is not None:
            raise _bad(f"{other} needs --hmac-derived")


def _bad(text: str) -> UsageError:
    return UsageError("bad-options", text)
