"""`espcert.signing`: what is signed, how, and that firmware would reach and verify it."""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import seal_verifier
from tests.support import FIXTURES, crc, fixture_truth, real_image

import espcert
from espcert import signers, signing
from espcert.errors import RefusedError, UsageError
from espcert.image import locate
from espcert.signers import Signer
from espcert.signing import Signing, SigningOptions
from espcert_formats import tlv

INPUTS = FIXTURES / "inputs"
OTHERS = FIXTURES / "verify" / "inputs"
KEY_FILES = {
    "rsa": INPUTS / "sign_rsa3072.key",
    "rsa 2": OTHERS / "sign_rsa3072_2.key",
    "rsa 3": OTHERS / "sign_rsa3072_3.key",
    "p192": OTHERS / "sign_p192.key",
    "p256": INPUTS / "sign_p256.key",
    "p256 2": OTHERS / "sign_p256_other.key",
    "p384": OTHERS / "sign_p384.key",
}
ONE_OF_EACH = ("rsa", "p192", "p256", "p384")


@cache
def signer(name: str) -> Signer:
    try:
        return espcert.open_signing_key(KEY_FILES[name])
    except UsageError as error:
        if "P-192" in error.message:
            pytest.skip("this build of cryptography lacks P-192")
        raise


def reading_of(data: bytes) -> espcert.Reading:
    return espcert.detect(locate(data, name="image.bin"))


def image(name: str) -> bytes:
    return (FIXTURES / "images" / f"{name}.bin").read_bytes()


def signed(data: bytes, *names: str, **options: object) -> Signing:
    accept = frozenset(options.pop("accept", ()))  # type: ignore[call-overload]
    given_ = SigningOptions(accept=accept, **options)  # type: ignore[arg-type]
    return espcert.sign(reading_of(data), [signer(name) for name in names], given_)


def written(result: Signing) -> bytes:
    assert result.output is not None, result.findings
    return result.output


def codes(result: Signing) -> set[str]:
    assert result.output is None
    return {finding.code for finding in result.blocking}


def entry(kind: int, data: bytes, *, subtype: int = 0, flags: int = 0) -> bytes:
    head = struct.pack("<IB3xBBH", 0xBA5EBA11, flags, kind, subtype, len(data))
    body = head + data + bytes(-len(data) % 16)
    return body + struct.pack("<I", crc(body))


# --- What is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_independent_verifier_is_content(name: str) -> None:
    source = image("tlv_ec")
    output = written(signed(source, name))
    assert seal_verifier.verified_keys(output) == [signer(name).public]
    assert seal_verifier.has_integrity(output)
    material = b"".join(one.raw for one in seal_verifier.entries(source) if one.type != 9)
    assert output.startswith(material)
    assert [one.type for one in seal_verifier.entries(output)] == [0, 1, 2, 8, 9]
    assert len(output) == 0x2000
    end = seal_verifier.entries(output)[-1]
    assert set(output[end.start + len(end.raw) :]) == {0xFF}


@pytest.mark.parametrize("names", [("rsa", "rsa 2", "rsa 3"), ("p256 2", "p256")])
def test_blocks_are_in_the_order_of_the_keys(names: tuple[str, ...]) -> None:
    output = written(signed(image("tlv_rsa"), *names))
    assert seal_verifier.verified_keys(output) == [signer(name).public for name in names]


def test_without_integrity() -> None:
    result = signed(image("tlv_signed_p256"), "p256", integrity=False)
    assert not seal_verifier.has_integrity(written(result))
    assert any("--no-integrity" in change for change in result.changes)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_verify_is_content(name: str) -> None:
    output = written(signed(image("tlv_ec"), name))
    found = espcert.verify(reading_of(output), signing_key=KEY_FILES[name].read_bytes())
    assert [one.severity for one in found if one.severity != "info"] == []
    assert [one.code for one in found].count("signature-valid") == 1


