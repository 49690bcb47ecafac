"""Calls of the library, each beside its floor."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.bench.floor import Floor
from tests.bench.table import Table

import espcert

FIXTURES: Final = Path(__file__).resolve().parents[2] / "fixtures"
IMAGES: Final = FIXTURES / "images"
INPUTS: Final = FIXTURES / "inputs"
HMAC_KEY: Final = (INPUTS / "hmac_key.bin").read_bytes()
MEASURED: Final = (
    "cust_flash_rsa",
    "cust_flash_legacy_ds_s2",
    "nvs_ec",
    "nvs_legacy_ds_c3",
    "nvs_esp_ds_c3",
    "tlv_rsa",
    "tlv_ds_c3",
)
"""One image of each layout, of TLV one with a key in plain text and one with a DS key."""

BATCH_SECONDS: Final = 0.002
"""Short, so that of many batches some run undisturbed on a busy machine."""

AIM: Final = 3

Action = Callable[[], object]


class Case(NamedTuple):
    """A call on an image, and the floor it is compared with."""

    image: str
    layout: str
    call: str
    measured: Action
    floor: Action


class Best(NamedTuple):
    """Seconds a call and its floor take, at best."""

    call: float
    floor: float


def _detect(path: Path) -> espcert.Reading:
    return espcert.detect(espcert.open_image(path))


def _inspect(path: Path) -> object:
    return espcert.inspect(_detect(path))


def _verify(path: Path) -> object:
    return espcert.verify(_detect(path))


def _verify_with_key(path: Path) -> object:
    return espcert.verify(_detect(path), hmac_key=HMAC_KEY)


def _migrate(path: Path) -> object:
    return espcert.migrate(_detect(path))


def _rsa_key(image: str) -> rsa.RSAPrivateKey:
    """The key that the DS ciphertext of an image holds."""
    name = "rsa4096_device.key" if image.endswith("_s2") else "rsa_device.key"
    key = load_pem_private_key((INPUTS / name).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def cases() -> Iterator[Case]:
    """Every call on every image."""
    for name in MEASURED:
        path = IMAGES / f"{name}.bin"
        floor = Floor(path, HMAC_KEY, _rsa_key(name))
        layout = _detect(path).require().layout
        listed: list[tuple[str, Callable[[Path], object], Action]] = [
            ("detect, read", _detect, floor.read),
            ("inspect", _inspect, floor.inspect),
            ("verify", _verify, floor.verify),
            ("migrate", _migrate, floor.verify),
        ]
        if floor.ciphertext:
            listed.append(("verify, HMAC key", _verify_with_key, floor.verify_with_key))
        for call, action, least in listed:
            yield Case(f"{name}.bin", layout, call, functools.partial(action, path), least)


def forget() -> list[Action]:
    """What empties the library's bounded caches: those that remember data of images."""
    found: dict[int, Action] = {}
    for name, module in sys.modules.items():
        if name.partition(".")[0] in ("espcert", "espcert_formats"):
            for value in vars(module).values():
                parameters = getattr(value, "cache_parameters", None)
                if parameters is not None and parameters()["maxsize"] is not None:
                    found[id(value)] = value.cache_clear
    return list(found.values())


def _seconds(action: Action, count: int, forgetting: list[Action]) -> float:
    """Seconds that one of `count` calls takes, each as if the image were a new one."""
    action()
    begin = time.perf_counter()
    for _ in range(count):
        for clear in forgetting:
            clear()
        action()
    return (time.perf_counter() - begin) / count


def _batch(action: Action) -> int:
    """How many calls make a batch."""
    return max(1, round(BATCH_SECONDS / min(_seconds(action, 3, []) for _ in range(5))))


def measure(rounds: int) -> dict[Case, Best]:
    """The best of the rounds, each of which runs a batch of every call and of every floor."""
    listed = list(cases())
    counts = {case: (_batch(case.measured), _batch(case.floor)) for case in listed}
    forgetting = forget()
    best = {case: Best(float("inf"), float("inf")) for case in listed}
    for _ in range(rounds):
        for case, (calls, floors) in counts.items():
            now = _seconds(case.measured, calls, forgetting), _seconds(case.floor, floors, [])
            best[case] = Best(min(best[case].call, now[0]), min(best[case].floor, now[1]))
    return best


def calls_table(best: dict[Case, Best], rounds: int) -> Table:
    """Calls a second beside those of the floor."""
    rows = [
        (
            case.layout,
            case.image,
            case.call,
            f"{1 / seconds.call:,.0f}",
            f"{1 / seconds.floor:,.0f}",
            f"{seconds.call / seconds.floor:.1f}",
        )
        for case, seconds in best.items()
    ]
    met = sum(float(row[-1]) <= AIM for row in rows)
    return Table(
        "Library calls",
        "Every call opens the file, and finds the library's caches empty, as with an image that "
        "was not seen before. The floors are the same work by the libraries below, told "
        "beforehand where everything lies. detect, read (`detect` reads all items): the file, "
        "CRC-32 and SHA-256 of every item. inspect: also the certificates with names, dates and "
        "keys. verify: the certificates with their dates, the device certificate's signature, and "
        "a signature made and verified with the private key where it is in plain text; with the "
        "HMAC key also the DS ciphertext decrypted, hashed, and such a round with its RSA key. "
        "migrate, which verifies source and result: what verify does without a key. "
        f"The aim is at most {AIM} times the floor; "
        f"{met} of {len(rows)} calls meet it. "
        "What the floor leaves out is telling the layouts apart, mounting an NVS log with its "
        "repairs, parsing through the specs, and reading back what was written. "
        f"Best of {rounds} rounds, each with a batch of every call and of every floor.",
        ("layout", "image", "call", "calls/s", "floor, calls/s", "times the floor"),
        rows,
    )
