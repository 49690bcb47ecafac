"""`espcert.checks.ds`: RSA keys for the DS peripheral, with and without their HMAC key."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.ds_vectors import VECTORS, Parameters, Vector, decrypted, parameters
from tests.support import FIXTURES, IMAGES, fixture_truth, real_image, real_truth
from tests.toolkit.pki import context, entry, issue, item_of, make_key, tlv_image

from espcert import detection, efuse, image, keypairs
from espcert.checks import ds
from espcert.checks.context import Context
from espcert.chips import CHIPS
from espcert.findings import Finding
from espcert.keys import Keys, Lookup
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item

KEY = bytes(range(1, 33))
IV = bytes(range(100, 116))
SMALL, LARGE = 384, 512
"""Bytes of a number on the chips with 3072 and with 4096 bits."""


# --- Making images ------------------------------------------------------------------------------


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A key of the fixtures."""
    key = keypairs.load_private_key((FIXTURES / "inputs" / f"{name}.key").read_bytes())
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@cache
def key_of(vector: Vector) -> rsa.RSAPrivateKey:
    """The key of a vector of ESP-IDF."""
    n, d = vector.parameters.m, vector.parameters.y
    p, q = rsa.rsa_recover_prime_factors(n, 65537, d)
    public = rsa.RSAPublicNumbers(65537, n)
    iqmp = rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), iqmp, public).private_key()


@cache
def key_with(exponent: int) -> rsa.RSAPrivateNumbers:
    """An RSA-1024 key with a public exponent that no generator offers."""
    while True:
        made = rsa.generate_private_key(65537, 1024).private_numbers()
        p, q, n = made.p, made.q, made.public_numbers.n
        phi = (p - 1) * (q - 1)
        if phi % exponent:
            d = pow(exponent, -1, phi)
            public = rsa.RSAPublicNumbers(exponent, n)
            return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), made.iqmp, public)


@cache
def certificate_of(key: Any) -> bytes:
    return issue("device", key).pem + b"\0"


def right(key: rsa.RSAPrivateKey, size: int = SMALL) -> Parameters:
    numbers = key.private_numbers()
    return parameters(size, numbers.public_numbers.n, numbers.d)


def contents(
    ciphertext: bytes,
    certificate: bytes | None = None,
    *,
    bits: int = 1024,
    iv: bytes = IV,
    key_id: int = 1,
    index: int = 0,
) -> Contents:
    """A TLV partition with a DS key, and with the device certificate if one is given."""
    data = struct.pack("<I", bits // 32 - 1) + iv + ciphertext
    entries = [
        entry("ds_data", data, index),
        entry(kinds.DS_CONTEXT, kinds.ds_context_data(bits, key_id), index),
    ]
    if certificate is not None:
        entries.append(entry(kinds.DEVICE_CERT, certificate, index))
    return tlv_image(*entries)


def found(source: Contents, key: bytes | None = KEY, **overrides: Any) -> list[Finding]:
    return list(ds.check(context(source, **{"keys": Keys(key), **overrides})))


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def only(findings: list[Finding], code: str, item: Item) -> str:
    """The message of the one finding, which names this item and its place."""
    assert codes(findings) == [code]
    assert (findings[0].item, findings[0].offset) == (item.kind, item.offset)
    assert findings[0].message.startswith(f"{item.kind}: ")
    return findings[0].message


def only_on_ciphertext(source: Contents, code: str, **overrides: Any) -> str:
    return only(found(source, **overrides), code, item_of(source, kinds.DS_CIPHERTEXT))


SHORT = VECTORS[0]
"""RSA-1024 among numbers of 3072 bits: the cheapest to prove, with much padding."""


def short(**changes: Any) -> Parameters:
    return SHORT.parameters._replace(**changes)


def short_image(certificate: bool = True, **changes: Any) -> Contents:
    """The first vector under another key, with some parameters changed."""
    given_certificate = certificate_of(key_of(SHORT)) if certificate else None
    return contents(short(**changes).encrypted(KEY, IV), given_certificate)


# --- Keys that are right ------------------------------------------------------------------------

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.source)
with_or_without = pytest.mark.parametrize("certified", [True, False], ids=["cert", "no-cert"])