SIGNABLE = [
    row["file"]
    for row in fixture_truth()
    if row["layout"] == "tlv" and not row.get("refused")
    and "generation-2.0" not in row.get("variants", row.get("variant", []))
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(SIGNABLE))
def test_entries_of_every_image_are_kept(name: str) -> None:
    source = (FIXTURES / name).read_bytes()
    try:
        result = signed(source, "p256")
    except RefusedError as error:
        assert "migrate" in error.message
        assert not tlv.read(source).current
        return
    if result.output is None:
        assert result.blocking
        return
    kept = [one for one in seal_verifier.entries(source) if one.type not in (8, 9)]
    found = [one for one in seal_verifier.entries(result.output) if one.type not in (8, 9)]
    assert [one.raw for one in found] == [one.raw for one in kept]
    assert seal_verifier.verified_keys(result.output) == [signer("p256").public]


ENTRIES = st.lists(
    st.tuples(st.sampled_from([51, 52, 60, 100, 201]), st.integers(0, 16), st.binary(max_size=200)),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=40, deadline=None)
@given(ENTRIES, st.lists(st.sampled_from([8, 9]), max_size=3), st.integers(0, 3), st.data())
def test_whatever_is_signed_verifies(
    rows: list[tuple[int, int, bytes]], seals: list[int], size: int, data: st.DataObject
) -> None:
    """Old seals anywhere among the entries are taken out, all other bytes kept."""
    material = [entry(kind, payload, subtype=subtype) for kind, subtype, payload in rows]
    mixed = list(material)
    for number, kind in enumerate(seals):
        at = data.draw(st.integers(0, len(mixed)))
        mixed.insert(at, entry(kind, bytes(32 if kind == 9 else 145), subtype=number))
    source = b"".join(mixed).ljust((size + 2) * 0x1000, b"\xff")
    result = signed(source, "p256", accept=signing.ACCEPTED_HERE)
    output = written(result)
    assert output.startswith(b"".join(material))
    assert seal_verifier.verified_keys(output) == [signer("p256").public]
    assert seal_verifier.has_integrity(output)
    assert len(output) == len(source)
    assert {one.type for one in seal_verifier.entries(output)[: len(rows)]} & {8, 9} == set()


# --- The official tool's bytes -----------------------------------------------------------------


def foreign(data: bytes) -> list[Signer]:
    """The signatures that an image has, as if a HSM had made them."""
    found = []
    for one in seal_verifier.entries(data):
        if one.type != seal_verifier.SIGNATURE:
            continue
        body = one.data[16:]
        if one.data[12] == 0:
            n, e = int.from_bytes(body[36:420], "little"), int.from_bytes(body[420:424], "little")
            key: seal_verifier.Key = rsa.RSAPublicNumbers(e, n).public_key()
            made = body[812:1196][::-1]
        else:
            curve, size, _ = seal_verifier.CURVES[one.data[12]]
            x, y, r, s = (body[1 + size * at : 1 + size * (at + 1)][::-1] for at in range(4))
            big = (int.from_bytes(x, "big"), int.from_bytes(y, "big"))
            key = ec.EllipticCurvePublicNumbers(*big, curve()).public_key()
            made = r + s
        found.append(signers.from_signature(made, public_pem(key)))
    return found


def public_pem(key: seal_verifier.Key) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


TOOL_SIGNED = ["images/tlv_signed_p256", "images/tlv_signed_rsa3072", "verify/signed_rsa3072",
               "verify/signed_p256", "verify/signed_p384", "verify/signed_three"]  # fmt: skip


@pytest.mark.parametrize("name", TOOL_SIGNED)
def test_with_its_signatures_the_official_tools_image_is_made(name: str) -> None:
    """esp-secure-cert-tool 2.6.1 ends its file with a marker, espcert with erased flash."""
    data = (FIXTURES / f"{name}.bin").read_bytes()
    made, marker = data[:-4], data[-4:]
    assert marker == b"\xff\xff\x00\x00"
    unsealed = b"".join(one.raw for one in seal_verifier.entries(data) if one.type not in (8, 9))
    result = espcert.sign(reading_of(unsealed), foreign(data))
    assert written(result) == made.ljust(0x2000, b"\xff")


