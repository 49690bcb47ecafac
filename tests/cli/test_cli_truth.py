"""Every image of which the truth is known: detect, inspect, migrate and inspect again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import run, run_many
from tests.support import FIXTURES, IMAGES, fixture_truth, real_truth

Row = dict[str, Any]
SEALS = ("integrity", "signature_block")
REAL_LOSSES = {
    name: ["other-data"]
    for name in (
        "nvs_worn/both_namespaces.bin",
        "nvs_worn/ds_multipage_0x6000.bin",
    )
}
"""Real images that hold more than credentials."""


@dataclass(frozen=True)
class Known:
    """An image with its truth."""

    path: Path
    row: Row
    accept: tuple[str, ...]

    @property
    def lossy(self) -> bool:
        """Whether items are lost that the truth lists."""
        return bool({"ds-incomplete", "duplicate-entry"} & set(self.accept))


def known() -> dict[str, Known]:
    """All images with a truth, the real ones where they are at hand."""
    fixed = {
        row["file"]: Known(FIXTURES / row["file"], row, tuple(row["refused"]))
        for row in fixture_truth()
    }
    real = {
        row["image"]: Known(IMAGES / row["image"], row, tuple(REAL_LOSSES.get(row["image"], ())))
        for row in real_truth()
    }
    return fixed | real


KNOWN = known()
each_image = pytest.mark.parametrize("name", KNOWN)


def facts(items: list[Row], *, seals: bool = True) -> Counter[tuple[Any, ...]]:
    """Items as a multiset of what identifies them."""
    return Counter(
        (item["kind"], item["index"], item["rsa_bits"], item["efuse_key_id"])
        if item["kind"] == "ds_context"
        else (item["kind"], item["index"], item["length"], item["sha256"])
        for item in items
        if item.get("intact") is not False and (seals or item["kind"] not in SEALS)
    )


@dataclass(frozen=True)
class Outcome:
    """What the verbs say of all images."""

    detected: dict[str, Row]
    inspected: dict[str, Row]
    migrated: dict[str, Row]
    again: dict[str, Row]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("truth")
    paths = [str(known.path) for known in KNOWN.values()]
    targets = [str(folder / f"{number}.bin") for number in range(len(paths))]
    commands = []
    for image, target in zip(KNOWN.values(), targets, strict=True):
        accepted = [part for code in image.accept for part in ("--accept", code)]
        label = ["--label", image.row["label"]]
        commands.append(["migrate", "--json", str(image.path), "-o", target, *accepted, *label])
    results = run_many(commands, folder)
    assert [result.code for result in results] == [0] * len(results), [r.text for r in results]
    found = [run(verb, "--json", *paths).objects for verb in ("detect", "inspect")]
    again = run("inspect", "--json", *targets).objects
    rows = (*found, [result.object for result in results], again)
    return Outcome(*(dict(zip(KNOWN, listed, strict=True)) for listed in rows))


@each_image
def test_detect_names_layout_and_key(outcome: Outcome, name: str) -> None:
    found, row = outcome.detected[name], KNOWN[name].row
    assert (found["layout"], found["key"]) == (row["layout"], row["key"])


@each_image
def test_inspect_lists_the_items(outcome: Outcome, name: str) -> None:
    assert facts(outcome.inspected[name]["items"]) == facts(KNOWN[name].row["items"])


@each_image
def test_inspect_begins_as_detect(outcome: Outcome, name: str) -> None:
    found = outcome.inspected[name]
    shared = {field: value for field, value in found.items() if field in outcome.detected[name]}
    assert shared == outcome.detected[name]


MENDED = {
    *("images/cust_flash_equal_lengths.bin", "images/tlv_no_nul.bin"),
    "images/tlv_ecdsa_leaked_key.bin",
}
"""PEM without a NUL, and a key that is said to be held in eFuse."""


@each_image
def test_migration_keeps_the_items(outcome: Outcome, name: str) -> None:
    expected = facts(KNOWN[name].row["items"], seals=False)
    found = facts(outcome.again[name]["items"], seals=False)
    mends = [one for one in outcome.migrated[name]["changes"] if one.startswith("mended: ")]
    if mends:
        assert name in MENDED
        assert len(found - expected) == len(expected - found) == len(mends)
        return
    if KNOWN[name].lossy:
        assert found < expected
    else:
        assert found == expected


@each_image
def test_migration_lists_the_items_of_its_output(outcome: Outcome, name: str) -> None:
    assert outcome.migrated[name]["items"] == outcome.again[name]["items"]
    assert outcome.again[name]["layout"] == "tlv"
    assert all(item["intact"] for item in outcome.again[name]["items"])


@each_image
def test_migration_keeps_the_kind_of_key(outcome: Outcome, name: str) -> None:
    if "ds-incomplete" not in KNOWN[name].accept:
        assert outcome.again[name]["key"] == KNOWN[name].row["key"]


def test_there_are_images() -> None:
    assert len(fixture_truth()) > 40
