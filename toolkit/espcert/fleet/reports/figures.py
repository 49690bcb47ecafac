"""The figures of the HTML report: counted over all records in one pass, in little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

from espcert.catalogue import CATALOGUE, INFO
from espcert.catalogue import ERROR as SEVERE
from espcert.detection import KEY_NONE
from espcert.findings import SEVERITIES
from espcert.fleet.reports import wording
from espcert.fleet.reports.wording import ERROR, FAILED, OK, SKIPPED, UNREADABLE, WARNING

Record = Mapping[str, Any]

NOT_READ: Final = "not read"
"""Stands for the layout and the key of an image that is no known layout."""
NOTHING_TO_DO: Final = "nothing to do"
EXPIRED: Final = "expired"
SOON: Final = "soon"
LATER: Final = "later"
DEFAULT_SOON: Final = 365
"""Days from the clock within which an expiry counts as soon, unless the run says otherwise."""

_EXIT_FAILED: Final = 1
_EXIT_UNREADABLE: Final = 3
_NO_EXPIRY_YEAR: Final = 9999
_YEARS_BACK: Final = 5
_YEARS_AHEAD: Final = 50
_MOST_BUCKETS: Final = 16
_STEPS: Final = (1, 3, 12, 24, 60)
"""Months that one bar of the expiry chart may span; the longest fits whatever lies between."""


def state_of(record: Record) -> str:
    """What can be said of a module: one of `wording.STATES`."""
    if record.get("status") == "skipped":
        return SKIPPED
    if record.get("exit_code") == _EXIT_UNREADABLE:
        return UNREADABLE
    if record.get("exit_code") == _EXIT_FAILED:
        return ERROR
    if "error" in record:
        return FAILED
    if not record.get("layout"):
        return UNREADABLE
    return record.get("verdict") or _worst(record.get("findings") or ())


def _worst(findings: Iterable[Record]) -> str:
    shown = {finding["severity"] for finding in findings}
    return ERROR if ERROR in shown else WARNING if WARNING in shown else OK


def trouble_of(record: Record) -> tuple[str, str] | None:
    """Code and message of why a module has no verdict, or None where it has one."""
    if state_of(record) not in (UNREADABLE, FAILED):
        return None
    error = record.get("error") or {}
    code = error.get("code") or record.get("reason_code") or "failed"
    message = error.get("message") or record.get("reason") or wording.UNEXPLAINED.meaning
    return str(code), str(message)


@dataclass(slots=True)
class Group:
    """All findings of one code: what it means, what to do, and in how many modules it is."""

    code: str
    severity: str
    meaning: str
    hint: str
    across: bool = False
    modules: int = 0
    findings: int = 0

    @property
    def order(self) -> tuple[int, bool, int, str]:
        """Worst first: what modules share before what each has alone; then the most frequent."""
        return SEVERITIES.index(self.severity), not self.across, -self.modules, self.code

    @property
    def asks(self) -> bool:
        """Whether somebody has to do something; of what makes a module an error, always."""
        needless = self.severity == INFO or self.hint.startswith(NOTHING_TO_DO)
        return self.severity == SEVERE or not needless


class Clock(NamedTuple):
    """The moment to which the figures refer, and how many days from it count as soon."""

    at: datetime
    days: int

    def judge(self, moment: datetime) -> str:
        """Whether a certificate that ends at a moment is expired, soon or later."""
        if moment < self.at:
            return EXPIRED
        return SOON if moment - self.at < timedelta(days=self.days) else LATER


def clock_of(header: Record) -> Clock:
    """The clock of a run; `header["at"]` is RFC 3339. What is soon ends where dates do."""
    days = (header.get("options") or {}).get("expires_within")
    at = moment_of(header["at"])
    most = (datetime.max.replace(tzinfo=timezone.utc) - at).days
    return Clock(at, min(days, most) if isinstance(days, int) else DEFAULT_SOON)


def moment_of(text: str) -> datetime:
    """An RFC 3339 time, in UTC. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


class Period(NamedTuple):
    """One bar of the expiry chart: its name, and how many certificates end in it, by judgement."""

    name: str
    counts: Mapping[str, int]