@pytest.mark.parametrize(
    ("name", "key"), [("images/tlv_signed_p256", "p256"), ("verify/signed_p384", "p384")]
)
def test_a_key_makes_what_the_official_tool_made(name: str, key: str) -> None:
    """Both sign without chance (RFC 6979) where OpenSSL can."""
    data = (FIXTURES / f"{name}.bin").read_bytes()
    ours = written(signed(data, key))
    again = written(signed(data, key))
    if ours != again:
        pytest.skip("cryptography or OpenSSL here is too old for signatures without chance")
    assert ours == data[:-4].ljust(0x2000, b"\xff")


@pytest.mark.parametrize("keys", [("rsa",), ("rsa", "rsa 2", "rsa 3")])
def test_rsa_blocks_differ_from_the_official_tools_in_salt_alone(keys: tuple[str, ...]) -> None:
    name = "signed_rsa3072" if len(keys) == 1 else "signed_three"
    data = (FIXTURES / "verify" / f"{name}.bin").read_bytes()
    ours, theirs = (
        [one for one in seal_verifier.entries(image) if one.type == 8]
        for image in (written(signed(data, *keys)), data)
    )
    assert len(ours) == len(theirs) == len(keys)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.start, one.subtype, one.flags) == (other.start, other.subtype, other.flags)
        assert one.data[: 16 + 812] == other.data[: 16 + 812]
        assert one.data[16 + 1200 :] == other.data[16 + 1200 :]


def test_the_real_signed_image_is_made_again_from_its_signatures() -> None:
    """Three blocks of a real image: stripped, and put back as signatures made elsewhere."""
    data = real_image("tlv_signed/partition.bin")
    found = seal_verifier.entries(data)
    unsealed = b"".join(one.raw for one in found if one.type not in (8, 9))
    assert [one.type for one in found][-3:] == [8, 8, 8]
    result = espcert.sign(reading_of(unsealed), foreign(data), SigningOptions(integrity=False))
    used = b"".join(one.raw for one in found)
    assert written(result) == used.ljust(len(written(result)), b"\xff")


def test_the_real_signed_image_signed_anew() -> None:
    data = real_image("tlv_signed/partition.bin")
    output = written(signed(data, "rsa", "rsa 2", "rsa 3"))
    ours, theirs = (
        [one for one in seal_verifier.entries(one_image) if one.type == 8]
        for one_image in (output, data)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert (one.start, one.subtype, one.flags) == (other.start, other.subtype, other.flags)
        assert one.data[: 16 + 36] == other.data[: 16 + 36]  # headers and digest
    assert output[: ours[0].start] == data[: theirs[0].start]


# --- Signatures made elsewhere -----------------------------------------------------------------


def elsewhere(name: str, digest: bytes) -> bytes:
    """What an HSM makes of a digest: DER, or RSA-PSS."""
    key = load_pem_private_key(KEY_FILES[name].read_bytes(), None)
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(SHA256()), 32)
        return key.sign(digest, pss, Prehashed(SHA256()))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    used = SHA384() if key.curve.name == "secp384r1" else SHA256()
    return key.sign(digest, ec.ECDSA(Prehashed(used)))


def public_file(name: str) -> bytes:
    return public_pem(signer(name).public)


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("form", ["der", "raw"])
def test_signature_made_elsewhere(name: str, form: str) -> None:
    reading = reading_of(image("tlv_ec"))
    digest = signing.unsigned(reading).digest(signer(name).scheme)
    made = elsewhere(name, digest)
    if form == "raw" and name != "rsa":
        size = signer(name).scheme.number_length
        made = b"".join(one.to_bytes(size, "big") for one in decode_dss_signature(made))
    result = espcert.sign(reading, [signers.from_signature(made, public_file(name))])
    assert seal_verifier.verified_keys(written(result)) == [signer(name).public]


