"""`espcert.build`: partitions from certificates and keys, against the official tool's bytes.

The images in fixtures/verify are those of esp-secure-cert-tool 2.6.1 (`make fixtures-check` runs
it again); its IVs are fed in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fixtures.tools.determinism import steady_bytes
from fixtures.tools.verify.ds import KEY_ID, matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES
from tests.toolkit.pki import key_bytes, make_key

import espcert
from espcert import DerivedKey, DsKey, EcdsaKey, PlainKey, RefusedError, Stored, UsageError
from espcert.building import MAX_INDEX, Built, Part, build, to_json
from espcert.burning import UNNAMED, burned
from espcert.chips import CHIPS
from espcert.key_storage import Key
from espcert_formats import items as kinds
from espcert_formats import tlv

VERIFY = FIXTURES / "verify"
INPUTS = FIXTURES / "inputs"
HMAC_KEY = (INPUTS / "hmac_key.bin").read_bytes()
SALT = (INPUTS / "derived_salt.bin").read_bytes()
PASSWORD = b"espcert verify"


def given_file(name: str) -> bytes:
    return (VERIFY / "inputs" / name).read_bytes()


def certificates(device: str, ca: str = "ca.pem") -> list[Part]:
    held = [Stored("ca_cert", given_file(ca)), Stored("device_cert", given_file(device))]
    return list(held)


def used(image: bytes) -> bytes:
    """The bytes up to the erased flash behind the last entry."""
    return image[: tlv.read(image).end]


def bytes_of(parts: Sequence[Part], **options: Any) -> bytes:
    """What is built, which nothing speaks against."""
    built = build(parts, **options)
    assert built.output is not None, built.findings
    return built.output


def codes(built: Built) -> set[str]:
    return {finding.code for finding in built.findings}


def golden(name: str) -> bytes:
    return (VERIFY / f"{name}.bin").read_bytes()


# --- The official tool's bytes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "device", "key", "ca"),
    [
        ("ec", "device.pem", "device.key", "ca.pem"),
        ("ec", "device.pem", "device.pkcs8.key", "ca.pem"),
        ("ec", "device.pem", "device.encrypted.key", "ca.pem"),
        ("ec", "device.pem", "device.encrypted_sec1.key", "ca.pem"),
        ("rsa", "rsa2048.pem", "rsa2048.key", "ca.pem"),
        ("rsa1024", "rsa1024.pem", "rsa1024.key", "ca.pem"),
        ("p192", "p192.pem", "p192.key", "ca.pem"),
        ("der", "device.der", "device.key.der", "ca.der"),
        ("der", "device.der", "device.pkcs8.der", "ca.der"),
        ("der", "device.der", "device.encrypted.der", "ca.der"),
    ],
)
def test_a_plain_key_is_stored_as_the_tool_stores_it(
    name: str, device: str, key: str, ca: str
) -> None:
    parts = [*certificates(device, ca), PlainKey(given_file(key), PASSWORD)]
    output = bytes_of(parts)
    assert used(output) == golden(name)
    assert len(output) == 0x2000
    assert set(output[len(golden(name)) :]) == {0xFF}


@pytest.mark.parametrize(("chip", "bits"), matrix())
def test_ds_of_every_chip_and_size_is_what_the_tool_writes(chip: str, bits: int) -> None:
    iv = steady_bytes(f"verify iv {chip} {bits}", 16)
    key = DsKey(given_file(f"rsa{bits}.key"), HMAC_KEY, KEY_ID, iv=iv)
    built = build([*certificates(f"rsa{bits}.pem"), key], chip=chip)
    assert built.output is not None
    assert used(built.output) == golden(f"ds_{chip}_{bits}")
    assert "ds-proven" in codes(built)


def test_without_integrity_the_rest_is_the_same() -> None:
    parts = [*certificates("device.pem"), PlainKey(given_file("device.key"))]
    assert used(bytes_of(parts, integrity=False)) == golden("ec")[:-48]


# --- The DS peripheral ---------------------------------------------------------------------------

DS_CHIPS = [chip for chip in CHIPS.values() if chip.ds_max_bits]


@pytest.mark.parametrize("chip", DS_CHIPS, ids=lambda chip: chip.name)
@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_ds_is_right_for_every_chip_or_refused(chip: Any, bits: int) -> None:
    """Also for the C5, H21 and S31, where the tool errs or does not help."""
    key = DsKey(given_file(f"rsa{bits}.key"), HMAC_KEY, chip.key_blocks - 1)
    parts = [*certificates(f"rsa{bits}.pem"), key]
    if bits > chip.ds_max_bits:
        with pytest.raises(RefusedError, match=f"RSA {bits}, expected RSA of 1024, 2048, 3072"):
            build(parts, chip=chip.name)
        return
    built = build(parts, chip=chip.name)
    (ciphertext,) = built.contents.of_kind(kinds.DS_CIPHERTEXT)
    assert len(ciphertext.data) == chip.ds_ciphertext_length
    assert (built.refused, "ds-proven" in codes(built)) == (False, True)
    assert built.commands == (
        f"espefuse --chip {chip.name} burn-key BLOCK_KEY{chip.key_blocks - 1} <key file> "
        "HMAC_DOWN_DIGITAL_SIGNATURE",
    )


def test_the_iv_is_another_each_time() -> None:
    key = DsKey(given_file("rsa1024.key"), HMAC_KEY, 0)
    outputs = {bytes_of([*certificates("rsa1024.pem"), key], chip="esp32c3") for _ in range(4)}
    assert len(outputs) == 4


@given(st.binary(min_size=32, max_size=32).filter(any), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_a_ds_key_is_proven_under_any_hmac_key(hmac_key: bytes, key_id: int) -> None:
    key = DsKey(given_file("rsa1024.key"), hmac_key, key_id)
    output = bytes_of([*certificates("rsa1024.pem"), key], chip="esp32s3")
    reading = espcert.detect(espcert.locate(output))
    found = {one.code for one in espcert.verify(reading, hmac_key=hmac_key, chip="esp32s3")}
    assert "ds-proven" in found
    (context,) = reading.require().of_kind(kinds.DS_CONTEXT)
    assert (context.rsa_bits, context.efuse_key_id) == (1024, key_id)


# --- The ECDSA peripheral ------------------------------------------------------------------------

CURVES = {"secp192r1": ("p192", 192), "secp256r1": ("device", 256), "secp384r1": ("p384", 384)}
OWN_PURPOSES = {"secp192r1": "ECDSA_KEY_P192", "secp384r1": "ECDSA_KEY_P384"}


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
@pytest.mark.parametrize("curve", CURVES)
def test_ecdsa_is_right_for_every_chip_or_refused(chip: Any, curve: str) -> None:
    name, _ = CURVES[curve]
    parts = [*certificates(f"{name}.pem"), EcdsaKey(given_file(f"{name}.key"), 2)]
    if curve not in chip.ecdsa_curves:
        with pytest.raises(RefusedError, match=r"ECDSA peripheral"):
            build(parts, chip=chip.name)
        return
    built = build(parts, chip=chip.name)
    assert (built.refused, "ecdsa-proven" in codes(built)) == (False, True)
    (key,) = built.contents.of_kind(kinds.PRIVATE_KEY)
    assert (key.data, key.flags) == (b"", 0x08)
    (config,) = built.contents.of_kind(kinds.SECURITY_CONFIG)
    block = 6 << 4 | 7 if curve == "secp384r1" else 6
    assert config.data == bytes((block,)) + bytes(39)
    own = chip.name not in ("esp32h2", "esp32h21", "esp32c61")
    purpose = OWN_PURPOSES.get(curve, "ECDSA_KEY") if own else "ECDSA_KEY"
    assert built.commands[0].endswith(f" BLOCK_KEY2 <key file> {purpose}")


@pytest.mark.parametrize(("chip", "high", "low"), [("esp32c5", 5, 0), ("esp32s31", 4, 0)])
def test_the_block_behind_the_last_is_the_first(chip: str, high: int, low: int) -> None:
    parts = [*certificates("p384.pem"), EcdsaKey(given_file("p384.key"), high)]
    built = build(parts, chip=chip)
    (config,) = built.contents.of_kind(kinds.SECURITY_CONFIG)
    assert config.efuse_block == (high + 4) << 4 | (low + 4)
    assert "ecdsa-proven" in codes(built)
    assert any(f"BLOCK_KEY{low} must be free" in note for note in built.notes)


def test_the_bytes_are_the_tools_but_for_the_leaked_key() -> None:
    for chip in ("h2", "p4", "c5"):
        theirs = tlv.read(golden(f"ecdsa_{chip}_leaked"))
        parts = [*certificates("device.pem"), EcdsaKey(given_file("device.key"), 2)]
        ours = build(parts, chip=f"esp32{chip}").contents
        held = [(item.kind, item.flags, item.data) for item in theirs.items]
        wanted = [(k, f, b"" if k == "private_key" else data) for k, f, data in held]
        assert [(one.kind, one.flags, one.data) for one in ours.items][:-1] == wanted[:-1]
        assert held != wanted


@given(st.integers(1, 2**384), st.sampled_from(sorted(CURVES)))
@settings(max_examples=15, deadline=None)
def test_any_key_of_a_curve_is_found_in_its_blocks(number: int, curve: str) -> None:
    """Numbers with zeros at either end, too: what the check reads is the key."""
    classes = {
        "secp192r1": ec.SECP192R1(),
        "secp256r1": ec.SECP256R1(),
        "secp384r1": ec.SECP384R1(),
    }
    private = ec.derive_private_key(number % 2 ** (CURVES[curve][1] - 1) + 1, classes[curve])
    data = key_bytes(private)
    placed = EcdsaKey(data, 1).place(CHIPS["esp32p4"])
    from espcert.keys import Keys

    keys = Keys(efuse=burned(CHIPS["esp32p4"], placed.burns))
    found = keys.ecdsa(placed.front[0].data[0], curve)
    assert found.key is not None
    assert int.from_bytes(found.key, "big") == private.private_numbers().private_value
    assert found.problems == ()


# --- Keys derived by HMAC ------------------------------------------------------------------------


def derived_certificate() -> Stored:
    return Stored("device_cert", (INPUTS / "derived_device.der").read_bytes())


def test_a_derived_key_is_that_of_the_certificate() -> None:
    built = build([derived_certificate(), DerivedKey(HMAC_KEY, 0, SALT)], chip="esp32c3")
    assert "hmac-proven" in codes(built)
    (key,) = built.contents.of_kind(kinds.PRIVATE_KEY)
    (salt,) = built.contents.of_kind(kinds.ECDSA_SALT)
    assert (key.data, key.flags, salt.data) == (b"", 0x40, SALT)
    assert built.commands == ("espefuse --chip esp32c3 burn-key BLOCK_KEY0 <key file> HMAC_UP",)


def test_a_salt_is_made_and_the_public_key_is_offered() -> None:
    built, other = (build([DerivedKey(HMAC_KEY, 0)], chip="esp32c3") for _ in range(2))
    (salt,) = built.contents.of_kind(kinds.ECDSA_SALT)
    assert len(salt.data) == 32
    assert salt.data != other.contents.of_kind(kinds.ECDSA_SALT)[0].data
    assert {"missing-device-cert", "key-not-proven"} <= codes(built)
    public = serialization.load_pem_public_key(built.public_keys[0])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    again = build([DerivedKey(HMAC_KEY, 0, salt.data)], chip="esp32c3")
    assert again.public_keys == built.public_keys


def test_a_scalar_out_of_range_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashlib.pbkdf2_hmac", lambda *_: b"\xff" * 32)
    with pytest.raises(RefusedError, match="no P-256 private key: take another salt") as caught:
        build([DerivedKey(HMAC_KEY, 0)], chip="esp32c3")
    assert caught.value.exit_code == 1


# --- What is refused -----------------------------------------------------------------------------

DS = DsKey(given_file("rsa2048.key"), HMAC_KEY, 1)
NOT_A_KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
WRONG: dict[str, tuple[Key, str | None, type[Exception], str]] = {
    "ds without chip": (DS, None, UsageError, "--chip NAME is missing"),
    "ecdsa without chip": (EcdsaKey(b"", 1), None, UsageError, "--chip NAME is missing"),
    "derived without chip": (DerivedKey(HMAC_KEY, 1), None, UsageError, "--chip NAME is missing"),
    "no ds": (DS, "esp32c61", RefusedError, "esp32c61 has no DS peripheral; .* esp32c3"),
    "no ecdsa": (EcdsaKey(given_file("device.key"), 1), "esp32s3", RefusedError,
                 "esp32s3 has no ECDSA peripheral; .* esp32h2"),
    "no hmac": (DerivedKey(HMAC_KEY, 1), "esp32c61", RefusedError, "no HMAC peripheral"),
    "ds with an ec key": (DsKey(given_file("device.key"), HMAC_KEY, 1), "esp32c3", RefusedError,
                          "ECDSA P-256, expected RSA of 1024, 2048, 3072 bits"),
    "ds too large": (DsKey(given_file("rsa4096.key"), HMAC_KEY, 1), "esp32c5", RefusedError,
                     "RSA 4096, expected RSA of 1024, 2048, 3072 bits: .* esp32c5 takes"),
    "ecdsa with an rsa key": (EcdsaKey(given_file("rsa2048.key"), 1), "esp32h2", RefusedError,
                              "RSA 2048, expected ECDSA on P-192, P-256"),
    "wrong curve": (EcdsaKey(given_file("p384.key"), 1), "esp32h2", RefusedError,
                    "ECDSA P-384, expected ECDSA on P-192, P-256: .* esp32h2"),
    "block beyond": (DsKey(given_file("rsa2048.key"), HMAC_KEY, 5), "esp32s31", UsageError,
                     "--efuse-key-id 5: esp32s31 has the key blocks 0 to 4"),
    "block not for ecdsa": (EcdsaKey(given_file("device.key"), 5), "esp32h2", RefusedError,
                            "BLOCK_KEY5 of esp32h2 takes no key for the ECDSA"),
    "negative block": (DsKey(given_file("rsa2048.key"), HMAC_KEY, -1), "esp32c3", UsageError,
                       "--efuse-key-id -1"),
    "no key": (PlainKey(NOT_A_KEY), None, UsageError, "expected a private key in PEM or DER"),
    "empty key": (PlainKey(b""), None, UsageError, "0 bytes, expected a private key"),
    "certificate for a key": (PlainKey(given_file("device.pem")), None, UsageError,
                              "expected a private key"),
    "no password": (PlainKey(given_file("device.encrypted.key")), None, UsageError,
                    "--key-password-file FILE opens it"),
    "wrong password": (PlainKey(given_file("device.encrypted.key"), b"no"), None, UsageError,
                       "the password that was given does not open it"),
    "another key": (PlainKey(given_file("other.key")), None, RefusedError,
                    r"private_key: ECDSA P-256 .*, expected that of device_cert: ECDSA P-256"),
    "another ds key": (DsKey(given_file("rsa2048_other.key"), HMAC_KEY, 1), "esp32c3",
                       RefusedError, "private_key: RSA 2048 .*, expected that of device_cert"),
    "another derived key": (DerivedKey(HMAC_KEY, 1, b"salt"), "esp32c3", RefusedError,
                            "expected that of device_cert"),
    "empty salt": (DerivedKey(HMAC_KEY, 1, b""), "esp32c3", UsageError, "--salt"),
    "short hmac key": (DerivedKey(b"short", 1), "esp32c3", UsageError, "an HMAC key of 5 bytes"),
    "blank hmac key": (DsKey(given_file("rsa2048.key"), bytes(32), 1), "esp32c3", UsageError,
                       "only zeros"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_one_clear_error(case: str) -> None:
    key, chip, error, text = WRONG[case]
    with pytest.raises(error, match=text) as caught:
        build([*certificates("device.pem"), key], chip=chip)
    message = str(caught.value)
    assert "\n" not in message
    for secret in (HMAC_KEY.hex(), repr(HMAC_KEY), "BEGIN"):
        assert secret not in message


def test_keys_of_kinds_that_firmware_does_not_know_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(RefusedError, match="Ed25519, expected ECDSA, or RSA"):
        build([PlainKey(data)])


def test_a_key_whose_numbers_contradict_each_other_is_refused() -> None:
    key = PlainKey(given_file("rsa2048.inconsistent.key"))
    built = build([*certificates("rsa2048.pem"), key])
    assert (built.refused, built.output) == (True, None)
    assert "key-inconsistent" in {finding.code for finding in built.blocking}


def test_an_expired_certificate_is_refused_at_its_time() -> None:
    parts = [*certificates("device_expired.pem"), PlainKey(given_file("device.key"))]
    built = build(parts)
    assert "certificate-expired" in {finding.code for finding in built.blocking}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "nothing to store"),
        ([Stored("ca_cert", b"no certificate")], "ca_cert: 14 bytes, expected X.509"),
        ([Stored("user_data_1", b"1"), Stored("user_data_1", b"2")], "user_data_1: given twice"),
        ([Stored("user_data_1", b"1", MAX_INDEX + 1)], "subtypes are 0 to 253"),
        ([Stored("user_data_1", b"1", -1)], "subtypes are 0 to 253"),
        ([Stored("user_data_6", b"1")], "user_data_6: no kind"),
        ([Stored("unknown_256", b"1")], "unknown_256: no kind"),
        ([Stored("private_key", b"1")], "private_key: no kind"),
        ([Stored("integrity", b"1")], "integrity: no kind"),
        ([Stored("signature_block", b"1")], "signature_block: no kind"),
    ],
)
def test_parts_that_cannot_be_stored(parts: list[Part], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        build(parts)


def test_an_unknown_chip_is_named() -> None:
    with pytest.raises(UsageError, match="'esp33': none of esp32"):
        build(certificates("device.pem"), chip="esp33")


# --- Size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "size", "expected"),
    [(100, None, 0x2000), (0x3000, None, 0x4000), (100, 0x1000, 0x1000), (100, 0x6000, 0x6000)],
)
def test_the_partition_is_filled(data: int, size: int | None, expected: int) -> None:
    output = bytes_of([Stored("user_data_1", os.urandom(data))], size=size)
    assert len(output) == expected
    assert set(output[tlv.read(output).end :]) == {0xFF}


@pytest.mark.parametrize("used_bytes", [0x2000 - 16, 0x2000 - 15])
def test_what_fills_a_partition_gets_another_sector(used_bytes: int) -> None:
    """16 bytes stay free, or the firmware's walk leaves the partition."""
    built = build([Stored("user_data_1", bytes(used_bytes - 16 - used_bytes % 16 - 48))])
    assert built.contents.size >= built.contents.end + 16
    fuller = build([Stored("user_data_1", bytes(0x2000 - 16 - 48))])
    assert (fuller.contents.end, fuller.contents.size) == (0x2000, 0x3000)


