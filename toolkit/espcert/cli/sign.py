"""`espcert sign`: sign a TLV partition, or write what is to be signed elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from espcert import detection, files
from espcert.cli import common, proof
from espcert.cli.common import ChipOption, ImageArgument, JsonOption, QuietOption
from espcert.cli.opening_options import reads_images
from espcert.cli.outputs import (
    AcceptOption,
    DryRunOption,
    EncryptOutputOption,
    ForceOption,
    OutputOption,
    PartitionOnlyOption,
    SizeOption,
    check_outputs,
)
from espcert.errors import UsageError
from espcert.opening import AS_IT_IS, Opening, open_image

if TYPE_CHECKING:
    from espcert.detection import Reading
    from espcert.findings import Finding
    from espcert.signers import Signer
    from espcert.signing import Signing, SigningOptions
    from espcert_formats.signature_block import Scheme

KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="A private key to sign with; up to three of one scheme.",
        show_default=False,
    ),
]
SigningPasswordOption = Annotated[
    str | None,
    typer.Option(
        "--key-password-file",
        metavar="FILE",
        help="A file with the password of the keys to sign with.",
        show_default=False,
    ),
]
SignatureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--signature",
        metavar="FILE",
        help="A signature that an HSM made, each with its --public-key; behind those of --key.",
        show_default=False,
    ),
]
PublicKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="The public key of a --signature, or whose digest is wanted.",
        show_default=False,
    ),
]
DigestOutOption = Annotated[
    Path | None,
    typer.Option(
        "--digest-out",
        metavar="FILE",
        help="Write the digest that an HSM must sign, and nothing else.",
        show_default=False,
    ),
]
SchemeOption = Annotated[
    str | None,
    typer.Option(
        "--scheme",
        metavar="NAME",
        help="Of --digest-out: rsa3072, ecdsa192, ecdsa256 or ecdsa384.",
        show_default=False,
    ),
]
NoIntegrityOption = Annotated[
    bool, typer.Option("--no-integrity", help="Write no integrity entry behind the signature.")
]


@reads_images
def command(
    image: ImageArgument,
    output: OutputOption = None,
    key: KeysOption = None,
    key_password: SigningPasswordOption = None,
    signature: SignatureOption = None,
    public_key: PublicKeyOption = None,
    digest_out: DigestOutOption = None,
    scheme: SchemeOption = None,
    size: SizeOption = None,
    accept: AcceptOption = None,
    no_integrity: NoIntegrityOption = False,
    partition_only: PartitionOnlyOption = False,
    encrypt_output: EncryptOutputOption = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sign a TLV IMAGE with up to three keys, proven before OUT appears."""
    from espcert.signing import SigningOptions

    given = _Given(key or [], signature or [], public_key or [], key_password, scheme)
    wanted = _Wanted(output, digest_out, dry_run, force, as_json, quiet)

    def sign_one(name: str) -> int:
        _check(name, given, wanted)
        options = SigningOptions(
            size, not no_integrity, frozenset(accept or ()),
            means=proof.means(chip=chip, hmac_key=None, efuse=None, ca=None, at=None,
                              key_password=None),
            partition_only=partition_only, encrypt_output=encrypt_output,
        )  # fmt: skip
        if digest_out is not None:
            wanted_scheme = _scheme(given)
            return _digest(detection.detect(open_image(name, opening)), wanted_scheme, options,
                           wanted)  # fmt: skip
        signers = list(_signers(given))
        return _sign(detection.detect(open_image(name, opening)), signers, options, wanted)

    common.for_each([image], sign_one, as_json=as_json)


class _Given(NamedTuple):
    """Who signs: files of keys, of signatures and their public keys."""

    keys: list[str]
    signatures: list[str]
    public_keys: list[str]
    password: str | None
    scheme: str | None


class _Wanted(NamedTuple):
    """What is to be written where, and what is to be printed."""

    output: Path | None
    digest: Path | None
    dry_run: bool
    force: bool
    as_json: bool
    quiet: bool


def _check(image: str, given: _Given, wanted: _Wanted) -> None:
    """Raise UsageError for options that do not go together, and for files in each other's way."""
    if wanted.digest is None:
        _check_signing(given, wanted)
    else:
        _check_digest(given, wanted)
    target = wanted.output if wanted.digest is None else wanted.digest
    read = [image, *given.keys, *given.signatures, *given.public_keys, given.password]
    check_outputs(read, filter(None, [target]), replace=wanted.force or wanted.dry_run)


