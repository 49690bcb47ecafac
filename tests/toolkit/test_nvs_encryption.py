"""NVS encryption: the official generator's partitions, its sample keys, and what is no key."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import (
    IMAGES,
    NVS_ERASED,
    NVS_ILLEGAL,
    NvsPage,
    nvs_blob,
    nvs_image,
    nvs_namespace,
    nvs_string,
    real_image,
)

import espcert
from espcert import nvs_encryption
from espcert.errors import UsageError
from espcert.nvs_encryption import NvsKeys
from espcert_formats import nvs_cipher

KEY = bytes.fromhex("11" * 32 + "22" * 32)
KEYS = NvsKeys(KEY)
VALUES = (("dev_cert", "string", "device certificate " * 40), ("iv", "hex2bin", "a5" * 16))


def generated(
    values: Sequence[tuple[str, str, str]] = VALUES, *, key: bytes | None = None
) -> bytes:
    """A partition of the official generator, of 0x4000 bytes, encrypted where there is a key."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen as generator

    made = io.BytesIO()
    kind: dict[str, Any] = {"is_encrypt": key is not None, "key": key.hex() if key else None}
    version = generator.Page.VERSION2
    with generator.nvs_open(made, 0x3000, version=version, **kind) as nvs:
        generator.write_entry(nvs, "esp_secure_cert", "namespace", "", "")
        for name, encoding, value in values:
            generator.write_entry(nvs, name, "data", encoding, value)
    return made.getvalue()


def encrypted(data: bytes, keys: NvsKeys = KEYS) -> bytes:
    """A plain partition encrypted entry by entry, as the firmware does it, by AES-XTS itself."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    result = bytearray(data)
    for at, _, _ in nvs_cipher.encrypted_slots(data):
        tweak = at.to_bytes(16, "little")
        step = Cipher(algorithms.AES(keys.key), modes.XTS(tweak)).encryptor()
        result[at : at + 32] = step.update(data[at : at + 32])
    return bytes(result)


def test_the_generator_and_the_tests_agree() -> None:
    assert encrypted(generated()) == generated(key=KEY)


def test_what_the_generator_encrypts_is_decrypted() -> None:
    sealed = generated(key=KEY)
    assert nvs_encryption.is_encrypted(sealed)
    assert KEYS.decrypt(sealed) == generated()
    assert not nvs_encryption.is_encrypted(generated())


def test_values_over_several_pages() -> None:
    values = [(f"k{n}", "string", f"{n} " * 1500) for n in range(3)]
    sealed = generated(values, key=KEY)
    assert KEYS.decrypt(sealed) == generated(values)
    assert len({at // 4096 for at, _, _ in nvs_cipher.encrypted_slots(sealed)}) > 1


def test_headers_bitmaps_purged_and_erased_entries_stay() -> None:
    page = NvsPage(0).add(nvs_namespace("esp_secure_cert", 1), nvs_string(1, "dev_cert", b"x\0"))
    page.add(*nvs_blob(1, "iv", bytes(range(16))))
    page.add(nvs_string(1, "old", b"old value\0"), state=NVS_ERASED)
    page.add(nvs_string(1, "odd", b"odd value\0"), state=NVS_ILLEGAL)
    plain = bytearray(nvs_image(page))
    sealed = bytearray(encrypted(bytes(plain)))
    for at in (64 + 2 * 32, 64 + 3 * 32):
        plain[at : at + 32] = sealed[at : at + 32] = bytes(32)
    opened = KEYS.decrypt(bytes(sealed))
    assert opened == bytes(plain)
    assert opened[:64] == sealed[:64]


def test_slots_of_hostile_images() -> None:
    page = NvsPage(0).add(nvs_namespace("esp_secure_cert", 1))
    page.data[32:64] = bytes([0xAA]) * 32
    data = bytes(page.data)
    slots = [slot for _, _, slot in nvs_cipher.encrypted_slots(data)]
    assert slots == list(range(126)), "the bitmap has two bits more than a page has entries"
    cut = data[: 64 + 40]
    assert [slot for _, _, slot in nvs_cipher.encrypted_slots(cut)] == [0]


@given(st.binary(max_size=0x2100))
def test_any_bytes(data: bytes) -> None:
    assert len(KEYS.decrypt(data)) == len(data)


@given(seed=st.integers(0, 1000), count=st.integers(0, 20))
def test_any_partition_comes_back(seed: int, count: int) -> None:
    source = random.Random(seed)
    page = NvsPage(source.randrange(1 << 32)).add(nvs_namespace("esp_secure_cert", 1))
    for number in range(count):
        page.add(nvs_string(1, f"k{number}", source.randbytes(source.randrange(1, 100))))
    data = nvs_image(b"\xff" * 4096, page)
    assert KEYS.decrypt(encrypted(data)) == data


# --- Keys --------------------------------------------------------------------------------------


def test_the_sample_keys() -> None:
    real_image("nvs_samples/sample_encryption_keys.bin")
    samples = IMAGES / "nvs_samples"
    assert nvs_encryption.load_keys(str(samples / "sample_encryption_keys.bin")).key == KEY
    wanted = nvs_encryption.load_keys(str(samples / "sample_encryption_keys_hmac.bin"))
    assert nvs_encryption.load_hmac_key(str(samples / "sample_hmac_key.bin")) == wanted


def stored(key: bytes) -> bytes:
    """A keys partition."""
    import zlib

    return (key + zlib.crc32(key, 0xFFFFFFFF).to_bytes(4, "little")).ljust(0x1000, b"\xff")


def test_keys_files_that_are_right(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for data in (stored(KEY), stored(KEY)[:68], stored(KEY)[:80]):
        path.write_bytes(data)
        assert nvs_encryption.load_keys(str(path)) == KEYS
    path.write_text(KEY[:32].hex() + "\n")
    from_hex = nvs_encryption.load_hmac_key(str(path))
    path.write_bytes(KEY[:32])
    assert nvs_encryption.load_hmac_key(str(path)) == from_hex


NO_KEYS = {
    "too short": stored(KEY)[:67],
    "erased": b"\xff" * 0x1000,
    "another CRC": stored(KEY)[:64] + bytes(4),
    "encrypted": random.Random(4).randbytes(0x1000),
    "twice the same": stored(KEY[:32] * 2),
    "too large": stored(KEY).ljust(0x20000, b"\xff"),
    "empty": b"",
}


@pytest.mark.parametrize("case", NO_KEYS)
def test_keys_files_that_are_wrong(case: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(NO_KEYS[case])
    with pytest.raises(UsageError) as caught:
        nvs_encryption.load_keys(str(path))
    assert "\n" not in caught.value.message
    assert KEY.hex() not in caught.value.message


def test_standard_input_holds_no_keys() -> None:
    for load in (nvs_encryption.load_keys, nvs_encryption.load_hmac_key):
        with pytest.raises(UsageError):
            load("-")


def test_the_keys_are_not_shown() -> None:
    assert repr(KEYS) == "NvsKeys()"


def test_the_library_reads_encrypted_nvs(tmp_path: Path) -> None:
    path, keys = tmp_path / "nvs.bin", tmp_path / "keys.bin"
    path.write_bytes(generated(key=KEY))
    keys.write_bytes(stored(KEY))
    image = espcert.open_image(path, nvs_keys=espcert.open_nvs_keys(keys))
    assert image.data == generated(key=KEY)
    assert image.partition == generated()
    assert espcert.detect(image).require().layout == "nvs"