@pytest.mark.parametrize(
    ("parts", "size", "error", "text"),
    [
        ([Stored("user_data_1", bytes(0x1000))], 0x1000, RefusedError, "too many"),
        ([Stored("user_data_1", bytes(65505))], None, RefusedError, "at most 65504 bytes"),
        ([Stored("user_data_1", bytes(65504))], None, RefusedError, "too many"),
        ([Stored("user_data_1", b"")], 0x1234, UsageError, "whole sectors"),
        ([Stored("user_data_1", b"")], 0, UsageError, "whole sectors"),
        ([Stored("user_data_1", b"")], 1 << 40, UsageError, "no flash is larger"),
    ],
)
def test_what_does_not_fit_the_partition(
    parts: list[Part], size: int | None, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        build(parts, size=size)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user_data_1", "user_data_5", "matter_1", "unknown_77", "tee_key"]),
            st.integers(0, MAX_INDEX),
            st.binary(max_size=300),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[:2],
    ),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_any_data_is_read_back(rows: list[tuple[str, int, bytes]], integrity: bool) -> None:
    parts = [Stored(kind, data, index) for kind, index, data in rows]
    contents = build(parts, integrity=integrity).contents
    held = [item for item in contents.items if item.kind != kinds.INTEGRITY]
    assert [(item.kind, item.index, item.data) for item in held] == rows
    assert len(contents.items) == len(rows) + integrity
    assert contents.current