@each_vector
@with_or_without
def test_a_ds_key_of_esp_idf_is_proven(vector: Vector, certified: bool) -> None:
    certificate = certificate_of(key_of(vector)) if certified else None
    source = contents(vector.ciphertext, certificate, iv=vector.iv)
    message = only_on_ciphertext(source, "ds-proven", keys=Keys(vector.key))
    assert ("no readable device certificate" in message) == (not certified)
    assert ("65537" in message) == (not certified)


def ds_images() -> list[Any]:
    """The images with a whole DS key, and where the HMAC key of each lies."""
    rows = [
        (FIXTURES / row["file"], FIXTURES / "inputs" / "hmac_key.bin")
        for row in fixture_truth()
        if row["key"] == "rsa_ds" and "ds-incomplete" not in row["refused"]
    ]
    rows += [
        (IMAGES / row["image"], (IMAGES / row["image"]).with_name("hmac_key.bin"))
        for row in real_truth()
        if (IMAGES / row["image"]).with_name("hmac_key.bin").exists()
    ]
    return [pytest.param(*row, id=f"{row[0].parent.name}-{row[0].stem}") for row in rows]


@pytest.mark.parametrize(("path", "key"), ds_images())
def test_every_image_is_proven_with_its_key_and_with_no_other(path: Path, key: Path) -> None:
    source = detection.detect(image.locate(path.read_bytes())).require()
    right_key = key.read_bytes()
    wrong_key = bytes((right_key[0] ^ 1,)) + right_key[1:]
    only_on_ciphertext(source, "ds-proven", keys=Keys(right_key))
    only_on_ciphertext(source, "ds-wrong-key", keys=Keys(wrong_key))
    message = only_on_ciphertext(source, "ds-not-proven", keys=Keys())
    assert f"BLOCK_KEY{item_of(source, kinds.DS_CONTEXT).efuse_key_id}" in message


def test_there_are_images_of_every_layout() -> None:
    assert {row["layout"] for row in fixture_truth() if row["key"] == "rsa_ds"} == {
        *("tlv", "cust_flash", "cust_flash_legacy", "nvs", "nvs_legacy", "nvs_esp_ds")
    }


@pytest.mark.parametrize("chip", ["esp32c3", None])
def test_a_real_image_is_proven_with_its_efuses(chip: str | None) -> None:
    source = detection.detect(image.locate(real_image("tlv_rsa_ds_c3/partition.bin"))).require()
    dump = efuse.load(str(IMAGES / "tlv_rsa_ds_c3" / "qemu_efuse.bin"), chip)
    message = only_on_ciphertext(source, "ds-proven", keys=Keys(None, dump))
    assert "BLOCK_KEY1" in message


def test_keys_of_other_indexes_are_proven_with_the_certificate_of_their_index() -> None:
    other = key_of(VECTORS[1])
    one = right(key_of(SHORT)).encrypted(KEY, IV)
    two = right(other).encrypted(KEY, IV)
    data = [struct.pack("<I", 31) + IV + ciphertext for ciphertext in (one, two)]
    entries = [
        made
        for index, key in ((0, key_of(SHORT)), (1, other))
        for made in (
            entry("ds_data", data[index], index),
            entry(kinds.DS_CONTEXT, kinds.ds_context_data(1024, index), index),
            entry(kinds.DEVICE_CERT, certificate_of(key), index),
        )
    ]
    source = tlv_image(*entries)
    assert codes(found(source)) == ["ds-proven", "ds-proven"]
    assert [finding.item for finding in found(source)] == ["ds_ciphertext", "ds_ciphertext[1]"]


# --- Another HMAC key ---------------------------------------------------------------------------


