"""Encrypted NVS: told without the keys, read with them, and said where they are not needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.runner import Result, assert_no_output, fixture, run
from tests.cli.test_flash_images import placed
from tests.cli.test_unreadable_images import flash
from tests.flash_cipher import XTS_128, flagged_table
from tests.support import IMAGES, known_images, real_image
from tests.toolkit.test_nvs_encryption import KEY, encrypted, stored

from espcert.nvs_encryption import NvsKeys
from espcert_formats import nvs

NVS = Path(fixture("nvs_ec")).read_bytes()
OTHER = bytes(range(64))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    path = tmp_path / "keys.bin"
    path.write_bytes(stored(KEY))
    return "--nvs-keys", str(path)


def asked(verb: str, data: bytes, tmp_path: Path, *options: str) -> Result:
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    return run(verb, "--json", *options, path)


def test_without_the_keys(tmp_path: Path) -> None:
    found = asked("detect", encrypted(NVS), tmp_path)
    assert (found.code, found.object["reason_code"]) == (3, "encrypted_or_random")
    assert "--nvs-keys" in found.object["reason"]


def test_every_nvs_image_reads_the_same(tmp_path: Path, keys: tuple[str, str]) -> None:
    """Fixtures and real partitions; what an erased slot holds is not decrypted."""
    images = [data for data in known_images() if nvs.starts(data) and nvs.recognise(data)]
    assert len(images) > 5
    plain = [tmp_path / f"{number}.bin" for number in range(len(images))]
    sealed = [tmp_path / f"{number}-encrypted.bin" for number in range(len(images))]
    for number, data in enumerate(images):
        plain[number].write_bytes(data)
        sealed[number].write_bytes(encrypted(data))
    found = run("inspect", "--json", *keys, *sealed).objects
    wanted = run("inspect", "--json", *plain).objects
    for one, other in zip(found, wanted, strict=True):
        assert one["layout"] == other["layout"]
        assert one["items"] == other["items"]
        assert one["other_entries"] == other["other_entries"]
        assert one["evidence"][-1] == "the entries are decrypted with the NVS keys"


def test_the_hmac_scheme(tmp_path: Path) -> None:
    real_image("nvs_samples/sample_hmac_key.bin")
    derived = NvsKeys((IMAGES / "nvs_samples/sample_encryption_keys_hmac.bin").read_bytes()[:64])
    key = str(IMAGES / "nvs_samples/sample_hmac_key.bin")
    found = asked("detect", encrypted(NVS, derived), tmp_path, "--nvs-hmac-key", key)
    assert found.object["layout"] == "nvs"


def test_keys_that_do_not_fit(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(stored(OTHER))
    found = asked("detect", encrypted(NVS), tmp_path, "--nvs-keys", str(wrong))
    assert (found.code, found.err) == (3, "")
    assert found.object["reason_code"] == "encrypted_or_random"
    assert "the NVS keys do not fit" in found.object["reason"]
    shown = run("inspect", "--nvs-keys", wrong, tmp_path / "image.bin")
    assert (shown.code, shown.out, shown.err.count("\n")) == (3, "", 1)
    assert OTHER.hex() not in shown.err


@pytest.mark.parametrize("name", ["nvs_ec", "tlv_ec"])
def test_where_the_keys_are_not_needed(name: str, keys: tuple[str, str]) -> None:
    for verb in ("detect", "inspect", "verify", "migrate"):
        options = ("--dry-run",) if verb == "migrate" else ()
        shown = run(verb, *options, *keys, fixture(name))
        assert shown.code == 0
        assert "NVS keys not applied" in shown.out


def test_migrated_to_tlv(tmp_path: Path, keys: tuple[str, str]) -> None:
    out, plain = tmp_path / "new.bin", tmp_path / "plain.bin"
    result = asked("migrate", encrypted(NVS), tmp_path, *keys, "-o", str(out))
    assert result.code == 0, result.err
    assert any("NVS encryption → none" in change for change in result.object["changes"])
    assert run("migrate", fixture("nvs_ec"), "-o", plain).code == 0
    assert out.read_bytes() == plain.read_bytes()


def test_in_a_flash_image(tmp_path: Path, keys: tuple[str, str]) -> None:
    rows = [("esp_secure_cert", 1, 2, 0xD000, 0x6000), ("nvs", 1, 2, 0x13000, 0x3000)]
    image = flash(rows, encrypted(NVS), at=0xC000)
    found = asked("detect", image, tmp_path, *keys).object
    assert (found["container"], found["layout"]) == ("flash", "nvs")
    out = tmp_path / "new.bin"
    assert asked("migrate", image, tmp_path, *keys, "-o", str(out)).code == 0
    assert run("detect", "--json", out).object["layout"] == "tlv"
    assert out.read_bytes()[0x13000:] == image[0x13000:]
    listed = asked("partitions", image, tmp_path, *keys).object
    assert [row["layout"] for row in listed["rows"]] == ["nvs", None]
    tableless = placed(image, (0xC000, b"\xff" * 0x1000))
    assert asked("detect", tableless, tmp_path, *keys).object["layout"] == "nvs"


def test_under_both_encryptions(tmp_path: Path, keys: tuple[str, str]) -> None:
    held = encrypted(NVS).ljust(0x6000, b"\xff")
    table = flagged_table([("esp_secure_cert", 1, 2, 0xD000, 0x6000, 1)])
    places = [(0xC000, table), (0xD000, held)]
    sealed = [(at, XTS_128.encrypt(data, at)) for at, data in places]
    image = placed(b"\xff" * 0x20000, *sealed)
    options = XTS_128.options(tmp_path)
    half = asked("detect", image, tmp_path, *options)
    assert (half.code, half.object["reason_code"]) == (3, "encrypted_or_random")
    assert "--nvs-keys" in half.object["reason"]
    found = asked("detect", image, tmp_path, *options, *keys).object
    assert found["layout"] == "nvs"
    assert len([reason for reason in found["evidence"] if "decrypted" in reason]) == 2
    out = tmp_path / "new.bin"
    result = asked("migrate", image, tmp_path, *options, *keys, "--encrypt-output", "-o", str(out))
    assert result.code == 0, result.err
    new = XTS_128.decrypt(out.read_bytes()[0xD000:0x13000], 0xD000)
    assert new.startswith(b"\x11\xba\x5e\xba")


def test_a_refusal_writes_nothing(tmp_path: Path) -> None:
    out, wrong = tmp_path / "new.bin", tmp_path / "wrong.bin"
    wrong.write_bytes(stored(OTHER))
    asked_for = ("--nvs-keys", str(wrong), "-o", str(out))
    assert asked("migrate", encrypted(NVS), tmp_path, *asked_for).code == 3
    assert_no_output(out)