# --- Several keys --------------------------------------------------------------------------------


def test_two_keys_of_one_partition_are_both_proven() -> None:
    other = os.urandom(32)
    parts: list[Part] = [
        Stored("device_cert", given_file("rsa2048.pem")),
        Stored("device_cert", given_file("rsa1024.pem"), 1),
        DsKey(given_file("rsa2048.key"), HMAC_KEY, 1),
        DsKey(given_file("rsa1024.key"), other, 2, index=1),
    ]
    built = build(parts, chip="esp32c3")
    proven = [one.item for one in built.findings if one.code == "ds-proven"]
    assert sorted(map(str, proven)) == ["ds_ciphertext", "ds_ciphertext[1]"]
    assert [command.split()[4] for command in built.commands] == ["BLOCK_KEY1", "BLOCK_KEY2"]
    assert sorted(built.public_keys) == [0, 1]


def test_two_keys_under_one_hmac_key_are_burned_once() -> None:
    keys: list[Part] = [
        DsKey(given_file(f"rsa{2048 // n}.key"), HMAC_KEY, 1, index=n - 1) for n in (1, 2)
    ]
    built = build(keys, chip="esp32c3")
    assert len(built.commands) == 1


@pytest.mark.parametrize("key_id", [1, 2])
def test_two_keys_in_one_block_are_refused(key_id: int) -> None:
    """P-384 takes the block behind its own, too."""
    parts: list[Part] = [
        EcdsaKey(given_file("p384.key"), 1),
        EcdsaKey(given_file("device.key"), key_id, index=1),
    ]
    with pytest.raises(RefusedError, match=f"BLOCK_KEY{key_id} would have to hold two"):
        build(parts, chip="esp32p4")