@with_or_without
@pytest.mark.parametrize("at", range(32))
def test_every_other_hmac_key_is_told_from_damage(certified: bool, at: int) -> None:
    source = short_image(certificate=certified)
    for bit in range(8):
        key = bytearray(KEY)
        key[at] ^= 1 << bit
        only_on_ciphertext(source, "ds-wrong-key", keys=Keys(bytes(key)))


@given(
    st.sampled_from((1200, 1584)).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.sampled_from((1024, 2048, 3072)),
    st.booleans(),
)
@example(bytes(1200), 1024, True)
@example(b"\xff" * 1584, 1024, False)
@example(b"\x08" * 1200, 3072, True)
@settings(deadline=None, max_examples=30)
def test_bytes_that_are_no_ds_key_show_no_right_key(
    ciphertext: bytes, bits: int, certified: bool
) -> None:
    certificate = certificate_of(key_of(SHORT)) if certified else None
    source = contents(ciphertext, certificate, bits=bits)
    assert codes(found(source))[-1] == "ds-wrong-key"


# --- Damage under the right key -----------------------------------------------------------------

PARTS = ("the private exponent", "the modulus", "Rb", "M'", "L", "the padding")


def unharmed(before: bytes, after: bytes, size: int) -> set[str]:
    """The parts of a block that are the same, by comparing bytes."""
    box = 3 * size + 32
    bounds = (0, size, 2 * size, 3 * size, box, box + 4, box + 8, box + 16)
    spans = [(bounds[i], bounds[i + 1]) for i in (0, 1, 2, 4, 5, 6)]
    return {
        name
        for name, (start, stop) in zip(PARTS, spans, strict=True)
        if before[start:stop] == after[start:stop]
    }


def said(message: str) -> tuple[set[str], set[str]]:
    """What a message says is right, and what not."""
    shown = re.search(r"match; (?:(.*) (?:is|are) right|nothing else is right)(.*)", message)
    assert shown is not None, message
    rest = shown[2].removesuffix(" is not").removesuffix(" are not")
    told = [set(re.findall("|".join(PARTS), part or "")) for part in (shown[1], rest)]
    return told[0], told[1]


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


def judged_damage(key: rsa.RSAPrivateKey, size: int, at: int, *, certified: bool) -> None:
    """One bit of the ciphertext flipped: what the message says is what the bytes say."""
    made = right(key, size)
    ciphertext = flipped(made.encrypted(KEY, IV), at)
    certificate = certificate_of(key) if certified else None
    source = contents(ciphertext, certificate, bits=key.key_size)
    message = only_on_ciphertext(source, "ds-damaged")
    same = unharmed(made.plaintext(IV), decrypted(KEY, IV, ciphertext), size)
    if not certified and "the modulus" not in same:
        assert "modulus and Rb do not belong together" in message
        return
    told_right, told_wrong = said(message)
    assert told_right == same
    assert "digest itself" not in message or same == set(PARTS)
    if same == set(PARTS):
        assert message.endswith("the damage lies in the digest itself")
    elif same == set(PARTS) - {PARTS[0]}:
        assert message.endswith("the damage lies in the private exponent or the IV")
    else:
        assert told_wrong == set(PARTS) - same