def test_the_digest_is_that_of_the_bytes_before_the_signature() -> None:
    source = signing.unsigned(reading_of(image("tlv_signed_rsa3072")))
    material = image("tlv_ec")[:0x550]
    for name, scheme in (("rsa3072", "sha256"), ("ecdsa192", "sha256"), ("ecdsa256", "sha256"),
                         ("ecdsa384", "sha384")):  # fmt: skip
        wanted = hashlib.new(scheme, material).digest()
        assert source.digest(signers.scheme_named(name)) == wanted


def test_the_same_bytes_as_with_the_key() -> None:
    """Without chance in the signature an HSM's and a key's are the same image."""
    data = image("tlv_ec")
    once, again = (written(signed(data, "p256")) for _ in range(2))
    if once != again:
        pytest.skip("cryptography or OpenSSL here is too old for signatures without chance")
    (block,) = [one for one in seal_verifier.entries(once) if one.type == 8]
    r, s = (int.from_bytes(block.data[at : at + 32], "little") for at in (81, 113))
    made = encode_dss_signature(r, s)
    result = espcert.sign(reading_of(data), [signers.from_signature(made, public_file("p256"))])
    assert written(result) == once


def test_keys_and_signatures_together() -> None:
    reading = reading_of(image("tlv_ec"))
    digest = signing.unsigned(reading).digest(signer("p256").scheme)
    other = signers.from_signature(elsewhere("p256 2", digest), public_file("p256 2"))
    output = written(espcert.sign(reading, [signer("p256"), other]))
    assert seal_verifier.verified_keys(output) == [signer("p256").public, signer("p256 2").public]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_signature_of_other_bytes_is_refused(name: str) -> None:
    reading = reading_of(image("tlv_ec"))
    scheme = signer(name).scheme
    made = elsewhere(name, hashlib.new(scheme.digest, b"other bytes").digest())
    with pytest.raises(RefusedError, match="does not verify with the public key given"):
        espcert.sign(reading, [signers.from_signature(made, public_file(name))])


@pytest.mark.parametrize("made", [b"", b"\x30", bytes(64), b"\xff" * 64, bytes(384), b"\x30" * 71])
@pytest.mark.parametrize("name", ["rsa", "p256"])
def test_what_is_no_signature_is_refused(name: str, made: bytes) -> None:
    with pytest.raises(RefusedError, match="does not verify"):
        espcert.sign(reading_of(image("tlv_ec")), [signers.from_signature(made, public_file(name))])


def test_an_rsa_signature_with_another_salt_is_refused() -> None:
    reading = reading_of(image("tlv_ec"))
    digest = signing.unsigned(reading).digest(signer("rsa").scheme)
    key = load_pem_private_key(KEY_FILES["rsa"].read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    for scheme in (padding.PSS(padding.MGF1(SHA256()), 20), padding.PKCS1v15()):
        made = key.sign(digest, scheme, Prehashed(SHA256()))
        with pytest.raises(RefusedError):
            espcert.sign(reading, [signers.from_signature(made, public_file("rsa"))])


# --- What is not signed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["cust_flash_rsa", "cust_flash_legacy_ec", "nvs_ec", "nvs_legacy_ds_c3"]
)
def test_other_layouts_are_told_to_migrate(name: str) -> None:
    with pytest.raises(RefusedError, match=r"expected tlv, .*`espcert migrate` first") as caught:
        signed(image(name), "p256")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", ["tlv_2_0", "tlv_2_0_ds_c3"])
def test_the_generation_2_0_is_told_to_migrate(name: str) -> None:
    with pytest.raises(RefusedError, match=r"old form.*`espcert migrate` first"):
        signed(image(name), "p256")


