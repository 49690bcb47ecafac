"""`espcert sign`: the command, its files, and one line for everything that is wrong."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from tests import seal_verifier
from tests.cli.runner import assert_no_output, controls, fixture, material, run
from tests.support import FIXTURES

OTHERS = FIXTURES / "verify" / "inputs"
P256, RSA = material("sign_p256.key"), material("sign_rsa3072.key")
P384 = str(OTHERS / "sign_p384.key")
RSA_2, RSA_3 = (str(OTHERS / f"sign_rsa3072_{number}.key") for number in (2, 3))
IMAGE = fixture("tlv_ec")


def private(path: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(Path(path).read_bytes(), None)
    assert isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
    return key


def public_file(key: str, folder: Path) -> Path:
    """The file that an HSM hands out of a key."""
    path = folder / f"{Path(key).stem}.pub"
    public = private(key).public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def refused(*arguments: str | Path, out: Path, code: int) -> str:
    """A run that must fail with this exit code and write nothing; its message."""
    result = run("sign", *arguments, "-o", out)
    assert (result.code, result.out) == (code, ""), result.err
    assert "Traceback" not in result.err
    assert controls(result.err) == set()
    assert_no_output(out)
    return result.err


# --- What is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", [P256, RSA, P384])
def test_sign_and_verify(key: str, out: Path) -> None:
    signed = run("sign", IMAGE, "--key", key, "-o", out)
    assert (signed.code, signed.err) == (0, "")
    assert "signature verifies" in signed.out
    assert seal_verifier.verified_keys(out.read_bytes()) == [private(key).public_key()]
    verified = run("verify", "--strict", "--json", out, "--signing-key", key)
    assert verified.code == 0
    assert "signature-valid" in {one["code"] for one in verified.object["findings"]}
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_three_keys(out: Path) -> None:
    keys = [RSA_2, RSA, RSA_3]
    found = run("sign", "--json", IMAGE, *(f"--key={key}" for key in keys), "-o", out).object
    assert seal_verifier.verified_keys(out.read_bytes()) == [
        private(key).public_key() for key in keys
    ]
    assert [one["index"] for one in found["signatures"]] == [0, 1, 2]
    assert {one["scheme"] for one in found["signatures"]} == {"RSA 3072"}


def test_json(out: Path) -> None:
    found = run("sign", "--json", IMAGE, "--key", P256, "-o", out).object
    data = out.read_bytes()
    assert found["output"] == str(out)
    assert found["output_sha256"] == hashlib.sha256(data).hexdigest()
    assert found["digest"] == {
        "scheme": "ECDSA P-256",
        "algorithm": "sha256",
        "value": hashlib.sha256(data[:0x550]).hexdigest(),
        "signed_length": 0x550,
    }
    (signature,) = found["signatures"]
    point = private(P256).public_key().public_numbers()
    assert isinstance(point, ec.EllipticCurvePublicNumbers)
    key = b"\x02" + point.x.to_bytes(32, "little") + point.y.to_bytes(32, "little")
    assert signature["key_sha256"] == hashlib.sha256(key).hexdigest()
    kinds = [item["kind"] for item in found["items"]]
    assert kinds == ["ca_cert", "device_cert", "private_key", "signature_block", "integrity"]


def test_standard_input(out: Path) -> None:
    result = run("sign", "-", "--key", P256, "-o", out, stdin=Path(IMAGE).read_bytes())
    assert result.code == 0
    assert seal_verifier.verified_keys(out.read_bytes())


def test_dry_run_writes_nothing(out: Path) -> None:
    result = run("sign", "--json", IMAGE, "--key", P256, "-o", out, "--dry-run")
    assert result.code == 0
    assert (result.object["output"], len(result.object["signatures"])) == (None, 1)
    assert_no_output(out)
    assert run("sign", IMAGE, "--key", P256, "--dry-run").code == 0


def test_quiet(out: Path) -> None:
    result = run("sign", "--quiet", IMAGE, "--key", P256, "-o", out)
    assert (result.code, result.text) == (0, "")
    assert out.is_file()


def test_force_replaces(out: Path) -> None:
    out.write_bytes(b"old")
    assert run("sign", IMAGE, "--key", P256, "-o", out).code == 2
    assert out.read_bytes() == b"old"
    assert run("sign", IMAGE, "--key", P256, "-o", out, "--force").code == 0
    assert seal_verifier.verified_keys(out.read_bytes())


def test_size_and_no_integrity(out: Path) -> None:
    assert run("sign", IMAGE, "--key", RSA, "-o", out, "--size", "0x4000").code == 0
    assert len(out.read_bytes()) == 0x4000
    options = ("--no-integrity", "--force")
    assert run("sign", IMAGE, "--key", RSA, "-o", out, *options).code == 0
    assert not seal_verifier.has_integrity(out.read_bytes())


def test_key_under_a_password(tmp_path: Path, out: Path) -> None:
    locked, secret = tmp_path / "locked.key", tmp_path / "password.txt"
    secret.write_bytes(b"open sesame\n")
    encryption = BestAvailableEncryption(b"open sesame")
    locked.write_bytes(private(P256).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    assert "--key-password-file" in refused(IMAGE, "--key", locked, out=out, code=2)
    opened = run("sign", IMAGE, "--key", locked, "--key-password-file", secret, "-o", out)
    assert opened.code == 0
    assert seal_verifier.verified_keys(out.read_bytes()) == [private(P256).public_key()]
    secret.write_bytes(b"wrong\n")
    out.unlink()
    message = refused(IMAGE, "--key", locked, "--key-password-file", secret, out=out, code=2)
    assert "does not open it" in message


# --- Keys in an HSM ----------------------------------------------------------------------------


def made_elsewhere(key: str, digest: bytes) -> bytes:
    loaded = private(key)
    if isinstance(loaded, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(SHA256()), 32)
        return loaded.sign(digest, pss, Prehashed(SHA256()))
    used = SHA384() if loaded.curve.key_size == 384 else SHA256()
    return loaded.sign(digest, ec.ECDSA(Prehashed(used)))


@pytest.mark.parametrize(
    ("key", "scheme", "digest"),
    [(P256, "ecdsa256", "sha256"), (RSA, "rsa3072", "sha256"), (P384, "ecdsa384", "sha384")],
)
def test_the_way_through_an_hsm(
    key: str, scheme: str, digest: str, tmp_path: Path, out: Path
) -> None:
    """The digest goes out, the signature comes back, and only it and the public key are given."""
    wanted, signature = tmp_path / "digest.bin", tmp_path / "signature.bin"
    public = public_file(key, tmp_path)
    asked = run("sign", IMAGE, "--digest-out", wanted, "--public-key", public)
    assert (asked.code, asked.err) == (0, "")
    material_ = Path(IMAGE).read_bytes()[:0x550]
    assert wanted.read_bytes() == hashlib.new(digest, material_).digest()
    assert wanted.read_bytes().hex() in asked.out
    again = tmp_path / "again.bin"
    assert run("sign", IMAGE, "--digest-out", again, "--scheme", scheme).code == 0
    assert again.read_bytes() == wanted.read_bytes()
    signature.write_bytes(made_elsewhere(key, wanted.read_bytes()))
    result = run("sign", IMAGE, "--signature", signature, "--public-key", public, "-o", out)
    assert (result.code, result.err) == (0, "")
    assert seal_verifier.verified_keys(out.read_bytes()) == [private(key).public_key()]


def test_digest_as_json(tmp_path: Path) -> None:
    wanted = tmp_path / "digest.bin"
    options = ("--digest-out", wanted, "--scheme", "ecdsa384")
    found = run("sign", "--json", IMAGE, *options).object
    assert found["digest"]["value"] == wanted.read_bytes().hex()
    assert found["output"] == str(wanted)
    assert found["output_sha256"] == hashlib.sha256(wanted.read_bytes()).hexdigest()
    assert (found["signatures"], found["items"]) == ([], [])


def test_digest_of_what_is_refused(tmp_path: Path) -> None:
    wanted = tmp_path / "digest.bin"
    options = ("--digest-out", wanted, "--scheme", "ecdsa384")
    result = run("sign", fixture("tlv_damaged_ca"), *options)
    assert (result.code, result.out) == (1, "")
    assert "item-crc" in result.err
    assert_no_output(wanted)
    found = run("sign", "--json", fixture("tlv_damaged_ca"), *options)
    assert (found.code, found.object["digest"]) == (1, None)


def test_digest_dry_run(tmp_path: Path) -> None:
    wanted = tmp_path / "digest.bin"
    result = run("sign", IMAGE, "--digest-out", wanted, "--scheme", "rsa3072", "--dry-run")
    assert result.code == 0
    assert_no_output(wanted)


@pytest.mark.parametrize("key", [P256, RSA])
def test_a_wrong_signature(key: str, tmp_path: Path, out: Path) -> None:
    signature = tmp_path / "signature.bin"
    signature.write_bytes(made_elsewhere(key, hashlib.sha256(b"other").digest()))
    public = public_file(key, tmp_path)
    message = refused(IMAGE, "--signature", signature, "--public-key", public, out=out, code=1)
    assert "does not verify" in message
    assert message.count("\n") == 1


def test_a_signature_of_another_key(tmp_path: Path, out: Path) -> None:
    signature = tmp_path / "signature.bin"
    digest = hashlib.sha256(Path(IMAGE).read_bytes()[:0x550]).digest()
    signature.write_bytes(made_elsewhere(P256, digest))
    public = public_file(str(OTHERS / "sign_p256_other.key"), tmp_path)
    message = refused(IMAGE, "--signature", signature, "--public-key", public, out=out, code=1)
    assert "does not verify with the public key given" in message


# --- Refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nvs_ec", "cust_flash_rsa", "tlv_2_0"])
def test_migrate_first(name: str, out: Path) -> None:
    message = refused(fixture(name), "--key", P256, out=out, code=1)
    assert "`espcert migrate` first" in message
    assert message.count("\n") == 1
    found = run("sign", "--json", fixture(name), "--key", P256, "-o", out)
    assert found.object["error"]["code"] in ("not-tlv", "not-current")


def test_damage(out: Path) -> None:
    message = refused(fixture("tlv_damaged_ca"), "--key", P256, out=out, code=1)
    assert "item-crc" in message
    assert "--accept" not in message


def test_hint_and_accept(out: Path) -> None:
    message = refused(fixture("tlv_trailing_data"), "--key", P256, out=out, code=1)
    assert "or --accept trailing-data" in message
    options = ("--accept", "trailing-data")
    result = run("sign", fixture("tlv_trailing_data"), "--key", P256, "-o", out, *options)
    assert result.code == 0
    assert "trailing-data" in result.out


def test_truncated(tmp_path: Path, out: Path) -> None:
    data = Path(IMAGE).read_bytes()
    for length, code in ((0x100, 1), (2, 3), (0, 3)):
        cut = tmp_path / "cut.bin"
        cut.write_bytes(data[:length])
        refused(cut, "--key", P256, out=out, code=code)


def test_no_room(out: Path) -> None:
    big = fixture("tlv_over_8k")
    message = refused(big, "--key", RSA, "--size", "0x2000", out=out, code=1)
    assert "does-not-fit" in message


USAGE = {
    "no key": (),
    "no output": ("--key", P256),
    "four keys": ("--key", RSA, "--key", RSA_2, "--key", RSA_3, "--key", RSA),
    "two schemes": ("--key", RSA, "--key", P256),
    "a key of 2048 bits": ("--key", material("rsa_device.key")),
    "a certificate": ("--key", material("ec_device.pem")),
    "a public key": ("--key", str(OTHERS / "sign_p256.pub.pem")),
    "an image": ("--key", IMAGE),
    "a missing key": ("--key", "no-such-file"),
    "a directory": ("--key", str(OTHERS)),
    "a key from standard input": ("--key", "-"),
    "an endless key": ("--key", "/dev/zero"),
    "a signature without a key": ("--signature", IMAGE),
    "a key without a signature": ("--key", P256, "--public-key", P256),
    "a signature with too many keys": ("--signature", P256, *("--public-key", P256) * 2),
    "a scheme with a key": ("--key", P256, "--scheme", "ecdsa256"),
    "a code for migrate": ("--key", P256, "--accept", "item-crc"),
    "an unknown code": ("--key", P256, "--accept", "bogus"),
    "a bad size": ("--key", P256, "--size", "0x2001"),
    "an unknown chip": ("--key", P256, "--chip", "esp33"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(case: str, out: Path) -> None:
    if "/dev/zero" in USAGE[case] and not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    options = () if case == "no output" else ("-o", out)
    result = run("sign", IMAGE, *USAGE[case], *options)
    assert (result.code, result.out) == (2, ""), result.err
    assert result.err
    assert "Traceback" not in result.err
    assert_no_output(out)


DIGEST_USAGE = {
    "no scheme": (),
    "scheme and key": ("--scheme", "rsa3072", "--public-key", P256),
    "unknown scheme": ("--scheme", "rsa4096"),
    "two schemes": ("--public-key", P256, "--public-key", P384),
    "no key": ("--public-key", IMAGE),
    "a private key": ("--scheme", "rsa3072", "--key", RSA),
    "a signature": ("--public-key", P256, "--signature", P256),
    "an output": ("--scheme", "rsa3072", "-o", "out.bin"),
}


@pytest.mark.parametrize("case", DIGEST_USAGE)
def test_wrong_usage_of_a_digest(case: str, tmp_path: Path) -> None:
    wanted = tmp_path / "digest.bin"
    result = run("sign", IMAGE, "--digest-out", wanted, *DIGEST_USAGE[case], cwd=tmp_path)
    assert (result.code, result.out) == (2, ""), result.err
    assert list(tmp_path.iterdir()) == []


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    image, key, public = (tmp_path / name for name in ("image.bin", "key.pem", "public.pem"))
    signature, password = tmp_path / "signature.bin", tmp_path / "password.txt"
    image.write_bytes(Path(IMAGE).read_bytes())
    key.write_bytes(Path(P256).read_bytes())
    public.write_bytes(public_file(P256, tmp_path).read_bytes())
    signature.write_bytes(b"signature")
    password.write_bytes(b"password")
    inputs = {path: path.read_bytes() for path in (image, key, public, signature, password)}
    given = ("--key", key, "--signature", signature, "--public-key", public)
    for path in inputs:
        options = ("--key-password-file", password, "-o", path, "--force")
        result = run("sign", image, *given, *options)
        assert result.code == 2
        assert "is the input" in result.err
        asked = ("--digest-out", path, "--public-key", public, "--force")
        if path in (image, public):
            assert run("sign", image, *asked).code == 2
    assert {path: path.read_bytes() for path in inputs} == inputs


def test_standard_output_is_for_reports() -> None:
    assert run("sign", IMAGE, "--key", P256, "-o", "-").code == 2
    assert run("sign", IMAGE, "--digest-out", "-", "--scheme", "rsa3072").code == 2


def test_names_with_escapes_reach_no_terminal(tmp_path: Path, out: Path) -> None:
    key = tmp_path / "key\x1b[31m.pem"
    key.write_bytes(b"no key")
    assert "\\x1b" in refused(IMAGE, "--key", key, out=out, code=2)
    key.write_bytes(Path(P256).read_bytes())
    signed = run("sign", IMAGE, "--key", key, "-o", out)
    assert signed.code == 0
    assert controls(signed.text) == set()


def test_the_key_reaches_no_output(out: Path) -> None:
    """Nor does anything that could be taken for its number."""
    numbers = private(P256).private_numbers()
    assert isinstance(numbers, ec.EllipticCurvePrivateNumbers)
    secret = numbers.private_value.to_bytes(32, "big")
    for options in (("--json",), ()):
        result = run("sign", *options, IMAGE, "--key", P256, "-o", out, "--force")
        assert secret.hex() not in result.text.lower()
        assert str(numbers.private_value) not in result.text
    data = out.read_bytes()
    assert secret not in data
    assert secret[::-1] not in data