@with_or_without
@pytest.mark.parametrize("block", range(1200 // 16))
def test_one_bit_of_any_block_of_1200_bytes(block: int, certified: bool) -> None:
    for at in (0, 15):
        judged_damage(key_of(SHORT), SMALL, 16 * block + at, certified=certified)


@with_or_without
@pytest.mark.parametrize("block", range(1584 // 16))
def test_one_bit_of_any_block_of_1584_bytes(block: int, certified: bool) -> None:
    judged_damage(key_of(VECTORS[1]), LARGE, 16 * block + 7, certified=certified)


@with_or_without
@pytest.mark.parametrize("block", [0, 23, 24, 47, 48, 71, 72, 73, 74])
def test_one_bit_of_a_key_as_large_as_its_place(block: int, certified: bool) -> None:
    """No zero padding helps here to tell damage from a wrong key."""
    judged_damage(rsa_key("sign_rsa3072"), SMALL, 16 * block, certified=certified)


@pytest.mark.parametrize("block", [0, 63, 96, 98])
def test_one_bit_of_the_largest_key(block: int) -> None:
    judged_damage(rsa_key("rsa4096_device"), LARGE, 16 * block, certified=True)


@with_or_without
@pytest.mark.parametrize("at", range(16))
def test_one_bit_of_the_iv(at: int, certified: bool) -> None:
    ciphertext = short().encrypted(KEY, IV)
    certificate = certificate_of(key_of(SHORT)) if certified else None
    message = only_on_ciphertext(
        contents(ciphertext, certificate, iv=flipped(IV, at)), "ds-damaged"
    )
    assert said(message)[0] == set(PARTS[1:])
    assert message.endswith("the damage lies in the private exponent or the IV")


@with_or_without
@pytest.mark.parametrize("at", [0, 15, 16, 31])
def test_a_digest_that_was_wrong_when_it_was_encrypted(at: int, certified: bool) -> None:
    start = 3 * SMALL
    digest = short().plaintext(IV)[start : start + 32]
    source = short_image(certificate=certified, digest=flipped(digest, at))
    message = only_on_ciphertext(source, "ds-damaged")
    assert said(message)[0] == set(PARTS)
    assert message.endswith("the damage lies in the digest itself")


@pytest.mark.parametrize(
    ("start", "stop", "certified", "code"),
    [
        (0, 1168, True, "ds-damaged"),  # the last block is left
        (0, 1168, False, "ds-damaged"),
        (384, 1200, True, "ds-damaged"),  # the private exponent with its zeros
        (384, 1200, False, "ds-damaged"),
        (48, 448, True, "ds-damaged"),  # Rb, and a part of the modulus
        (448, 1200, True, "ds-damaged"),
        (128, 1200, True, "ds-wrong-key"),  # the private exponent alone, which nothing confirms
        (128, 1200, False, "ds-wrong-key"),
        (0, 1184, True, "ds-wrong-key"),
    ],
)
def test_much_damage(start: int, stop: int, certified: bool, code: str) -> None:
    """It is told from a wrong key as long as a part is left of which it is known what it is."""
    ciphertext = short().encrypted(KEY, IV)
    overwritten = ciphertext[:start] + bytes(stop - start) + ciphertext[stop:]
    source = contents(overwritten, certificate_of(key_of(SHORT)) if certified else None)
    only_on_ciphertext(source, code)


def test_a_piece_of_the_certificates_modulus_shows_the_right_key() -> None:
    """All of a full-sized key is lost but two blocks, of which the second is whole."""
    key = rsa_key("sign_rsa3072")
    ciphertext = right(key).encrypted(KEY, IV)
    left = bytes(480) + ciphertext[480:512] + bytes(1200 - 512)
    lost = contents(left, bits=3072)
    only_on_ciphertext(lost, "ds-wrong-key")
    message = only_on_ciphertext(contents(left, certificate_of(key), bits=3072), "ds-damaged")
    assert "nothing else is right" in message


NOISE = Parameters(
    SMALL,
    y=2**3071 + 12345,
    m=2**3071 + 2**3000 + 6789,
    rb=2**3071 + 1,
    m_prime=1,
    length=2**31,
    beta=b"no beta!",
    digest=bytes(32),
)
"""Parameters of which nothing is right, as a wrong key shows them."""


@pytest.mark.parametrize(
    "sign",
    [
        {"beta": b"\x08" * 8},
        {"m_prime": parameters(SMALL, NOISE.m, 3).m_prime},
        {"length": 95},
        {"length": 63},
        {"y": 2**2047},
        {"m": 2**2047 + 1},
        {"rb": 2**2047},
        {"rb": pow(2, 6144, NOISE.m)},
    ],
)
def test_each_sign_of_the_right_key_by_itself(sign: dict[str, Any]) -> None:
    """Here 63 is what the context says, 95 what the modulus asks for."""
    plain = contents(NOISE.encrypted(KEY, IV), bits=2048)
    only_on_ciphertext(plain, "ds-wrong-key")
    signed = contents(NOISE._replace(**sign).encrypted(KEY, IV), bits=2048)
    only_on_ciphertext(signed, "ds-damaged")


@pytest.mark.parametrize("part", ["m_prime", "rb", "m"])
def test_each_sign_of_the_certificates_modulus_by_itself(part: str) -> None:
    key = rsa_key("sign_rsa3072")
    sign = {part: getattr(right(key), part)}
    if part == "m":
        sign = {"m": NOISE.m ^ ((NOISE.m ^ right(key).m) & (2**512 - 2**384))}
    ciphertext = NOISE._replace(**sign).encrypted(KEY, IV)
    certified = contents(ciphertext, certificate_of(key), bits=3072)
    only_on_ciphertext(certified, "ds-damaged")
    only_on_ciphertext(contents(ciphertext, bits=3072), "ds-wrong-key")


def test_the_private_exponent_is_tried_with_the_certificates_public_exponent() -> None:
    numbers = key_with(5)
    made = parameters(SMALL, numbers.public_numbers.n, numbers.d)
    certificate = certificate_of(numbers.private_key())
    source = contents(made.encrypted(KEY, IV), certificate)
    only_on_ciphertext(source, "ds-proven")
    spoilt = contents(made._replace(digest=bytes(32)).encrypted(KEY, IV), certificate)
    assert said(only_on_ciphertext(spoilt, "ds-damaged"))[0] == set(PARTS)
    alone = contents(made.encrypted(KEY, IV))
    only_on_ciphertext(alone, "ds-inconsistent")


def test_damage_in_a_foreign_key_is_both() -> None:
    foreign = certificate_of(key_of(VECTORS[1]))
    ciphertext = flipped(short().encrypted(KEY, IV), 5)
    source = contents(ciphertext, foreign)
    findings = found(source)
    assert codes(findings) == ["ds-damaged", "ds-foreign"]
    assert {finding.offset for finding in findings} == {item_of(source, kinds.DS_CIPHERTEXT).offset}
    assert said(findings[0].message)[0] == set(PARTS[1:])


# --- A right digest over wrong numbers ----------------------------------------------------------


@with_or_without
@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"rb": short().rb ^ 1}, ["Rb"]),
        ({"rb": 0}, ["Rb"]),
        ({"rb": short().rb + short().m}, ["Rb"]),
        ({"m_prime": short().m_prime ^ 0x80000000}, ["M'"]),
        ({"m_prime": 2**32 - short().m_prime}, ["M'"]),
        ({"length": 63}, ["L"]),
        ({"length": 32}, ["L"]),
        ({"beta": bytes(8)}, ["the padding"]),
        ({"beta": b"\x08" * 7 + b"\x07"}, ["the padding"]),
        ({"rb": 1, "length": 0}, ["Rb", "L"]),
        ({"rb": 1, "length": 0, "m_prime": 0, "beta": bytes(8)}, ["Rb", "M'", "L", "the padding"]),
    ],
)
def test_parameters_that_do_not_belong_together(
    changes: dict[str, Any], names: list[str], certified: bool
) -> None:
    message = only_on_ciphertext(short_image(certificate=certified, **changes), "ds-parameters")
    wrong = message.partition("but ")[2].partition(" not as")[0]
    assert set(re.findall("|".join(PARTS), wrong)) == set(names)


