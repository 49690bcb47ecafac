"""The figures of the HTML report, counted here a second time, in another way."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.example_fleet import AT, Fleet, fleet, image_of, kinds, record_of

from espcert.catalogue import CATALOGUE
from espcert.fleet.reports import embedding, figures, wording

Record = dict[str, Any]


@pytest.fixture(scope="module")
def example() -> Fleet:
    return fleet(600)


def counted(example: Fleet) -> figures.Figures:
    return figures.count(example.header, example.across, example.records())


def test_the_example_has_every_kind_of_module() -> None:
    assert {name: bool(records) for name, records in kinds().items()} == {
        "ok": True, "warning": True, "error": True, "unread": True,
    }  # fmt: skip


def test_verdicts_are_those_of_the_records(example: Fleet) -> None:
    found = counted(example)
    verdicts = [record.get("verdict") or "unreadable" for record in example.rows]
    assert found.total == len(example.rows)
    assert found.states == {name: verdicts.count(name) for name in set(verdicts)}
    assert found.sound == sum(record["exit_code"] == 0 for record in example.rows)


def test_layouts_and_keys_are_those_of_the_records(example: Fleet) -> None:
    found = counted(example)
    rows = example.rows
    layouts = {layout: sum(r["layout"] == layout for r in rows) for layout, _ in found.layouts}
    layouts["not read"] = sum(r["layout"] is None for r in rows)
    assert {name: sum(row.values()) for name, row in found.by_name(found.layouts)} == layouts
    for key, row in found.by_name(found.keys):
        if key != "not read":
            assert sum(row.values()) == sum(bool(r["layout"]) and r["key"] == key for r in rows)
    assert sum(found.keys.values()) == len(rows)


def test_findings_count_modules_and_not_occurrences(example: Fleet) -> None:
    found = counted(example)
    for code, group in found.groups.items():
        if group.across:
            assert group.modules == sum(f["count"] for f in example.across if f["code"] == code)
        elif code in CATALOGUE:
            having = [r for r in example.rows if code in {f["code"] for f in r.get("findings", ())}]
            assert group.modules == len(having) > 0
            assert (group.severity, group.hint) == (CATALOGUE[code].severity, CATALOGUE[code].hint)
        else:
            having = [r for r in example.rows if r.get("reason_code") == code]
            assert group.modules == len(having) > 0
            assert group.meaning == wording.TROUBLES[code].meaning


def test_what_to_do_is_sorted_by_severity_then_frequency(example: Fleet) -> None:
    groups = counted(example).sorted_groups
    severities = ("error", "warning", "info")
    places = [(severities.index(g.severity), not g.across, -g.modules) for g in groups]
    assert places == sorted(places)
    assert groups[0].code == "shared-private-key"
    assert any(group.asks for group in groups)
    assert not any(group.asks for group in groups if group.severity == "info")


def test_every_reason_of_an_unreadable_image_has_words() -> None:
    reasons = {record["reason_code"] for record in kinds()["unread"]}
    assert len(reasons) >= 3
    assert reasons <= set(wording.TROUBLES)


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"status": "skipped"}, "skipped"),
        ({"status": "failed", "exit_code": 3, "layout": None, "reason_code": "x"}, "unreadable"),
        ({"status": "failed", "exit_code": 4, "error": {"code": "read-failed"}}, "failed"),
        ({"status": "failed", "exit_code": 70, "error": {"code": "worker-died"}}, "failed"),
        ({"status": "failed", "exit_code": 1, "layout": "nvs", "error": {"code": "r"}}, "error"),
        ({"status": "done", "exit_code": 1, "layout": "tlv", "verdict": "error"}, "error"),
        ({"status": "done", "exit_code": 0, "layout": "tlv", "verdict": "warning"}, "warning"),
        ({"status": "done", "exit_code": 0, "layout": "tlv", "verdict": "ok"}, "ok"),
        ({"exit_code": 0, "layout": "tlv", "findings": [{"severity": "warning"}]}, "warning"),
        ({"exit_code": 0, "layout": "tlv", "verdict": None}, "ok"),
    ],
)
def test_states(record: Record, state: str) -> None:
    assert figures.state_of(record) == state


# --- Expiry ------------------------------------------------------------------------------------


def ending(*moments: str | None) -> figures.Figures:
    found = figures.Figures(figures.Clock(AT, 30))
    for moment in moments:
        found.add({"exit_code": 0, "layout": "tlv", "key": "none", "not_after": moment})
    return found


def test_expiry_at_the_edges() -> None:
    found = ending(
        "2026-03-02T07:59:59Z", "2026-03-02T08:00:00Z", "2026-04-01T07:59:59Z",
        "2026-04-01T08:00:00Z", "9999-12-31T23:59:59Z", None,
    )  # fmt: skip
    assert found.expiring == {"expired": 1, "soon": 2, "later": 2}
    assert (found.endless, found.without_expiry) == (1, 1)
    assert [period.name for period in found.periods()] == ["2026-03", "2026-04"]
    assert [dict(p.counts) for p in found.periods()] == [
        {"expired": 1, "soon": 1}, {"soon": 1, "later": 1},
    ]  # fmt: skip


def test_any_number_of_days_is_soon_enough() -> None:
    for days in (5_000_000, 10**30):
        options = {"expires_within": days}
        clock = figures.clock_of({"at": "2026-03-02T08:00:00Z", "options": options})
        end = datetime(9999, 12, 30, tzinfo=timezone.utc)
        assert clock.judge(end) == "soon"
        assert (clock.at + timedelta(days=clock.days)).year == 9999


def test_far_ends_are_gathered() -> None:
    names = [p.name for p in ending("1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z").periods()]
    assert (names[0], names[1]) == ("2024 and before", "2025 to 2029")
    assert (names[-2], names[-1]) == ("2070 to 2074", "2075 and later")
    assert len(names) == 12
    assert ending(None).periods() == []


@given(
    st.lists(
        st.datetimes(datetime(1950, 1, 1), datetime(9998, 12, 31), timezones=st.just(timezone.utc)),
        min_size=1,
    )
)
def test_periods_hold_every_certificate(moments: list[datetime]) -> None:
    found = ending(*(moment.isoformat() for moment in moments))
    periods = found.periods()
    assert sum(sum(period.counts.values()) for period in periods) == len(moments)
    assert 1 <= len(periods) <= 16
    assert len({period.name for period in periods}) == len(periods)


# --- Rows --------------------------------------------------------------------------------------


def test_the_worst_rows_are_taken(example: Fleet) -> None:
    found = counted(example)
    words = wording.STATE_WORDS["audit"]
    rows = embedding.embed(example.records, example.across, found, words, limit=50)
    table = unpacked(rows.table)
    failing = [r["source"] for r in example.rows if r.get("verdict") == "error"]
    assert rows.rows == 50
    assert table["columns"]["source"][: len(failing)] != []
    worst = [(rank, place) for place, rank in enumerate(table["columns"]["rank"])]
    sources = [table["columns"]["source"][place] for _, place in sorted(worst)]
    unread = [r["source"] for r in example.rows if r["exit_code"] == 3]
    keys = example.across[0]["sources"]
    rest = [s for s in keys if s not in failing and s not in unread]
    warned = [
        r["source"] for r in example.rows
        if r.get("verdict") == "warning" and r["source"] not in rest
    ]  # fmt: skip
    assert sources == [*failing, *unread, *rest, *warned][:50]


def test_rows_end_when_the_figures_say() -> None:
    record = record_of(b"", "x") | {"exit_code": 0, "layout": "tlv", "key": "none"}
    ends = ("2026-03-02T07:59:59Z", "2026-03-02T08:00:00Z", "2026-04-01T08:00:00Z", None)
    rows = [record | {"not_after": end} for end in ends]
    header = {"at": "2026-03-02T08:00:00Z", "options": {"expires_within": 30}}
    found = figures.count(header, [], rows)
    made = embedding.embed(lambda: iter(rows), [], found, wording.STATE_WORDS["audit"])
    assert unpacked(made.table)["columns"]["ends"] == ["expired", "soon", "later", ""]
    assert found.expiring == {"expired": 1, "soon": 1, "later": 1}


def test_details_are_of_their_rows(example: Fleet) -> None:
    found = counted(example)
    words = wording.STATE_WORDS["audit"]
    rows = embedding.embed(example.records, example.across, found, words)
    table = unpacked(rows.table)
    details = [row for line in rows.details.split(" ") for row in unpacked(line)]
    by_source = {record["source"]: record for record in example.rows}
    codes = [code for code, *_ in table["names"]["codes"]]
    assert len(details) == rows.rows == len(example.rows)
    for source, detail in zip(table["columns"]["source"], details, strict=True):
        record = by_source[source]
        told = [codes[number] for number, *_ in detail["findings"]]
        expected = [finding["code"] for finding in record.get("findings", ())]
        assert told == (expected or [record["reason_code"]] if "error" in record else expected)
    shared = [row["shared"] for row in details if row["shared"]]
    assert sorted(len(names) for [[_, _, names, _]] in shared) == [1, 1, 3, 3, 3, 3]


def test_a_row_shows_so_many_findings_and_counts_the_rest() -> None:
    record = record_of(b"", "x")
    finding = {"code": "item-crc", "severity": "error", "message": "m", "hint": "h"}
    record |= {"exit_code": 1, "layout": "tlv", "findings": [finding] * 70}
    record.pop("error")
    found = figures.count({"at": "2026-01-01T00:00:00Z"}, [], [record])
    rows = embedding.embed(lambda: iter([record]), [], found, wording.STATE_WORDS["audit"])
    [detail] = unpacked(rows.details)
    assert (len(detail["findings"]), detail["more"]) == (50, 20)
    assert (found.groups["item-crc"].modules, found.groups["item-crc"].findings) == (1, 70)


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_the_example_is_what_the_library_says() -> None:
    data = b"\xff" * 0x6000
    assert image_of(data, "x").partition == data
    assert record_of(data, "x")["reason_code"] == "erased"
