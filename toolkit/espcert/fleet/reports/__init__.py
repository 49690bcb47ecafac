"""Reports of a fleet: what they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol


class Report(Protocol):
    """A run's records, which need not fit into memory, with what is known of the run.

    `header` names the tool, its version, the verb, options, clock and the journal's digest, and
    tells whether the run was `finished` and how many sources are `left`;
    `across` are the findings between modules.
    """

    @property
    def header(self) -> Mapping[str, Any]:
        """Tool, version, verb, options, clock, journal digest and counts of the run."""

    @property
    def across(self) -> Sequence[Mapping[str, Any]]:
        """Findings across the fleet, each with the sources that it concerns."""

    def records(self) -> Iterator[Mapping[str, Any]]:
        """All records, sorted by source; may be asked for several times."""
