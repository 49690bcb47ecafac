"""PEM and DER: which of the two, and where a DER structure ends. What is inside is not parsed here.

A structure's length is all that tells a NUL behind it from its last byte, and numbers of hostile
size must be seen before a library spends minutes on them: no library offers either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PEM: Final = "pem"
DER: Final = "der"
UNKNOWN: Final = "unknown"

PEM_MARK: Final = b"-----BEGIN "
PEM_LABEL: Final = b"-----BEGIN CERTIFICATE-----"
"""The only label of a certificate in mbedTLS. Source: mbedTLS 3.6, x509_crt.c."""

DER_SEQUENCE: Final = 0x30


def encoding_of(data: bytes) -> str:
    """`pem`, `der` or `unknown`, by how the bytes begin; a name in DER may look like PEM."""
    end = der_end(data)
    if end is not None and not data[end:].strip(b"\0"):
        return DER
    if PEM_MARK in c_string(data):
        return PEM
    if data[:1] == bytes((DER_SEQUENCE,)):
        return DER
    return UNKNOWN


def c_string(data: bytes) -> bytes:
    """The bytes before the first NUL: all that mbedTLS sees of a text."""
    return data.partition(b"\0")[0]


def der_end(data: bytes) -> int | None:
    """Where the structure at the start of DER bytes ends, by its own length; None for no such."""
    first = next(elements(memoryview(data)), None)
    if first is None or first[0] != DER_SEQUENCE:
        return None
    return first[2]


def elements(data: memoryview) -> Iterator[tuple[int, memoryview, int]]:
    """Tag, body and end of each element, up to the first that is no whole DER of one-byte tag."""
    at = 0
    while at + 2 <= len(data):
        first = data[at + 1]
        extra = first & 0x7F if first & 0x80 else 0
        start = at + 2 + extra
        length = int.from_bytes(data[at + 2 : start], "big") if extra else first
        if first == 0x80 or start + length > len(data):
            return
        yield data[at], data[start : start + length], start + length
        at = start + length


def without_nuls(data: bytes) -> bytes:
    """DER without the NULs behind it, which esp-secure-cert-tool 0.9.0 to 0.9.5 append."""
    end = der_end(data)
    return data if end is None or data[end:].strip(b"\0") else data[:end]