@dataclass(slots=True)
class Figures:
    """Counts over all records. `layouts` and `keys` are by (name, state).

    Files that were left out are no modules: they are among the `states`, and in nothing else.
    """

    clock: Clock
    total: int = 0
    states: Counter[str] = field(default_factory=Counter)
    layouts: Counter[tuple[str, str]] = field(default_factory=Counter)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)
    months: Counter[tuple[int, str]] = field(default_factory=Counter)
    expiring: Counter[str] = field(default_factory=Counter)
    endless: int = 0
    without_expiry: int = 0
    groups: dict[str, Group] = field(default_factory=dict)

    @property
    def sound(self) -> int:
        """Modules that work, those with warnings included."""
        return self.states[OK] + self.states[WARNING]

    @property
    def shares(self) -> bool:
        """Whether modules share what is an error, whatever each is by itself."""
        return any(one.across and one.severity == SEVERE for one in self.groups.values())

    @property
    def listed(self) -> int:
        """All records: modules, and files that were left out."""
        return self.total + self.states[SKIPPED]

    @property
    def sorted_groups(self) -> list[Group]:
        """All codes, worst and most frequent first."""
        return sorted(self.groups.values(), key=lambda group: group.order)

    def by_name(self, counted: Counter[tuple[str, str]]) -> list[tuple[str, dict[str, int]]]:
        """Rows (name, count by state), the most frequent first, images not read last."""
        rows: dict[str, dict[str, int]] = {}
        for (name, state), count in counted.items():
            rows.setdefault(name, {})[state] = count
        return sorted(
            rows.items(), key=lambda row: (row[0] == NOT_READ, -sum(row[1].values()), row[0])
        )

    def add(self, record: Record) -> None:
        """Count one module, or a file that was left out."""
        state = state_of(record)
        self.states[state] += 1
        if state == SKIPPED:
            return
        self.total += 1
        self.layouts[layout_of(record), state] += 1
        self.keys[key_of(record), state] += 1
        self._add_expiry(record.get("not_after"))
        seen: set[str] = set()
        for code, severity, hint in _codes(record):
            self._count(code, severity, hint, new=code not in seen)
            seen.add(code)

    def add_across(self, finding: Record) -> None:
        """Count a finding between modules."""
        code = finding["code"]
        if code not in self.groups:
            hint = finding.get("hint") or NOTHING_TO_DO
            meaning = CATALOGUE[code].meaning if code in CATALOGUE else finding["message"]
            self.groups[code] = Group(code, finding["severity"], meaning, hint, across=True)
        self.groups[code].findings += 1
        self.groups[code].modules += finding["count"]

    def _add_expiry(self, text: str | None) -> None:
        if text is None:
            self.without_expiry += 1
            return
        moment = moment_of(text)
        judged = self.clock.judge(moment)
        self.expiring[judged] += 1
        if moment.year == _NO_EXPIRY_YEAR:
            self.endless += 1
        else:
            self.months[moment.year * 12 + moment.month - 1, judged] += 1

    def _count(self, code: str, severity: str, hint: str, *, new: bool) -> None:
        group = self.groups.get(code)
        if group is None:
            group = self.groups[code] = Group(code, severity, _meaning(code), hint)
        if SEVERITIES.index(severity) < SEVERITIES.index(group.severity):
            group.severity = severity
        group.findings += 1
        group.modules += new

    def periods(self) -> list[Period]:
        """The bars of the expiry chart, evenly spaced; far ends are gathered in one bar each."""
        if not self.months:
            return []
        year = self.clock.at.year
        low, high = (year - _YEARS_BACK) * 12, (year + _YEARS_AHEAD) * 12 + 11
        clamped = Counter[tuple[int, str]]()
        for (month, judged), count in self.months.items():
            clamped[min(max(month, low), high), judged] += count
        first, last = min(clamped)[0], max(clamped)[0]
        step = next(step for step in _STEPS if last // step - first // step < _MOST_BUCKETS)
        edges = (min(self.months)[0] < low, max(self.months)[0] > high)
        return list(_buckets(clamped, step, first // step, last // step, edges))


def _buckets(
    counted: Counter[tuple[int, str]], step: int, first: int, last: int, edges: tuple[bool, bool]
) -> Iterator[Period]:
    sums: dict[int, Counter[str]] = {number: Counter() for number in range(first, last + 1)}
    for (month, judged), count in counted.items():
        sums[month // step][judged] += count
    for number, counts in sums.items():
        name = _period_name(number * step, step)
        if number == first and edges[0]:
            name = f"{name.split()[-1]} and before"
        if number == last and edges[1]:
            name = f"{name.split()[0]} and later"
        yield Period(name, counts)


def _period_name(month: int, step: int) -> str:
    year, rest = divmod(month, 12)
    if step == 1:
        return f"{year}-{rest + 1:02}"
    if step == 3:
        return f"{year} Q{rest // 3 + 1}"
    return str(year) if step == 12 else f"{year} to {year + step // 12 - 1}"


def _meaning(code: str) -> str:
    if code in CATALOGUE:
        return CATALOGUE[code].meaning
    return wording.TROUBLES.get(code, wording.UNEXPLAINED).meaning


def _codes(record: Record) -> Iterator[tuple[str, str, str]]:
    """Code, severity and hint of all that is said of a module."""
    for finding in record.get("findings") or ():
        yield finding["code"], finding["severity"], finding.get("hint") or NOTHING_TO_DO
    trouble = trouble_of(record)
    if trouble is not None:
        yield trouble[0], ERROR, wording.TROUBLES.get(trouble[0], wording.UNEXPLAINED).hint


def layout_of(record: Record) -> str:
    """The layout of a module, or that it was not read."""
    return record.get("layout") or NOT_READ


def ending_of(record: Record, clock: Clock) -> str:
    """Whether the certificate of a module is expired, ends soon or later; nothing without one."""
    end = record.get("not_after")
    return clock.judge(moment_of(end)) if end else ""


def key_of(record: Record) -> str:
    """The kind of key of a module, or that it was not read."""
    return (record.get("key") or KEY_NONE) if record.get("layout") else NOT_READ


def count(header: Record, across: Sequence[Record], records: Iterable[Record]) -> Figures:
    """All figures, in one pass over the records."""
    figures = Figures(clock_of(header))
    for record in records:
        figures.add(record)
    for finding in across:
        figures.add_across(finding)
    return figures