# --- Secrets, files ------------------------------------------------------------------------------


def test_nothing_that_is_secret_is_shown() -> None:
    password = b"a password of nobody"
    parts: list[Any] = [
        DS,
        PlainKey(given_file("device.key"), password),
        EcdsaKey(given_file("device.key"), 1, password),
        DerivedKey(HMAC_KEY, 1, SALT),
    ]
    shown = " ".join(map(repr, parts))
    built = build([*certificates("rsa2048.pem"), DS], chip="esp32c3")
    shown += repr(built) + repr(to_json(built, "out.bin")) + repr(DS.place(CHIPS["esp32c3"]).burns)
    for secret in (HMAC_KEY, password, SALT, given_file("device.key")[40:80]):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


def test_file_names_are_quoted_for_the_shell() -> None:
    from espcert.burning import KeyFile

    key = DsKey(given_file("rsa1024.key"), HMAC_KEY, 0, hmac_file=KeyFile("my key; rm.bin"))
    built = build([key], chip="esp32c3")
    assert "'my key; rm.bin'" in built.commands[0]
    assert UNNAMED.ready not in built.commands[0]


def test_make_key_of_the_helpers_is_of_another_origin() -> None:
    """A key that no fixture holds, PKCS#8 in DER: stored as SEC1 in DER."""
    key = make_key("P-256", 4711)
    data = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (item,) = build([PlainKey(data)]).contents.of_kind(kinds.PRIVATE_KEY)
    assert item.data == key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
