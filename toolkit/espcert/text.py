"""Text from inside an image, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with everything unprintable as `\\xNN` (`\\uNNNN` where a byte does not hold it).

    Terminal escapes, line breaks and direction marks cannot reach a terminal this way.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size_text(size: int) -> str:
    """A size in bytes, decimal and hexadecimal."""
    return f"{size} bytes ({size:#x})"