REFUSED = {
    "tlv_damaged_ca": "item-crc",
    "tlv_duplicate": "duplicate-entry",
    "tlv_trailing_data": "trailing-data",
    "tlv_ds_incomplete": "ds-incomplete",
    "tlv_ecdsa_leaked_key": "leaked-key",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_verify_finds_is_refused(name: str) -> None:
    assert REFUSED[name] in codes(signed(image(name), "p256"))
    assert signing.unsigned(reading_of(image(name))).material is None


def test_a_truncated_image_is_refused() -> None:
    assert codes(signed(image("tlv_ec")[:0x300], "p256")) >= {"item-crc"}


def test_trailing_data_can_be_left_out() -> None:
    data = image("tlv_ec") + b"\xffrest"
    assert codes(signed(data, "p256")) == {"trailing-data"}
    result = signed(data, "p256", accept=["trailing-data"])
    assert b"rest" not in written(result)
    assert any("trailing-data" in change for change in result.changes)


def test_the_tools_signature_behind_the_padding_is_put_right() -> None:
    data = (FIXTURES / "verify" / "signed_padded.bin").read_bytes()
    assert codes(signed(data, "p256")) == {"trailing-data"}
    output = written(signed(data, "p256", accept=["trailing-data"]))
    assert seal_verifier.verified_keys(output) == [signer("p256").public]


def test_the_tools_signature_in_front_is_put_behind() -> None:
    data = (FIXTURES / "verify" / "signed_first.bin").read_bytes()
    output = written(signed(data, "p256"))
    assert [one.type for one in seal_verifier.entries(output)][-2:] == [8, 9]
    assert seal_verifier.verified_keys(output) == [signer("p256").public]


@pytest.mark.parametrize("name", ["signed_p256_altered", "signed_rsa3072_altered"])
def test_altered_bytes_get_no_new_signature_unasked(name: str) -> None:
    """Else signing would make good what was tampered with."""
    data = (FIXTURES / "verify" / f"{name}.bin").read_bytes()
    (code,) = codes(signed(data, "p256"))
    assert code.startswith("signature-")
    result = signed(data, "p256", accept=[code])
    assert seal_verifier.verified_keys(written(result)) == [signer("p256").public]
    assert any(change.startswith("accepted: ") for change in result.changes)


def test_broken_integrity_gets_no_new_seal_unasked() -> None:
    data = (FIXTURES / "verify" / "integrity_mismatch.bin").read_bytes()
    assert codes(signed(data, "p256")) == {"integrity-mismatch"}
    assert signed(data, "p256", accept=["integrity-mismatch"]).output


@pytest.mark.parametrize("code", ["item-crc", "duplicate-entry", "signature-lost", "other-data"])
def test_codes_that_leave_entries_out_are_for_migrate(code: str) -> None:
    with pytest.raises(UsageError, match="`espcert migrate` takes it"):
        SigningOptions(accept=frozenset({code}))


def test_unknown_code() -> None:
    with pytest.raises(UsageError, match="not a code that can be accepted"):
        SigningOptions(accept=frozenset({"bogus"}))


@pytest.mark.parametrize("size", [0, 0x1001, 1 << 40])
def test_sizes_of_no_partition(size: int) -> None:
    with pytest.raises(UsageError, match="--size"):
        SigningOptions(size=size)


def test_seals_alone_are_not_signed() -> None:
    data = tlv.with_integrity(b"")
    assert "nothing-left" in codes(signed(data, "p256"))


@pytest.mark.parametrize("name", ["rsa", "p256"])
def test_no_room(name: str) -> None:
    """The last 16 bytes must stay erased: firmware reads the header behind the last entry."""
    block = 16 + -(-signer(name).scheme.length // 16) * 16
    room = 0x2000 - 16 - 48 - block
    assert len(written(signed(entry(51, bytes(room - 16)), name, size=0x2000))) == 0x2000
    data = entry(51, bytes(room))
    assert codes(signed(data, name, size=0x2000)) == {"does-not-fit"}
    assert written(signed(data, name, size=0x3000))


def test_room_ends_at_64_kib() -> None:
    data = entry(51, bytes(65000))
    assert codes(signed(data, "rsa", size=0x20000)) == {"does-not-fit"}


def test_old_material_behind_the_size() -> None:
    data = image("tlv_ec").ljust(0x2800, b"\xff") + b"key"
    result = signed(data, "p256", size=0x2000, accept=["trailing-data"])
    assert codes(result) == {"does-not-fit"}


# --- Keys that do not go together --------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), "0 signatures, expected 1 to 3"),
        (("rsa", "rsa 2", "rsa 3", "p256"), "4 signatures, expected 1 to 3"),
        (("rsa", "p256"), "all keys must be of one scheme"),
        (("p256", "p384"), "all keys must be of one scheme"),
    ],
)
def test_keys_that_do_not_go_together(names: tuple[str, ...], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        signed(image("tlv_ec"), *names)


# --- Whole flash images ------------------------------------------------------------------------

FLASH_SIZE, TABLE, PARTITION, SIZE = 0x40000, 0xC000, 0x20000, 0x3000


def flash_image(label: bytes = b"esp_secure_cert", kind: int = 0x3F) -> bytes:
    """A signed partition in the middle of a flash image, other partitions around it."""
    rows = [(b"nvs", 1, 2, 0xD000, 0x3000), (label, kind, 6, PARTITION, SIZE)]
    rows += [(b"after", 0x40, 0, PARTITION + SIZE, 0x1000)]
    table = b"".join(struct.pack("<2sBBLL16sL", b"\xaa\x50", *row[1:], row[0], 1) for row in rows)
    table += b"\xeb\xeb".ljust(16, b"\xff") + hashlib.md5(table).digest()
    flash = bytearray(hashlib.sha256(b"noise").digest() * (FLASH_SIZE // 32))
    flash[TABLE : TABLE + 0x1000] = table.ljust(0x1000, b"\xff")
    flash[PARTITION : PARTITION + SIZE] = image("tlv_signed_rsa3072")[:-4].ljust(SIZE, b"\xff")
    flash[0] = 0xFF
    return bytes(flash)


def test_a_flash_image_is_signed_in_place() -> None:
    data = flash_image()
    result = signed(data, "p384")
    made = result.file
    assert made is not None
    assert (
        made[:PARTITION] + made[PARTITION + SIZE :] == data[:PARTITION] + data[PARTITION + SIZE :]
    )
    assert made[PARTITION : PARTITION + SIZE] == result.output
    assert seal_verifier.verified_keys(made[PARTITION:]) == [signer("p384").public]


def test_the_partition_of_a_flash_image_alone() -> None:
    result = signed(flash_image(), "p384", partition_only=True)
    assert result.file == result.output
    assert len(written(result)) == SIZE


def test_a_row_that_firmware_does_not_look_for_is_for_migrate() -> None:
    for label, kind in ((b"pre_prov", 0x3F), (b"esp_secure_cert", 1)):
        with pytest.raises(RefusedError, match=r"row of the table.*`espcert migrate` first"):
            signed(flash_image(label, kind), "p256")
    taken = signed(
        flash_image(b"pre_prov"), "p256", partition_only=True, accept=["label-contradiction"]
    )
    assert seal_verifier.verified_keys(written(taken)) == [signer("p256").public]


def test_size_of_a_flash_image_is_the_tables() -> None:
    with pytest.raises(UsageError, match="the partition table says it"):
        signed(flash_image(), "p256", size=0x4000)


# --- What is handed out ------------------------------------------------------------------------


def test_save(tmp_path: Path) -> None:
    result = signed(image("tlv_ec"), "p256")
    espcert.save(result, tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == result.output


def test_repr_shows_no_secret() -> None:
    key = load_pem_private_key(KEY_FILES["p256"].read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = str(key.private_numbers().private_value)
    shown = repr(signer("p256")) + repr(signed(image("tlv_ec"), "p256"))
    assert number not in shown
    assert "PrivateKey" not in shown
