"""`espcert build`: make a partition from certificates and keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from espcert import files
from espcert.cli import build_options as options
from espcert.cli import common, proof
from espcert.cli.build_options import Asked
from espcert.cli.common import ChipOption, JsonOption, QuietOption
from espcert.cli.opening_options import FilesRootOption
from espcert.cli.proof import AtOption, CaOption, KeyPasswordOption
from espcert.errors import UsageError

if TYPE_CHECKING:
    from espcert.building import Built, Part
    from espcert.burning import KeyFile

_NAMELESS: Final = "partition"
"""How messages and objects name what is built where neither a CSV nor OUT does."""


def command(
    csv: options.CsvArgument = None,
    output: options.OutputOption = None,
    device_cert: options.DeviceCertOption = None,
    ca_cert: options.CaCertOption = None,
    private_key: options.PrivateKeyOption = None,
    key_password: KeyPasswordOption = None,
    ds_hmac_key: options.DsHmacKeyOption = None,
    new_hmac_key: options.NewHmacKeyOption = None,
    ecdsa_peripheral: options.EcdsaOption = False,
    hmac_derived: options.DerivedOption = False,
    hmac_key: options.HmacKeyOption = None,
    salt: options.SaltOption = None,
    efuse_key_id: options.KeyIdOption = None,
    user_data: options.UserDataOption = None,
    files_root: FilesRootOption = None,
    public_key_out: options.PublicKeyOption = None,
    size: options.SizeOption = None,
    no_integrity: options.NoIntegrityOption = False,
    ca: CaOption = None,
    at: AtOption = None,
    dry_run: options.DryRunOption = False,
    force: options.ForceOption = False,
    chip: ChipOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a partition from certificates and keys, proven before OUT appears."""
    asked = Asked(
        csv, device_cert, ca_cert or [], private_key, key_password, ds_hmac_key, new_hmac_key,
        ecdsa_peripheral, hmac_derived, hmac_key, salt, efuse_key_id, user_data or [], files_root,
    )  # fmt: skip
    wanted = _Wanted(output, new_hmac_key, public_key_out, dry_run, force, as_json, quiet)
    limits = _Limits(chip, size, not no_integrity, ca or [], at)
    name = csv or (str(output) if output else _NAMELESS)
    common.for_each([name], lambda name: _build(name, asked, limits, wanted), as_json=as_json)


class _Wanted(NamedTuple):
    """What is to be written where, and what is to be printed."""

    output: Path | None
    new_hmac_key: Path | None
    public_key: Path | None
    dry_run: bool
    force: bool
    as_json: bool
    quiet: bool

    @property
    def files(self) -> list[Path]:
        """The files that are to be written."""
        return [path for path in (self.new_hmac_key, self.public_key, self.output) if path]


class _Limits(NamedTuple):
    """What the partition must fit, and what its certificates are proven with."""

    chip: str | None
    size: int | None
    integrity: bool
    ca: list[str]
    at: datetime | None


def _build(name: str, asked: Asked, limits: _Limits, wanted: _Wanted) -> int:
    """Read, build, write and print. The exit code."""
    from espcert import building

    mode = None if asked.csv else options.mode_of(asked)
    if asked.csv:
        options.check_beside_csv(asked)
    _check_files([*asked.read, *limits.ca], wanted)
    new_key = os.urandom(32) if asked.new_hmac_key is not None else None
    parts = _csv_parts(asked, new_key, wanted) if asked.csv else list(_parts(asked, mode, new_key))
    built = building.build(
        parts,
        chip=limits.chip,
        size=limits.size,
        integrity=limits.integrity,
        ca=[proof.read_file("--ca", ca) for ca in limits.ca] or None,
        at=limits.at,
    )
    written = _write(built, new_key, wanted)
    if wanted.as_json:
        common.print_object(name, building.to_json(built, written))
    else:
        _print(name, built, written, wanted, sized=limits.size is not None)
    return 1 if built.refused else 0


def _check_files(read: list[str], wanted: _Wanted) -> None:
    if wanted.output is None and not wanted.dry_run:
        raise UsageError("no-output", "-o OUT is missing (or --dry-run)")
    files.refuse_same_place(wanted.files)
    for path in wanted.files:
        if str(path) == files.STDIN:
            raise UsageError("bad-output", f"{path}: what is written goes to a file")
        files.refuse_input_as_output(read, path)
        replaces = path is not wanted.new_hmac_key and (wanted.force or wanted.dry_run)
        try:
            files.check_output(path, force=replaces)
        except UsageError as error:
            if path is not wanted.new_hmac_key or error.code != "output-exists":
                raise
            text = f"--new-hmac-key {path}: exists; a key is never overwritten"
            raise UsageError(error.code, text) from error


