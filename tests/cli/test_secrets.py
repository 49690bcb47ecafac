"""Nothing that a partition keeps secret is ever printed, whatever is asked and whatever fails."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.cli.runner import INPUTS, Result, run_many
from tests.support import FIXTURES, IMAGES, fixture_truth, real_truth

import espcert
from espcert import detection, migration, verification
from espcert_formats import nvs_log, tlv
from espcert_formats.items import Item

SECRET_KINDS = ("private_key", "tee_key", "ecdsa_salt", "user_data", "matter", "unknown")
WINDOW = 12
SAMPLES = 12
SHORTEST = 8
"""Shorter values (a number of two bytes, say) are found anywhere by chance."""
HEADERS = [
    b"-----BEGIN %sPRIVATE KEY-----\n-----END %sPRIVATE KEY-----\n" % (kind, kind)
    for kind in (b"", b"EC ", b"RSA ", b"ENCRYPTED ")
]
KEY_FILES = (
    *("ec_device.key", "rsa_device.key", "rsa4096_device.key", "ec_chain.key"),
    *("ec_device.pkcs8.key", "ec_device.encrypted.key"),
)


@dataclass(frozen=True)
class Secret:
    """Needles that must not occur in what was printed."""

    origin: str
    texts: frozenset[str]


def needles(data: bytes, public: bytes) -> Iterator[str]:
    """Forms in which bytes may be printed: windows as text, in hex and in Python's own.

    A private key holds its public key, too: what is `public` is no needle.
    """
    rng = random.Random(len(data))
    length = min(WINDOW, len(data))
    starts = {0, len(data) - length, *(rng.randrange(len(data)) for _ in range(SAMPLES))}
    for start in starts:
        window = data[start : start + length]
        if len(window) < length or len(set(window)) < length // 2 or window in public:
            continue
        plain, spaced = window.hex(), window.hex(" ")
        yield from (plain, plain.upper(), spaced, spaced.upper(), window.hex(":"))
        yield repr(window)[2:-1]
        yield base64.b64encode(window[: length // 3 * 3]).decode()
        if window.isascii() and window.decode().isprintable():
            yield window.decode()


def pem_needles(data: bytes, public: bytes) -> Iterator[str]:
    """The base64 lines of PEM keys, and windows of what they encode."""
    for body in re.findall(rb"-----BEGIN [^-]*KEY-----(.*?)-----END", data, re.DOTALL):
        lines = [line.strip() for line in body.splitlines() if b":" not in line]
        yield from (line.decode("ascii", "replace") for line in lines if len(line) >= 16)
        try:
            der = base64.b64decode(b"".join(lines), validate=True)
        except ValueError:
            continue
        yield from needles(der[4:], public)


def secrets_of(data: bytes, public: bytes) -> frozenset[str]:
    """All needles of a secret."""
    found = {*pem_needles(data, public), *needles(data, public)}
    return frozenset(text for text in found if "BEGIN" not in text and "END" not in text)


def public_bytes(items: list[Item]) -> bytes:
    """All that may be shown: items that are no secret, and what their PEM encodes."""
    shown = [item.data for item in items if not item.kind.startswith(SECRET_KINDS)]
    body = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", re.DOTALL)
    encoded = [base64.b64decode(part) for data in shown for part in body.findall(data)]
    return b"\n".join(shown + encoded + HEADERS)


def image_paths() -> dict[str, Path]:
    fixed = {row["file"]: FIXTURES / row["file"] for row in fixture_truth()}
    real = {row["image"]: IMAGES / row["image"] for row in real_truth()}
    return fixed | real


PATHS = image_paths()


def decimals(data: bytes) -> frozenset[str]:
    """Numbers as Python prints them: the beginning and the end of either byte order."""
    texts = [str(int.from_bytes(data, order)) for order in ("little", "big")]
    return frozenset(part for text in texts for part in (text[:24], text[-24:]))


def hidden() -> dict[str, bytes]:
    """What lies in no image in plain text: HMAC keys, and all that they open or derive."""
    hmac_key = (INPUTS / "hmac_key.bin").read_bytes()
    salt = (INPUTS / "derived_salt.bin").read_bytes()
    found = {
        "HMAC key": hmac_key,
        "AES key": hmac.digest(hmac_key, b"\xff" * 32, "sha256"),
        "derived key": hashlib.pbkdf2_hmac("sha256", hmac_key, salt, 2048, 32),
    }
    for name in ("rsa_device.key", "rsa4096_device.key"):
        key = load_pem_private_key((INPUTS / name).read_bytes(), None)
        assert isinstance(key, RSAPrivateKey)
        numbers = key.private_numbers()
        for part in ("d", "p", "q"):
            value = getattr(numbers, part)
            length = (value.bit_length() + 7) // 8
            found[f"{part} of {name}"] = value.to_bytes(length, "big")
            found[f"{part} of {name}, reversed"] = value.to_bytes(length, "little")
    return found


def collect() -> list[Secret]:
    """The secrets of all images; what is public in one of them is no secret of another."""
    items = [
        (name, item)
        for name, path in PATHS.items()
        for item in espcert.detect(espcert.open_image(path)).require().items
    ]
    public = public_bytes([item for _, item in items])
    found = [
        Secret(f"{item.kind} of {name}", secrets_of(item.data, public))
        for name, item in items
        if item.kind.startswith(SECRET_KINDS) and len(item.data) >= SHORTEST
    ]
    for name in KEY_FILES:
        texts = frozenset(pem_needles((INPUTS / name).read_bytes(), public))
        found.append(Secret(name, texts))
    for name, data in hidden().items():
        found.append(Secret(name, frozenset(needles(data, public)) | decimals(data)))
    known = public.decode("latin-1")
    return [Secret(s.origin, frozenset(t for t in s.texts if t not in known)) for s in found]


SECRETS = collect()
SECRETIVE = [name for name in PATHS if any(s.texts and name in s.origin for s in SECRETS)]
PATTERN = {text: secret.origin for secret in SECRETS for text in secret.texts}


HEAD = min(map(len, PATTERN))
BY_HEAD: dict[str, list[str]] = {}
for _text in PATTERN:
    BY_HEAD.setdefault(_text[:HEAD], []).append(_text)


def occurring(text: str) -> Iterator[str]:
    """The needles in a text; one pass over it, for there are many needles."""
    for at in range(len(text) - HEAD + 1):
        for needle in BY_HEAD.get(text[at : at + HEAD], ()):
            if text.startswith(needle, at):
                yield needle


def leaks(text: str) -> list[str]:
    """Whose secrets occur in a text: as it is, and in the two columns of a map."""
    lines = text.splitlines()
    drawn = [line for line in lines if re.match("[0-9a-f]{8}  ", line)]
    hexes = " ".join(" ".join(line[10:57].split()) for line in drawn)
    characters = "".join(line[59:75].strip() for line in drawn)
    found = {needle for part in (text, hexes, characters) for needle in occurring(part)}
    return sorted(f"{PATTERN[needle]}: {needle}" for needle in found)


def test_there_are_secrets() -> None:
    kinds = {secret.origin.split(" ")[0] for secret in SECRETS if secret.texts}
    assert {"private_key", "tee_key", "ecdsa_salt", "user_data_1"} <= kinds
    assert len(PATTERN) > 1000


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    """The same search finds the keys where they are asked for."""
    commands = [
        ["inspect", "--map", "--show-secrets", str(FIXTURES / f"images/{name}.bin")]
        for name in ("tlv_ec", "tlv_der", "tlv_every_type", "nvs_ec")
    ]
    for result in run_many(commands, tmp_path):
        assert leaks(result.out)
    key = (INPUTS / "ec_device.key").read_text()
    assert leaks(f"left: {key.splitlines()[2]}")


SEVERAL = 9
CHUNKS = [list(PATHS)[at : at + SEVERAL] for at in range(0, len(PATHS), SEVERAL)]
DEBUG = {"ESPCERT_DEBUG": "1"}
each_chunk = pytest.mark.parametrize("names", CHUNKS, ids=lambda names: names[0])


def readings(paths: list[str]) -> list[list[str]]:
    """The verbs that take many images."""
    options = (["detect"], ["inspect"], ["inspect", "--json"], ["inspect", "--map"], ["verify"])
    return [[*verb, *paths] for verb in (*options, *verifications())]


def verifications() -> list[list[str]]:
    """Verifications with the right key, with wrong keys, and with keys where they do not belong."""
    key, password = str(INPUTS / "hmac_key.bin"), str(INPUTS / "ec_device.password.txt")
    plain = str(INPUTS / "ec_device.key")
    return [
        ["verify", "--json", "--hmac-key", key, "--key-password-file", password],
        ["verify", "--hmac-key", key, "--firmware", "2.9.3", "--chip", "esp32c3"],
        ["verify", "--json", "--signing-key", plain, "--key-password-file", plain],
        ["verify", "--hmac-key", plain],
        ["verify", "--efuse", key],
        ["verify", "--ca", plain],
    ]


def migrations(path: str, out: Path) -> list[list[str]]:
    """Migrations that succeed, are refused and are wrong usage."""
    return [
        ["migrate", "--json", path, "-o", str(out)],
        ["migrate", "--dry-run", "--size", "0x7000", "--label", "pre_prov", path],
        ["migrate", "--dry-run", path, "--ca-cert", str(INPUTS / "ec_device.key")],
        ["migrate", "--dry-run", path, "--hmac-key", str(INPUTS / "hmac_key.bin")],
        ["migrate", "--dry-run", path, "--device-cert", str(INPUTS / "ec_chain_first.pem")],
    ]


@each_chunk
def test_no_verb_prints_a_secret(names: list[str], tmp_path: Path) -> None:
    paths = [str(PATHS[name]) for name in names]
    commands = readings(paths)
    for number, path in enumerate(paths):
        commands += migrations(path, tmp_path / f"{number}.bin")
    check(run_many(commands, tmp_path, env=DEBUG))


def check(results: list[Result]) -> None:
    for result in results:
        assert result.code in (0, 1, 2, 3, 4), result.err
        assert result.text
        assert leaks(result.text) == []


def damaged(data: bytes) -> Iterator[bytes]:
    """The image with bits flipped in its first bytes, and cut."""
    rng = random.Random(len(data))
    for _ in range(3):
        image = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            image[rng.randrange(min(64, len(image)))] ^= 1 << rng.randrange(8)
        yield bytes(image)
    yield data[: min(len(data) * 2 // 3, 6300)]


@each_chunk
def test_no_map_of_a_damaged_image_shows_a_secret(names: list[str], tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(name for name in names if name in SECRETIVE):
        for variant, image in enumerate(damaged(PATHS[name].read_bytes())):
            path = tmp_path / f"{number}.{variant}.bin"
            path.write_bytes(image)
            paths.append(str(path))
    commands = [["inspect", "--map", *paths], ["detect", *paths]] if paths else []
    commands += [["migrate", "--dry-run", path] for path in paths[::2]]
    check(run_many(commands, tmp_path, env=DEBUG))


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *((where, "tlv_2_0") for where in ("tlv.write", "tlv.fill", "migration._proven")),
        *((where, "tlv_ds_c3") for where in ("checks.run", "hmac_peripheral.open_ds")),
        ("hmac_peripheral.open_entry", "tlv_hmac_encrypted"),
        ("hmac_peripheral.derive_ecdsa", "tlv_hmac_derived"),
        ("keys.load_hmac_key", "tlv_ds_c3"),
    ],
)
def test_a_bug_prints_no_secret(where: str, name: str) -> None:
    """With the traceback, and with an exception that carries the key."""
    import subprocess
    import sys

    from tests.cli.runner import environment

    module, function = where.split(".")
    code = (
        "import sys, espcert.cli, espcert.checks as checks, espcert.migration as migration\n"
        "from espcert import hmac_peripheral, keys\n"
        "from espcert_formats import tlv\n"
        "def broken(*arguments, **options):\n"
        "    raise ValueError(arguments, [getattr(a, 'data', a) for a in arguments])\n"
        f"{module}.{function} = broken\n"
        "espcert.cli.run()\n"
    )
    image = str(FIXTURES / "images" / f"{name}.bin")
    key = str(INPUTS / "hmac_key.bin")
    done = subprocess.run(
        [sys.executable, "-c", code, "migrate", "--dry-run", image, "--hmac-key", key],
        capture_output=True,
        text=True,
        env=environment(DEBUG),
        check=False,
    )
    assert done.returncode == 70
    assert leaks(done.stdout + done.stderr) == []


# --- Python objects ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PATHS)
def test_no_object_shows_a_secret(name: str) -> None:
    image = espcert.open_image(PATHS[name])
    reading = espcert.detect(image)
    result = espcert.migrate(reading, migration.Options(accept=frozenset({"other-data"})))
    contents = reading.require()
    key = (INPUTS / "hmac_key.bin").read_bytes()
    given = verification.means(hmac_key=key, key_password=key)
    objects: list[object] = [image, reading, contents, result, *contents.items, *result.findings]
    objects += [given, given.keys, given.keys.hmac_up(), given.keys.for_ds(0)]
    objects += [given.context(reading), *verification.findings(reading, given)]
    objects += [*contents.anomalies, *contents.other_entries, result.contents]
    for one in objects:
        assert leaks(repr(one) + str(one)) == []


def test_entries_to_write_show_no_secret() -> None:
    for path in PATHS.values():
        contents = espcert.detect(espcert.open_image(path)).require()
        if not {"ds-incomplete"} & {f.code for f in espcert.migrate(detected(path)).findings}:
            assert leaks(repr(tlv.entries_for(contents.items))) == []


def detected(path: Path) -> detection.Reading:
    return espcert.detect(espcert.open_image(path))


def test_an_nvs_log_shows_no_secret() -> None:
    for path in PATHS.values():
        data = path.read_bytes()
        if nvs_log.has_page(data):
            assert leaks(repr(nvs_log.mount(data))) == []


def test_options_show_no_file() -> None:
    """A key given by mistake where a certificate is wanted."""
    key = (INPUTS / "ec_device.key").read_bytes()
    assert leaks(repr(migration.Options(device_cert=key, ca_cert=key))) == []


def test_exceptions_show_no_secret(tmp_path: Path) -> None:
    key = (INPUTS / "ec_device.key").read_bytes()
    for data in (key, b"\x11\xba\x5e\xba" + key, os.urandom(64) + key):
        path = tmp_path / "image.bin"
        path.write_bytes(data)
        try:
            found = espcert.migrate(detected(path), migration.Options(ca_cert=key))
        except espcert.EspcertError as error:
            shown = repr(error) + str(error) + repr(error.args)
        else:
            shown = repr(found)
        assert leaks(shown) == []
