"""esp-secure-cert-tool 2.6.1 signs: the bytes that espcert writes, and what it gets wrong.

Every row of the table on signing in docs/official-tool.md is shown here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fixtures.tools import envs
from fixtures.tools.material import OUTPUT, SIGNED, Job, cli
from fixtures.tools.recipes_tlv import EC
from tests import seal_verifier
from tests.official.test_official_tool import fixture
from tests.support import FIXTURES, ROOT

import espcert
from espcert.signing import Signing, SigningOptions

P256 = FIXTURES / "inputs" / "sign_p256.key"
P192 = FIXTURES / "verify" / "inputs" / "sign_p192.key"
MARKER = b"\xff\xff\x00\x00"


def options(key: Path, scheme: str = "ecdsa256") -> tuple[str, ...]:
    return ("--secure-sign", "--signing-scheme", scheme, "--signing-key-file", str(key))


def job(*extra: str, produces: str = SIGNED) -> Job:
    return cli(*EC, *options(P256), *extra, produces=produces)


def of_a_file(path: Path, produces: str = SIGNED) -> Job:
    files = ("--esp-secure-cert-file", str(path), *options(P256))
    return cli(None, None, None, "ECDSA 256", *files, produces=produces)


def by_the_tool(tool: Path, work: Job) -> bytes:
    return envs.run_jobs(tool, {"one": work})["one"]


def by_espcert(path: Path, key: Path = P256, accept: frozenset[str] = frozenset()) -> Signing:
    reading = espcert.detect(espcert.open_image(path))
    return espcert.sign(reading, [espcert.open_signing_key(key)], SigningOptions(accept=accept))


def output_of(result: Signing) -> bytes:
    assert result.output is not None, result.findings
    return result.output


def steady() -> bool:
    """Whether two signatures here are the same."""
    path = fixture("tlv_ec")
    return by_espcert(path).output == by_espcert(path).output


def codes(data: bytes, folder: Path) -> set[str]:
    path = folder / "judged.bin"
    path.write_bytes(data)
    found = espcert.verify(espcert.detect(espcert.open_image(path)))
    return {finding.code for finding in found if finding.severity == "error"}


def test_the_same_bytes_up_to_the_end_marker(tool: Path) -> None:
    theirs = by_the_tool(tool, job())
    ours = output_of(by_espcert(fixture("tlv_ec")))
    assert theirs.endswith(MARKER)
    if not steady():
        pytest.skip("cryptography or OpenSSL here is too old for signatures without chance")
    assert ours == theirs[:-4].ljust(0x2000, b"\xff")


def test_generating_and_signing_puts_the_signature_first(tool: Path, tmp_path: Path) -> None:
    theirs = by_the_tool(tool, job(produces=OUTPUT))
    assert seal_verifier.entries(theirs)[0].type == seal_verifier.SIGNATURE
    assert "signature-order" in codes(theirs, tmp_path)
    ours = output_of(by_espcert(fixture("tlv_ec")))
    assert [one.type for one in seal_verifier.entries(ours)] == [0, 1, 2, 8, 9]


def test_a_padded_image(tool: Path, tmp_path: Path) -> None:
    padded = tmp_path / "padded.bin"
    entries = seal_verifier.entries(fixture("tlv_ec").read_bytes())
    padded.write_bytes(b"".join(one.raw for one in entries[:-1]).ljust(0x2000, b"\xff"))
    theirs = by_the_tool(tool, of_a_file(padded))
    assert {"signature-unreachable", "trailing-data"} <= codes(theirs, tmp_path)
    assert [one.type for one in seal_verifier.entries(theirs)] == [0, 1, 2, 9]
    ours = output_of(by_espcert(padded))
    assert len(ours) == 0x2000
    assert seal_verifier.verified_keys(ours)


def test_an_image_that_is_signed_already(tool: Path, tmp_path: Path) -> None:
    """Its second signature lies behind its own end marker, and integrity is written over it."""
    once = tmp_path / "once.bin"
    once.write_bytes(by_the_tool(tool, job()))
    theirs = by_the_tool(tool, of_a_file(once))
    assert [one.type for one in seal_verifier.entries(theirs)] == [0, 1, 2, 8, 9, 9]
    assert "trailing-data" in codes(theirs, tmp_path)
    result = by_espcert(once)
    assert [one.type for one in seal_verifier.entries(output_of(result))] == [0, 1, 2, 8, 9]
    assert any("the old signature" in change for change in result.changes)


def test_a_damaged_image(tool: Path, tmp_path: Path) -> None:
    damaged = fixture("tlv_damaged_ca")
    theirs = by_the_tool(tool, of_a_file(damaged))
    assert "item-crc" in codes(theirs, tmp_path)
    assert {one.code for one in by_espcert(damaged).blocking} == {"item-crc"}


def test_p192(tool: Path, tmp_path: Path) -> None:
    script = tool.parent / "configure_esp_secure_cert.py"
    argv = ["--skip_flash", "--esp-secure-cert-file", str(fixture("tlv_ec"))]
    done = subprocess.run(
        [str(tool), str(script), *argv, *options(P192, "ecdsa192")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "StreamError" in done.stdout + done.stderr
    assert seal_verifier.verified_keys(output_of(by_espcert(fixture("tlv_ec"), P192)))


def test_every_row_of_the_table_is_shown() -> None:
    text = (ROOT / "docs" / "official-tool.md").read_text("utf-8")
    section = text.split("## Signing")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    tests = [name for name in globals() if name.startswith("test_")]
    named = [row.rsplit("`", 2)[1] for row in rows]
    assert rows
    assert set(named) <= set(tests)