@with_or_without
def test_a_private_exponent_larger_than_the_modulus(certified: bool) -> None:
    """It signs as well, but has no room in the peripheral's words."""
    key = key_of(SHORT).private_numbers()
    larger = key.d + (key.p - 1) * (key.q - 1)
    source = short_image(certificate=certified, y=larger)
    assert "the private exponent" in only_on_ciphertext(source, "ds-parameters")


@with_or_without
@pytest.mark.parametrize("y", [0, 1, 2, short().y ^ 2, short().y + 2, short().m - 1])
def test_a_private_exponent_of_another_key(y: int, certified: bool) -> None:
    message = only_on_ciphertext(short_image(certificate=certified, y=y), "ds-inconsistent")
    assert ("certificate names another" in message) == (not certified)


def test_a_certificate_with_another_public_exponent() -> None:
    der = issue("device", key_of(SHORT)).der
    assert der.count(b"\x02\x03\x01\x00\x01") == 1
    other = der.replace(b"\x02\x03\x01\x00\x01", b"\x02\x03\x01\x00\x03")
    source = contents(short().encrypted(KEY, IV), other)
    assert "public exponent" in only_on_ciphertext(source, "ds-inconsistent")


@pytest.mark.parametrize("exponent", [3, 17])
def test_another_usual_exponent_is_found_without_a_certificate(exponent: int) -> None:
    numbers = key_with(exponent)
    made = parameters(SMALL, numbers.public_numbers.n, numbers.d)
    message = only_on_ciphertext(contents(made.encrypted(KEY, IV)), "ds-proven")
    assert f"public exponent {exponent}" in message