# --- What is read --------------------------------------------------------------------------------


def _parts(asked: Asked, mode: str | None, new_key: bytes | None) -> Iterator[Part]:
    """The material in the order in which the official tool stores it."""
    from espcert.building import Stored

    for index, name in enumerate(asked.ca_certs):
        yield Stored("ca_cert", proof.read_file("--ca-cert", name), index)
    if asked.device_cert is not None:
        yield Stored("device_cert", proof.read_file("--device-cert", asked.device_cert))
    if mode is not None:
        yield _key(asked, mode, new_key)
    for text in asked.user_data:
        number, name = _user_data(text)
        yield Stored(f"user_data_{number}", proof.read_file("--user-data", name))


def _user_data(text: str) -> tuple[str, str]:
    number, _, name = text.partition("=")
    if re.fullmatch("[1-5]", number) is None or not name:
        raise UsageError("bad-user-data", f"--user-data {text}: expected N=FILE with N from 1 to 5")
    return number, name


def _key(asked: Asked, mode: str, new_key: bytes | None) -> Part:
    from espcert import key_storage
    from espcert.burning import ecdsa_key_file

    key_id = asked.efuse_key_id or 0
    if mode == options.DERIVED:
        key, file = _hmac_key("--hmac-key", asked.hmac_key, asked.new_hmac_key, new_key)
        salt = None if asked.salt is None else proof.read_file("--salt", asked.salt)
        return key_storage.DerivedKey(key, key_id, salt, hmac_file=file)
    name = asked.private_key or ""
    data = proof.read_file("--private-key", name)
    password = None if asked.key_password is None else proof.read_password(asked.key_password)
    if mode == options.RSA_DS:
        key, file = _hmac_key("--ds-hmac-key", asked.ds_hmac_key, asked.new_hmac_key, new_key)
        return key_storage.DsKey(data, key, key_id, password, hmac_file=file)
    if mode == options.ECDSA:
        return key_storage.EcdsaKey(data, key_id, password, file=ecdsa_key_file(name, data))
    return key_storage.PlainKey(data, password)


def _hmac_key(
    option: str, name: str | None, new_file: Path | None, new_key: bytes | None
) -> tuple[bytes, KeyFile]:
    """The HMAC key, and how commands name its file."""
    from espcert.burning import KeyFile, hmac_key_file

    if new_key is not None:
        return new_key, KeyFile(str(new_file))
    assert name is not None
    key = proof.read_hmac_key(option, name)
    return key, hmac_key_file(name, proof.read_file(option, name))


def _csv_parts(asked: Asked, new_key: bytes | None, wanted: _Wanted) -> list[Part]:
    """The material that the rows of a CSV name."""
    from espcert import csv_order
    from espcert.confined import Folder

    name = asked.csv or ""
    root = asked.files_root or Path(name).parent
    if not root.is_dir():
        raise UsageError("not-found", f"--files-root {root}: no such directory")
    data, folder = proof.read_file("CSV", name), Folder(root)
    hmac = None
    if asked.ds_hmac_key is not None or new_key is not None:
        hmac = _hmac_key("--ds-hmac-key", asked.ds_hmac_key, asked.new_hmac_key, new_key)
    password = None if asked.key_password is None else proof.read_password(asked.key_password)
    parts = csv_order.parts(data, folder, hmac=hmac, password=password)
    for path in wanted.files:
        files.refuse_input_as_output(folder.inputs, path)
    return parts


# --- What is written and printed -----------------------------------------------------------------


def _write(built: Built, new_key: bytes | None, wanted: _Wanted) -> str | None:
    """The path of the partition that was written, None where nothing was.

    The HMAC key comes first: a partition without it would be of no use.
    """
    public = built.public_keys.get(0)
    if wanted.public_key is not None and public is None and not built.refused:
        raise UsageError("no-key", "--public-key-out: there is no private key")
    if wanted.dry_run or wanted.output is None or built.output is None:
        return None
    if wanted.new_hmac_key is not None and new_key is not None:
        files.write_atomically(wanted.new_hmac_key, new_key)
    if wanted.public_key is not None and public is not None:
        files.write_atomically(wanted.public_key, public, force=wanted.force)
    files.write_atomically(wanted.output, built.output, force=wanted.force)
    return str(wanted.output)


def _print(name: str, built: Built, written: str | None, wanted: _Wanted, *, sized: bool) -> None:
    from espcert.cli import build_report

    beside = [path for path in (wanted.new_hmac_key, wanted.public_key) if path and written]
    build_report.print_report(
        name, built, written, [str(path) for path in beside], sized=sized, quiet=wanted.quiet
    )