def _check_signing(given: _Given, wanted: _Wanted) -> None:
    if wanted.output is None and not wanted.dry_run:
        raise UsageError("no-output", "-o OUT is missing (or --dry-run, or --digest-out FILE)")
    if given.scheme is not None:
        raise UsageError("bad-options", "--scheme is for --digest-out; a key tells its own")
    if len(given.signatures) != len(given.public_keys):
        found = f"{len(given.signatures)} --signature and {len(given.public_keys)} --public-key"
        raise UsageError("bad-options", f"{found}; each signature needs its public key")
    if not given.keys and not given.signatures:
        raise UsageError("no-key", "--key FILE is missing, or --signature with --public-key")


def _check_digest(given: _Given, wanted: _Wanted) -> None:
    if wanted.output is not None or given.keys or given.signatures:
        text = "--digest-out writes the digest and nothing else: without -o, --key, --signature"
        raise UsageError("bad-options", text)
    if (given.scheme is None) == (not given.public_keys):
        raise UsageError("bad-options", "--digest-out needs either --scheme or --public-key")


def _scheme(given: _Given) -> Scheme:
    """The scheme for which a digest is wanted."""
    from espcert import signers

    if given.scheme is not None:
        return signers.scheme_named(given.scheme)
    found = [
        (name, signers.public_key_of(proof.read_file("--public-key", name), name=name)[1])
        for name in given.public_keys
    ]
    name, scheme = found[0]
    for other, its in found[1:]:
        if its != scheme:
            text = f"{other}: {its.name}, but {name}: {scheme.name}"
            raise UsageError("bad-keys", f"{text}; all keys must be of one scheme")
    return scheme


def _signers(given: _Given) -> Iterator[Signer]:
    from espcert import signers

    password = None if given.password is None else proof.read_password(given.password)
    for name in given.keys:
        data = proof.read_file("--key", name)
        yield signers.from_key(data, name=name, password=password)
    for name, public in zip(given.signatures, given.public_keys, strict=True):
        made = proof.read_file("--signature", name)
        key = proof.read_file("--public-key", public)
        yield signers.from_signature(made, key, name=name)


def _digest(reading: Reading, scheme: Scheme, options: SigningOptions, wanted: _Wanted) -> int:
    """Write the digest and print. The exit code."""
    from espcert import signing
    from espcert.cli import migration_report

    source = signing.unsigned(reading, options)
    written = None
    if source.material is not None and wanted.digest is not None and not wanted.dry_run:
        files.refuse_input_as_output(list(reading.image.inputs), wanted.digest)
        files.write_atomically(wanted.digest, source.digest(scheme), force=wanted.force)
        written = str(wanted.digest)
    if wanted.as_json:
        common.print_object(reading.image.name, signing.digest_to_json(source, scheme, written))
    elif source.material is None:
        _refuse(reading, source.findings)
    elif not wanted.quiet:
        _print_digest(reading, source.digest(scheme), scheme, len(source.material), written)
        migration_report.warn(source.findings)
    return 1 if source.material is None else 0


def _print_digest(
    reading: Reading, digest: bytes, scheme: Scheme, length: int, written: str | None
) -> None:
    from espcert.text import printable

    name = printable(common.shown_name(reading.image.name))
    common.say(f"{name}: to be signed with {scheme.name}")
    common.say(f"  covers    the {length} bytes from 0x0 to {length:#x}, old seals left out")
    common.say(f"  digest    {scheme.digest} {digest.hex()}")
    padding = "PSS, MGF1 with SHA-256, a salt of 32 bytes" if scheme.curve is None else "ECDSA"
    common.say(f"  sign it   as it is (hashed already), {padding}")
    common.say(f"  written   {printable(written)}" if written else "  dry run   nothing written")


def _sign(
    reading: Reading, signers: Sequence[Signer], options: SigningOptions, wanted: _Wanted
) -> int:
    """Sign, write and print. The exit code."""
    from espcert import library, signing

    result = signing.sign(reading, signers, options)
    written = None
    if result.file is not None and wanted.output is not None and not wanted.dry_run:
        library.save(result, wanted.output, force=wanted.force)
        written = str(wanted.output)
    if wanted.as_json:
        common.print_object(reading.image.name, signing.to_json(result, written))
    else:
        _print(result, written, quiet=wanted.quiet)
    return 1 if result.refused else 0


def _print(result: Signing, written: str | None, *, quiet: bool) -> None:
    from espcert.cli import migration_report

    if result.refused:
        _refuse(result.reading, result.findings)
    elif not quiet:
        migration_report.print_summary(result, written)


def _refuse(reading: Reading, findings: Sequence[Finding]) -> None:
    from espcert.cli.refusals import refusal
    from espcert.signing import ACCEPTED_HERE

    for line in refusal(reading.image.name, findings, ACCEPTED_HERE):
        typer.echo(line, err=True)
