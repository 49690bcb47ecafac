"""The fields of a map: inside the image, in order, apart, and agreeing with the items."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES, IMAGES, fixture_truth, real_truth

from espcert_formats import registry
from espcert_formats.items import DAMAGED, DS_CONTEXT, Contents, Field

PATHS = [FIXTURES / row["file"] for row in fixture_truth()]
PATHS += [IMAGES / row["image"] for row in real_truth()]
IDS = [f"{path.parent.name}/{path.name}" for path in PATHS]


def read(data: bytes) -> tuple[list[Field], Contents]:
    found = registry.read(data)
    assert found is not None
    layout, contents = found
    return sorted(layout.fields(data)), contents


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_fields_are_apart_and_inside(path: Path) -> None:
    data = path.read_bytes()
    fields, _ = read(data)
    assert fields
    assert all(field.length > 0 and field.name for field in fields)
    assert fields[0].offset >= 0
    assert max(field.offset + field.length for field in fields) <= len(data)
    overlaps = [
        (one, other) for one, other in pairwise(fields) if one.offset + one.length > other.offset
    ]
    assert overlaps == []


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_every_item_is_a_field(path: Path) -> None:
    data = path.read_bytes()
    fields, contents = read(data)
    named = {(field.offset, field.length, field.kind) for field in fields}
    for item in contents.items:
        if item.kind != DS_CONTEXT:
            kind = DAMAGED if item.intact is False else item.kind
            spans = {(offset, length, kind) for offset, length in item.spans if length}
            assert spans <= named


SMALL = [path for path in PATHS if path.stat().st_size <= 0x6001]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_fields_of_changed_images(draws: st.DataObject) -> None:
    """Nothing raises, whatever is damaged; the fields still begin inside the image."""
    data = bytearray(draws.draw(st.sampled_from(SMALL)).read_bytes())
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.one_of(st.integers(0, 128), st.integers(0, len(data) - 1)))
        new = draws.draw(st.binary(min_size=1, max_size=8))[: len(data) - at]
        data[at : at + len(new)] = new
    cut = bytes(data[: draws.draw(st.integers(0, len(data)))])
    for layout in registry.layouts():
        assert all(field.offset >= 0 and field.length > 0 for field in layout.fields(cut))
