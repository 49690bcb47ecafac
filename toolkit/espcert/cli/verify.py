"""`espcert verify`: prove what each image holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from espcert import detection
from espcert.catalogue import ERROR
from espcert.cli import common, proof
from espcert.cli.common import (
    ChipOption,
    ImagesArgument,
    JsonOption,
    QuietOption,
)
from espcert.cli.opening_options import reads_images
from espcert.cli.proof import (
    AtOption,
    CaOption,
    EfuseOption,
    HmacKeyOption,
    KeyPasswordOption,
)
from espcert.opening import AS_IT_IS, Opening, open_image

if TYPE_CHECKING:
    from espcert.detection import Reading
    from espcert.findings import Finding

FirmwareOption = Annotated[
    list[str] | None,
    typer.Option(
        "--firmware",
        metavar="VERSION",
        help="Also check that this esp_secure_cert_mgr version reads it; repeatable.",
        show_default=False,
    ),
]
SigningKeyOption = Annotated[
    str | None,
    typer.Option(
        "--signing-key",
        metavar="FILE",
        help="The key that signatures must be made with, public or private, PEM or DER.",
        show_default=False,
    ),
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")]

ProofOption = Annotated[
    bool,
    typer.Option("--require-proof", help="Count an unproven key as an error."),
]


def _list_findings(wanted: bool) -> None:
    if wanted:
        from espcert.findings_page import page

        with common.outcome():
            common.say(page().rstrip("\n"))
        raise typer.Exit


ListFindingsOption = Annotated[
    bool,
    typer.Option(
        "--list-findings",
        callback=_list_findings,
        is_eager=True,
        help="Print the catalogue of findings and exit.",
    ),
]


@reads_images
def command(
    images: ImagesArgument,
    hmac_key: HmacKeyOption = None,
    efuse: EfuseOption = None,
    ca: CaOption = None,
    at: AtOption = None,
    firmware: FirmwareOption = None,
    signing_key: SigningKeyOption = None,
    key_password: KeyPasswordOption = None,
    strict: StrictOption = False,
    require_proof: ProofOption = False,
    opening: Opening = AS_IT_IS,
    chip: ChipOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    _list: ListFindingsOption = False,
) -> None:
    """Prove what each IMAGE holds: bytes, certificates, keys, DS and HMAC material, seals."""
    from espcert import verification

    with common.outcome():
        given = proof.means(
            chip=chip, hmac_key=hmac_key, efuse=efuse, ca=ca, at=at, key_password=key_password,
            firmware=firmware, signing_key=signing_key,
        )  # fmt: skip

    verdicts: Counter[str] = Counter()

    def verify_one(name: str) -> int:
        image = open_image(name, opening)
        reading = detection.detect(image)
        reading.require()
        found = verification.findings(reading, given)
        judged = verification.verdict(found, strict=strict, proof=require_proof)
        verdicts[judged] += 1
        if as_json:
            common.print_object(name, verification.to_json(reading, found, judged))
        else:
            _print(reading, found, judged, quiet=quiet)
        return 1 if judged == ERROR else 0

    def sum_up() -> None:
        if len(images) > 1 and not as_json and not quiet:
            _print_total(len(images), verdicts)

    common.for_each(images, verify_one, as_json=as_json, at_end=sum_up)


def _print(reading: Reading, found: list[Finding], judged: str, *, quiet: bool) -> None:
    from espcert.cli import verify_report

    verify_report.print_report(reading, found, judged, quiet=quiet)


def _print_total(images: int, verdicts: Counter[str]) -> None:
    from espcert.cli import verify_report

    verify_report.print_total(images, verdicts)
