"""Private keys in plain text: readable, and proven against the device certificate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from espcert import keypairs
from espcert.checks.context import Context
from espcert.findings import Finding, item_name, of_item
from espcert_formats import items as kinds
from espcert_formats.checksum import sha256
from espcert_formats.items import Item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

MAX_TESTED: Final = 8
"""Indices of keys whose primes are tested where no certificate proves them: 0.3 s for RSA 4096."""

MAX_OPENED: Final = 16
"""Keys of one image that a password is tried on: hostile ones take a sixth of a second each."""

_DIGEST_SHOWN: Final = 16
"""Hex digits of a digest in a message that compares two of them."""


def check(context: Context) -> Iterator[Finding]:
    """Findings on the private keys that no peripheral protects."""
    plain = [one for one in context.whole(kinds.PRIVATE_KEY) if one.protection == kinds.PLAINTEXT]
    for number, item in enumerate(plain):
        yield from _check(item, context if number < MAX_OPENED else _without_password(context))


def _without_password(context: Context) -> Context:
    return dataclasses.replace(context, key_password=None)


def _check(item: Item, context: Context) -> Iterator[Finding]:
    if keypairs.is_encrypted(item.data):
        yield from _encrypted(item, context)
        return
    private = keypairs.load_private_key(item.data)
    if private is None:
        text = f"{len(item.data)} bytes, expected a private key in PEM or DER that is whole"
        yield of_item("key-unreadable", item, text)
        return
    text = f"{keypairs.key_name(private)} in plain text, {len(item.data)} bytes"
    yield of_item("key-plaintext", item, text)
    yield from judge(private, item, context)


def _encrypted(item: Item, context: Context) -> Iterator[Finding]:
    if context.key_password is None:
        text = "under a password, and none was given, so that it is not known which key it is"
        yield of_item("key-encrypted", item, text)
        return
    private = keypairs.load_private_key(item.data, context.key_password)
    if private is None:
        text = (
            "the password that was given does not open it; "
            "or it is damaged, or encrypted in a way that espcert does not know"
        )
        yield of_item("key-password", item, text)
        return
    yield from judge(private, item, context)


def judge(private: PrivateKeyTypes, item: Item, context: Context) -> Iterator[Finding]:
    """What a private key that was opened is worth, beside the device certificate of its index."""
    own = keypairs.public_half(private)
    if own is None or not keypairs.can_sign(private):
        most = keypairs.MAX_RSA_BITS
        text = f"{keypairs.key_name(private)}, expected ECDSA, or RSA of {most} bits at most"
        yield of_item("key-unreadable", item, text)
        return
    public = context.device_key(item.index)
    if public is None:
        yield _by_itself(private, item)
        return
    encoded, wanted = keypairs.spki(own), context.device_spki(item.index)
    described = _described(own, encoded)
    certificate = item_name(kinds.DEVICE_CERT, item.index)
    if encoded is None or encoded != wanted:
        text = f"{described}, while {certificate} has {_described(public, wanted)}"
        yield of_item("key-mismatch", item, text)
    elif keypairs.signs_for(private, public):
        text = f"{described}: that of {certificate}, and a signature made with it verifies"
        yield of_item("key-proven", item, text)
    else:
        text = f"{described}: that of {certificate}, but its private numbers do not fit it"
        yield of_item("key-inconsistent", item, text)


def _by_itself(private: PrivateKeyTypes, item: Item) -> Finding:
    certificate = item_name(kinds.DEVICE_CERT, item.index)
    name = keypairs.key_name(private)
    thorough = item.index < MAX_TESTED
    if not keypairs.is_sound(private, thorough=thorough):
        text = (
            f"{name}, whose numbers contradict each other, so that it signs nothing that verifies"
        )
        return of_item("key-inconsistent", item, text)
    text = f"{name}, sound by itself; there is no readable {certificate} to compare it with"
    return of_item("key-not-proven", item, text)


def _described(public: PublicKeyTypes, encoded: bytes | None) -> str:
    shown = f" (public key {sha256(encoded)[:_DIGEST_SHOWN]}...)" if encoded else ""
    return keypairs.key_name(public) + shown
