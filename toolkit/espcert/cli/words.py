"""Plain words for what an image is; no colours, nothing to import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from espcert import detection
from espcert.cli.common import shown_name
from espcert.detection import Reading
from espcert.text import printable, size_text

KEY_WORDS: Final = detection.KEY_WORDS
CHIP_WORDS: Final = {
    "ds3072": "3072-bit DS (ESP32-C3, -C5, -C6, -H2)",
    "ds4096": "4096-bit DS (ESP32-S2, -S3, -P4)",
}


def headline(reading: Reading) -> str:
    """One line that says what the image is."""
    contents = reading.require()
    key = KEY_WORDS[detection.key_of(contents)]
    name = printable(shown_name(reading.image.name))
    return f"{name}: {contents.layout} ({contents.traits.title}), {key}"


def reading_lines(reading: Reading) -> Iterator[str]:
    """What is known of the partition, and why it is taken for what it is."""
    contents = reading.require()
    if contents.traits.placed:
        yield _line("size", size_text(len(reading.image.partition)))
        yield _line("revision", revision_words(contents.revision))
    else:
        material = sum(len(item.data) for item in contents.items)
        yield _line("size", f"{len(contents.items)} items, {material} bytes in all")
    if reading.label:
        yield _line("label", printable(reading.label))
    family = detection.chip_family(contents.items)
    if family:
        yield _line("chip", CHIP_WORDS[family])
    for number, reason in enumerate(detection.evidence(reading)):
        yield _line("" if number else "because", printable(reason))


def _line(name: str, value: str) -> str:
    return f"  {name:<10}{value}"


def revision_words(revision: str | None) -> str:
    """Which software writes or reads this form."""
    if revision is None:
        return "not known: no whole entry"
    if revision.startswith("idf"):
        return "ESP-IDF v4.3 and v4.4 (ssl_ds example)"
    return f"esp_secure_cert_mgr {revision}"