# --- Another certificate ------------------------------------------------------------------------


def test_another_key_of_the_same_size() -> None:
    source = contents(short().encrypted(KEY, IV), certificate_of(key_of(VECTORS[1])))
    assert "RSA 1024" in only_on_ciphertext(source, "ds-foreign")


@pytest.mark.parametrize("at", [0, 1, 63, 126, 127])
def test_one_bit_of_the_certificates_modulus(at: int) -> None:
    modulus = short().m.to_bytes(128, "big")
    der = issue("device", key_of(SHORT)).der
    assert der.count(modulus) == 1
    other = der.replace(modulus, flipped(modulus, at, 2))
    only_on_ciphertext(contents(short().encrypted(KEY, IV), other), "ds-foreign")


@pytest.mark.parametrize("kind", ["RSA-2048", "P-256", "Ed25519"])
def test_a_certificate_of_another_size_or_kind(kind: str) -> None:
    source = contents(short().encrypted(KEY, IV), certificate_of(make_key(kind)))
    size, foreign = found(source)
    assert (size.code, size.item) == ("ds-key-size", "ds_context")
    assert size.offset == item_of(source, kinds.DS_CONTEXT).offset
    assert (foreign.code, foreign.item) == ("ds-foreign", "ds_ciphertext")
    assert ("no RSA key" in foreign.message) == (kind != "RSA-2048")


def test_a_foreign_key_that_was_made_wrongly_is_both() -> None:
    source = contents(short(length=0).encrypted(KEY, IV), certificate_of(key_of(VECTORS[1])))
    assert codes(found(source)) == ["ds-parameters", "ds-foreign"]


@pytest.mark.parametrize("certificate", [b"no certificate", b""])
def test_an_unreadable_certificate_is_none(certificate: bytes) -> None:
    source = contents(short().encrypted(KEY, IV), certificate)
    assert "no readable device certificate" in only_on_ciphertext(source, "ds-proven")


# --- The context and the chip -------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2048, 3072])
def test_the_size_in_the_context_is_compared_with_the_decrypted_key(bits: int) -> None:
    source = contents(short().encrypted(KEY, IV), bits=bits)
    size, proven = found(source)
    assert (size.code, size.item) == ("ds-key-size", "ds_context")
    assert size.offset == item_of(source, kinds.DS_CONTEXT).offset
    assert f"{bits} bits" in size.message
    assert "1024" in size.message
    assert proven.code == "ds-proven"
    assert codes(found(source, None)) == ["ds-not-proven"]


