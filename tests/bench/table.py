"""Tables, as plain text and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Rows under a title; columns of which all cells are numbers are set to the right."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def text(self) -> str:
        """For a terminal."""
        lines = [self._line(row, "  ").rstrip() for row in (self.columns, *self.rows)]
        note = textwrap.fill(self.note, 98)
        return "\n".join([self.title, "=" * len(self.title), note, "", *lines, ""])

    def markdown(self) -> str:
        """For a document."""
        rule = "|".join(
            "-" * (width + 1) + (":" if right else "-")
            for width, right in zip(self._widths(), self._right(), strict=True)
        )
        lines = [f"| {self._line(row, ' | ')} |" for row in (self.columns, *self.rows)]
        return "\n".join([f"## {self.title}", "", self.note, "", lines[0], f"|{rule}|", *lines[1:]])

    def _line(self, row: tuple[str, ...], between: str) -> str:
        cells = zip(row, self._widths(), self._right(), strict=True)
        return between.join(
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells
        )

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

    def _right(self) -> list[bool]:
        columns = zip(self.columns, *self.rows, strict=True)
        return [bool(cells) and all(map(_is_number, cells)) for _, *cells in columns]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit()
