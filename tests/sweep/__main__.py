"""Run one case of the sweep: `python -m tests.sweep FIXTURE KIND NUMBER [--accept CODE]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.sweep import damage, judge


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("fixture")
    parser.add_argument("kind", choices=damage.KINDS)
    parser.add_argument("number", type=int)
    parser.add_argument("--accept", action="append", default=[])
    parser.add_argument("-o", "--output", type=Path, help="where to write the damaged image")
    asked = parser.parse_args()
    fixture = judge.fixture(asked.fixture, frozenset(asked.accept))
    case = damage.at(asked.kind, len(fixture.data), asked.number)
    damaged = case.apply(fixture.data)
    if asked.output:
        asked.output.write_bytes(damaged)
    outcome = judge.run(damaged, fixture.accept)
    print(case)
    print("exit codes of detect, inspect, migrate:", *outcome.codes)
    for line in (*outcome.changes, *outcome.objects):
        print(" ", line)
    print(judge.judge(fixture, damaged, outcome))


if __name__ == "__main__":
    main()
