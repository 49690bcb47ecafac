"""The one exception that readers and writers of layouts raise."""

from __future__ import annotations


class FormatError(Exception):
    """Bytes that cannot be read as, or items that cannot be written in, a layout.

    `offset` counts bytes from the start of the partition; None where no single place is at fault.
    """

    def __init__(
        self,
        layout: str,
        *,
        expected: str,
        found: str,
        offset: int | None = None,
        hint: str = "",
    ) -> None:
        self.layout = layout
        self.offset = offset
        self.expected = expected
        self.found = found
        self.hint = hint
        where = "" if offset is None else f" at offset {offset:#x}"
        advice = f"; {hint}" if hint else ""
        super().__init__(f"{layout}: expected {expected}{where}, found {found}{advice}")
