"""Entries under HMAC: those that are encrypted, and private keys that are derived."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from espcert import hmac_peripheral, keypairs
from espcert.checks import private_key
from espcert.checks.context import Context, is_hmac_encrypted
from espcert.findings import Finding, item_name, of_item
from espcert_formats import items as kinds
from espcert_formats.items import Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


@dataclass(frozen=True, slots=True)
class _Bench:
    """The key at hand and its origin in words, and what else an image has to prove entries with.

    All of it is found once, since a hostile image may have thousands of entries. `salts` are the
    first salts by index, which firmware reads, `ivs` those of DS keys by entry and index.
    """

    context: Context
    key: bytes | None = field(repr=False)
    where: str
    salts: dict[int, Item]
    damaged_salts: frozenset[int]
    ivs: dict[tuple[int | None, int], bytes]
    public: Callable[[int], PublicKeyTypes | None]
    derive: Callable[[bytes, bytes], EllipticCurvePrivateKey | None]


def check(context: Context) -> Iterator[Finding]:
    """Findings on every entry that needs the HMAC peripheral."""
    users = [item for item in context.contents.items if _needs_hmac(item)]
    if not users:
        return
    lookup = context.keys.hmac_up()
    for code, text in lookup.problems:
        yield of_item(code, users[0], text)
    bench = _bench(context, lookup.key, lookup.where or "the HMAC key")
    for item in users:
        yield from _chip(item, context)
        yield from _encrypted(item, bench) if is_hmac_encrypted(item) else _derived(item, bench)


def _needs_hmac(item: Item) -> bool:
    """One item for each entry: that of a DS key's IV is the ciphertext's, too."""
    if item.intact is False:
        return False
    encrypted = is_hmac_encrypted(item) and item.kind != kinds.DS_IV
    derived = item.kind == kinds.PRIVATE_KEY and item.protection == kinds.HMAC_DERIVED
    return encrypted or derived


def _bench(context: Context, key: bytes | None, where: str) -> _Bench:
    salts = context.contents.of_kind(kinds.ECDSA_SALT)
    return _Bench(
        context,
        key,
        where,
        {salt.index: salt for salt in reversed(salts) if salt.intact is not False},
        frozenset(salt.index for salt in salts if salt.intact is False),
        {(iv.entry_offset, iv.index): iv.data for iv in context.contents.of_kind(kinds.DS_IV)},
        functools.cache(context.device_key),
        functools.cache(hmac_peripheral.derive_ecdsa),
    )


def _chip(item: Item, context: Context) -> Iterator[Finding]:
    if context.chip is not None and not context.chip.hmac:
        text = f"needs the HMAC peripheral, which {context.chip.name} does not have"
        yield of_item("hmac-chip", item, text)


# --- Encrypted entries --------------------------------------------------------------------------


def _encrypted(item: Item, bench: _Bench) -> Iterator[Finding]:
    if bench.context.firmware is None:
        text = "encrypted under HMAC: versions 2.0.6 to 2.6.1 read it, 2.7.0 to 2.9.3 fail on it"
        yield of_item("hmac-versions", item, text)
    stored = _stored(item, bench)
    if len(stored) < hmac_peripheral.TAG_LENGTH or keypairs.is_key(stored):
        what = "a private key in plain text" if keypairs.is_key(stored) else "no room for its tag"
        text = f"{len(stored)} bytes, {what}, expected what AES-GCM has encrypted"
        yield of_item("hmac-not-opened", item, text)
        return
    if bench.key is None:
        yield of_item("hmac-not-proven", item, "encrypted, and the HMAC key is not at hand")
        return
    plaintext = hmac_peripheral.open_entry(bench.key, stored)
    if plaintext is None:
        text = f"{len(stored)} bytes that AES-GCM does not open with {bench.where}"
        yield of_item("hmac-not-opened", item, text)
    elif item.kind == kinds.PRIVATE_KEY:
        yield from _opened_key(item, plaintext, bench)
    else:
        text = f"opens with {bench.where}, {len(plaintext)} bytes"
        yield of_item("hmac-proven", item, text)


def _stored(item: Item, bench: _Bench) -> bytes:
    """The data of the item's entry: two items and a word where it is that of a DS key.

    Source: ESP-IDF 102122904ad, esp_ds.h, esp_ds_data_t.
    """
    if item.rsa_length is None:
        return item.data
    iv = bench.ivs.get((item.entry_offset, item.index), b"")
    return item.rsa_length.to_bytes(4, "little") + iv + item.data


def _opened_key(item: Item, plaintext: bytes, bench: _Bench) -> Iterator[Finding]:
    locked = keypairs.is_encrypted(plaintext)
    password = bench.context.key_password if locked else None
    private = keypairs.load_private_key(plaintext, password)
    if private is not None:
        found = list(private_key.judge(private, item, bench.context))
        yield from found
        if any(finding.code == "key-proven" for finding in found):
            text = f"opens with {bench.where}, and the key in it is right"
            yield of_item("hmac-proven", item, text)
    elif not locked:
        text = f"opens with {bench.where}, but its {len(plaintext)} bytes are no private key"
        yield of_item("key-unreadable", item, text)
    elif password is None:
        text = f"opens with {bench.where}, and the key in it is under a password; none was given"
        yield of_item("key-encrypted", item, text)
    else:
        text = f"opens with {bench.where}, but the password that was given does not open its key"
        yield of_item("key-password", item, text)


# --- Derived keys -------------------------------------------------------------------------------


def _derived(item: Item, bench: _Bench) -> Iterator[Finding]:
    if item.data:
        what = ", a private key in plain text" if keypairs.is_key(item.data) else ""
        text = f"the key is derived by HMAC, yet the entry carries {len(item.data)} bytes{what}"
        yield of_item("derived-carries-data", item, f"{text}, expected none")
    wanted = item_name(kinds.ECDSA_SALT, item.index)
    if item.index not in bench.salts:
        state = "is damaged" if item.index in bench.damaged_salts else "is not there"
        yield of_item("salt-missing", item, f"derived by HMAC, and its {wanted} {state}")
        return
    salt = bench.context.plain(bench.salts[item.index])
    if bench.key is None or salt is None:
        what = "the HMAC key" if bench.key is None else f"its {wanted}"
        yield of_item("hmac-not-proven", item, f"derived, and {what} is not at hand")
        return
    yield _judged(bench.derive(bench.key, salt), item, bench)


def _judged(private: EllipticCurvePrivateKey | None, item: Item, bench: _Bench) -> Finding:
    """A derived key against the device certificate."""
    origin = f"{bench.where} and the salt"
    public = bench.public(item.index)
    if private is None:
        text = f"what {origin} give is no P-256 private key"
        return of_item("derived-out-of-range", item, text)
    if public is None:
        text = f"derived from {origin}; there is no readable device certificate to compare with"
        return of_item("key-not-proven", item, text)
    if keypairs.signs_for(private, public):
        text = f"derived from {origin}, it is that of the device certificate"
        return of_item("hmac-proven", item, text)
    text = f"what {origin} give is another key, expected that of the device certificate"
    return of_item("derived-foreign", item, f"{text} ({keypairs.key_name(public)})")