@pytest.mark.parametrize("key_id", [6, 255])
def test_a_key_id_that_names_no_block(key_id: int) -> None:
    source = contents(SHORT.ciphertext, iv=SHORT.iv, key_id=key_id)
    wrong, rest = found(source, SHORT.key)
    assert (wrong.code, wrong.item, rest.code) == ("ds-key-id", "ds_context", "ds-proven")
    assert wrong.offset == item_of(source, kinds.DS_CONTEXT).offset
    assert f"{key_id}, expected 0 to 5" in wrong.message


def test_a_chip_with_fewer_blocks() -> None:
    ciphertext = right(key_of(SHORT), LARGE).encrypted(KEY, IV)
    source = contents(ciphertext, key_id=5)
    wrong, _ = found(source, chip=CHIPS["esp32s31"])
    assert (wrong.code, "expected 0 to 4" in wrong.message) == ("ds-key-id", True)
    only_on_ciphertext(source, "ds-proven", chip=CHIPS["esp32s3"])


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("size", "bits"), [(SMALL, 3072), (LARGE, 4096)])
def test_a_ciphertext_of_another_family_of_chips(chip: str, size: int, bits: int) -> None:
    """The ESP32-C5 is of the family of 3072 bits, whatever esp-secure-cert-tool 2.6.1 makes."""
    source = contents(right(key_of(SHORT), size).encrypted(KEY, IV))
    if CHIPS[chip].ds_max_bits == bits:
        only_on_ciphertext(source, "ds-proven", chip=CHIPS[chip])
        return
    wrong, proven = found(source, chip=CHIPS[chip])
    assert (wrong.code, wrong.item, proven.code) == ("ds-chip", "ds_ciphertext", "ds-proven")
    assert wrong.offset == item_of(source, kinds.DS_CIPHERTEXT).offset
    assert f"{3 * size + 48} bytes" in wrong.message
    assert chip in wrong.message


def test_the_esp32c5_reads_no_ciphertext_that_the_official_tool_makes_for_it() -> None:
    ciphertext = right(rsa_key("rsa4096_device"), LARGE).encrypted(KEY, IV)
    wrong, _ = found(contents(ciphertext, bits=4096), chip=CHIPS["esp32c5"])
    assert wrong.code == "ds-chip"
    assert "1584 bytes of ciphertext, expected 1200 for esp32c5" in wrong.message


# --- What is missing, damaged or hostile ---------------------------------------------------------


@pytest.mark.parametrize("kind", [kinds.DS_CIPHERTEXT, kinds.DS_IV, kinds.DS_CONTEXT])
def test_a_missing_part(kind: str) -> None:
    source = short_image()
    without = replace(source, items=tuple(i for i in source.items if i.kind != kind))
    [finding] = found(without)
    assert (finding.code, finding.item) == ("ds-incomplete", "ds_ciphertext")
    assert f"there is no {kind}" in finding.message


@pytest.mark.parametrize("length", [0, 16, 1199, 1201, 1216, 1583])
def test_a_ciphertext_of_another_length(length: int) -> None:
    source = contents(bytes(length), certificate_of(key_of(SHORT)))
    [finding] = found(source)
    assert (finding.code, f"{length} bytes" in finding.message) == ("ds-incomplete", True)


@pytest.mark.parametrize("kind", [kinds.DS_CIPHERTEXT, kinds.DS_IV, kinds.DS_CONTEXT])
def test_damaged_material_is_not_judged_again(kind: str) -> None:
    source = short_image()
    damaged = tuple(replace(i, intact=False) if i.kind == kind else i for i in source.items)
    assert found(replace(source, items=damaged)) == []


HOSTILE = [0, 1, 2, 3, 4, 2**1024, 2**3072 - 1, 2**3072 - 2]


@pytest.mark.parametrize("m", HOSTILE)
@pytest.mark.parametrize("y", [0, 1, 2**3072 - 1])
@with_or_without
def test_hostile_numbers_under_a_right_digest(m: int, y: int, certified: bool) -> None:
    source = short_image(certificate=certified, m=m, y=y)
    assert set(codes(found(source))) <= {
        *("ds-parameters", "ds-inconsistent", "ds-foreign", "ds-key-size")
    }
    assert ("ds-foreign" if certified else "ds-parameters") in codes(found(source))


