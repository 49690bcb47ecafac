"""The options that say how an IMAGE is read, the same for every verb that reads images."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from espcert.cli import common
from espcert.errors import UsageError
from espcert.opening import Opening

if TYPE_CHECKING:
    from espcert.flash_encryption import FlashEncryption
    from espcert.nvs_encryption import NvsKeys

LabelOption = Annotated[
    str | None,
    typer.Option("--label", metavar="NAME", help="The partition's label.", show_default=False),
]
TableOffsetOption = Annotated[
    int | None,
    typer.Option(
        "--partition-table-offset",
        metavar="N",
        parser=common.parse_integer,
        help="Where a flash image has its partition table.  [default: looked for]",
        show_default=False,
    ),
]
FilesRootOption = Annotated[
    Path | None,
    typer.Option(
        "--files-root",
        metavar="DIR",
        help="Where the files that a CSV names lie.  [default: beside the CSV]",
        show_default=False,
    ),
]
FlashKeyOption = Annotated[
    str | None,
    typer.Option(
        "--flash-encryption-key",
        metavar="FILE",
        help="The flash encryption key of an encrypted dump.",
        show_default=False,
    ),
]
SchemeOption = Annotated[
    str | None,
    typer.Option(
        "--flash-encryption",
        metavar="xts|esp32",
        help="The scheme of that key: esp32 for the ESP32 itself, xts for later chips.",
        show_default=False,
    ),
]
CryptConfOption = Annotated[
    int | None,
    typer.Option(
        "--flash-crypt-conf",
        metavar="N",
        parser=common.parse_integer,
        help="The ESP32's FLASH_CRYPT_CONFIG.  [default: 0xf]",
        show_default=False,
    ),
]
FlashAddressOption = Annotated[
    int | None,
    typer.Option(
        "--flash-address",
        metavar="N",
        parser=common.parse_integer,
        help="Where in flash an encrypted bare partition lies.",
        show_default=False,
    ),
]
NvsKeysOption = Annotated[
    str | None,
    typer.Option(
        "--nvs-keys",
        metavar="FILE",
        help="The keys of an encrypted NVS partition: a dump of its keys partition.",
        show_default=False,
    ),
]
NvsHmacKeyOption = Annotated[
    str | None,
    typer.Option(
        "--nvs-hmac-key",
        metavar="FILE",
        help="The HMAC key that an encrypted NVS partition's keys derive from.",
        show_default=False,
    ),
]


def opening(
    label: LabelOption = None,
    partition_table_offset: TableOffsetOption = None,
    files_root: FilesRootOption = None,
    flash_encryption_key: FlashKeyOption = None,
    flash_encryption: SchemeOption = None,
    flash_crypt_conf: CryptConfOption = None,
    flash_address: FlashAddressOption = None,
    nvs_keys: NvsKeysOption = None,
    nvs_hmac_key: NvsHmacKeyOption = None,
) -> Opening:
    """What the options ask for. Raises UsageError where they contradict each other."""
    key = _flash_key(flash_encryption_key, flash_encryption, flash_crypt_conf, flash_address)
    return Opening(
        label,
        partition_table_offset,
        files_root,
        key,
        _nvs_keys(nvs_keys, nvs_hmac_key),
        tuple(name for name in (flash_encryption_key, nvs_keys, nvs_hmac_key) if name),
    )


def _flash_key(
    key: str | None, scheme: str | None, crypt_conf: int | None, address: int | None
) -> FlashEncryption | None:
    if key is None:
        given = {
            "--flash-encryption": scheme,
            "--flash-crypt-conf": crypt_conf,
            "--flash-address": address,
        }
        alone = [name for name, value in given.items() if value is not None]
        if alone:
            raise UsageError("no-flash-key", f"{alone[0]}: needs --flash-encryption-key FILE")
        return None
    if scheme is None:
        raise UsageError(
            "bad-scheme", "--flash-encryption-key: needs --flash-encryption xts (or esp32)"
        )
    from espcert import flash_encryption

    return flash_encryption.load(key, scheme, crypt_conf, address)


def _nvs_keys(keys: str | None, hmac_key: str | None) -> NvsKeys | None:
    if keys is not None and hmac_key is not None:
        raise UsageError("bad-nvs-keys", "--nvs-keys and --nvs-hmac-key: only one of them")
    if keys is None and hmac_key is None:
        return None
    from espcert import nvs_encryption

    if hmac_key is not None:
        return nvs_encryption.load_hmac_key(hmac_key)
    return nvs_encryption.load_keys(keys or "")


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters by name, by keyword, with their annotations as they are meant."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
    }


def with_options(
    shared_options: Callable[..., Any], name: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of a function in place of its parameter of that name.

    typer makes its options of a signature; this one is the verb's own with the shared options in
    it, so that every verb has the same ones and none repeats them. The verb gets the function's
    result.
    """
    shared = _parameters(shared_options)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = _parameters(command)

        @functools.wraps(command)
        def run(**values: Any) -> None:
            with common.outcome():
                given = shared_options(**{one: values.pop(one) for one in shared})
            command(**values, **{name: given})

        listed = [
            parameter
            for one, parameter in own.items()
            for parameter in (shared.values() if one == name else (parameter,))
        ]
        run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in listed}
        return run

    return decorate


reads_images: Final = with_options(opening, "opening")
"""Gives a verb the options of `opening` in place of its parameter `opening`."""