@pytest.mark.parametrize("bits", [0, 1, 31, 32, 64, 512, 1056, 3040, 4096, 32768, 65504, 65535])
@with_or_without
def test_hostile_sizes_in_the_context(bits: int, certified: bool) -> None:
    certificate = certificate_of(key_of(SHORT)) if certified else None
    source = contents(short().encrypted(KEY, IV), certificate)
    changed = tuple(
        replace(i, rsa_bits=bits) if i.kind == kinds.DS_CONTEXT else i for i in source.items
    )
    odd = bits % 32 or not bits
    for key in (KEY, bytes(32)):
        told = codes(found(replace(source, items=changed), key))
        judged = "ds-proven" if key == KEY else "ds-wrong-key"
        assert told == (["ds-incomplete"] if odd else ["ds-key-size", judged])


def test_a_certificate_larger_than_any_ds_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modulus ends in the same word, so that M' fits it: it is still not calculated with."""
    modulus = (1 << 16000) + (short().m & 0xFFFFFFFF)
    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    monkeypatch.setattr(Context, "device_key", lambda _self, _index: public)
    whole = contents(short().encrypted(KEY, IV))
    assert codes(found(whole)) == ["ds-key-size", "ds-foreign"]
    damaged = contents(flipped(short().encrypted(KEY, IV), 3))
    assert codes(found(damaged)) == ["ds-key-size", "ds-damaged", "ds-foreign"]
    unsure = contents(flipped(short().encrypted(KEY, IV), SMALL + 64))
    size, doubt = found(unsure)
    assert (size.code, doubt.code) == ("ds-key-size", "ds-damaged")
    assert "modulus and Rb do not belong together" in doubt.message


# --- What the key's origin says ------------------------------------------------------------------


class OneLookup(Keys):
    """Keys that answer the same, whatever is asked; `asked` are the questions."""

    answer = Lookup(None)
    asked: tuple[int, ...] = ()

    def for_ds(self, key_id: int) -> Lookup:
        type(self).asked = (*self.asked, key_id)
        return self.answer


def test_problems_of_the_key_are_findings_on_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = (("efuse-key-unreadable", "not readable"), ("efuse-purpose", "has another purpose"))
    source = contents(short().encrypted(KEY, IV), key_id=4)
    for key, last in ((None, "ds-not-proven"), (KEY, "ds-proven"), (bytes(32), "ds-wrong-key")):
        monkeypatch.setattr(OneLookup, "answer", Lookup(key, "the key of the test", problems))
        first, second, judged = found(source, keys=OneLookup())
        assert (first.code, second.code, judged.code) == (*[code for code, _ in problems], last)
        assert {first.item, second.item} == {"ds_context"}
        assert first.offset == second.offset == item_of(source, kinds.DS_CONTEXT).offset
        assert first.message == "ds_context: not readable"
        assert ("the key of the test" in judged.message) == (key is not None)
    assert set(OneLookup.asked) == {4}


def test_no_secret_is_told() -> None:
    """Neither the keys nor the decrypted numbers, in no base."""
    sources = [
        short_image(),
        short_image(certificate=False),
        short_image(rb=1),
        short_image(y=2),
        contents(short().encrypted(KEY, IV), certificate_of(key_of(VECTORS[1]))),
        contents(flipped(short().encrypted(KEY, IV), 0), certificate_of(key_of(SHORT))),
    ]
    told = " ".join(repr(finding) for source in sources for finding in found(source))
    known = short()
    secrets = [KEY.hex(), *[f"{n:x}"[:16] for n in (known.y, known.m, known.rb)]]
    secrets += [str(n)[:16] for n in (known.y, known.m, known.rb, known.m_prime)]
    assert told
    assert [secret for secret in secrets if secret in told] == []
    assert not re.search("[0-9a-f]{12}", told)
