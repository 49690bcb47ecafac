"""The certificates: readable, valid, strong enough, fit for TLS, and who vouches for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from espcert import certificates, encoding, keypairs
from espcert.checks.context import Context
from espcert.findings import Finding, item_name
from espcert_formats import items as kinds
from espcert_formats.items import Item

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

WEAK_DIGESTS: Final = {"md5": "MD5", "sha1": "SHA-1"}
MIN_RSA_BITS: Final = 2048
MIN_CURVE_BITS: Final = 224
"""Source: NIST SP 800-131A Rev. 2, table 2."""

MAX_CHAIN: Final = 10
"""Certificates in a chain, the device's own included: mbedTLS takes eight intermediates and a root.

Source: mbedTLS, x509_crt.h, MBEDTLS_X509_MAX_INTERMEDIATE_CA.
"""
MAX_NAMESAKES: Final = 64
"""Certificates of one name that are tried as the issuer of one: hostile ones may all have it."""
MAX_SIGNATURES: Final = 1024
"""Signatures that are verified for one partition."""

_NAME_SHOWN: Final = 100


class _Held(NamedTuple):
    """An item and the certificates in it, the leaf first."""

    item: Item
    chain: tuple[Certificate, ...]
    length: int
    odd_label: bool

    @property
    def name(self) -> str:
        """How findings name the item."""
        return item_name(self.item.kind, self.item.index)

    def finding(self, code: str, text: str) -> Finding:
        """A finding on the item."""
        return Finding(code, f"{self.name}: {text}", self.name, self.item.offset)


def check(context: Context) -> Iterator[Finding]:
    """Findings on every intact certificate, then on the chain of each device certificate."""
    held = list(_held(context))
    for one in held:
        yield from _each(one, context.at)
    devices = [one for one in held if one.item.kind == kinds.DEVICE_CERT and one.chain]
    if devices:
        authorities = [ca for one in held if one.item.kind == kinds.CA_CERT for ca in one.chain]
        issuers = _Issuers([*(context.ca or ()), *authorities])
        for one in devices:
            yield from _vouched(one, issuers, context)


def _held(context: Context) -> Iterator[_Held]:
    for item in context.whole(kinds.DEVICE_CERT, kinds.CA_CERT):
        data = context.plain(item)
        if data is not None:
            is_pem = encoding.encoding_of(data) == encoding.PEM
            odd_label = is_pem and encoding.PEM_LABEL not in data
            yield _Held(item, certificates.parse(data), len(data), odd_label)


# --- Each certificate by itself ----------------------------------------------------------------


def _each(held: _Held, at: datetime) -> Iterator[Finding]:
    if not held.chain:
        text = f"{held.length} bytes that are no X.509 certificate, expected PEM or DER"
        yield held.finding("certificate-unreadable", text)
    elif held.odd_label:
        text = f"PEM that mbedTLS does not know, expected {encoding.PEM_LABEL.decode()}"
        yield held.finding("certificate-unreadable", text)
    for number, certificate in enumerate(held.chain, 1):
        for code, text in (*_validity(certificate, at), *_strength(certificate)):
            yield held.finding(code, _which(held, number) + text)
    if held.chain and held.item.kind == kinds.DEVICE_CERT:
        for text in _usage(held.chain[0]):
            yield held.finding("key-usage", text)


def _which(held: _Held, number: int) -> str:
    """Which certificate of a chain is meant; nothing for the first."""
    if number == 1:
        return ""
    subject = _shown(certificates.subject_text(held.chain[number - 1]))
    return f"certificate {number} of {len(held.chain)} ({subject}): "


def _shown(name: str | None) -> str:
    """A distinguished name, cut where it is long."""
    if name is None:
        return "a name that cannot be read"
    cut = name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."
    return cut or "an empty name"


def _validity(certificate: Certificate, at: datetime) -> Iterator[tuple[str, str]]:
    begin, end = certificates.validity(certificate)
    if end is not None and at > end:
        yield "certificate-expired", f"expired on {_day(end)}, checked for {_day(at)}"
    if begin is not None and at < begin:
        yield "certificate-not-yet-valid", f"valid from {_day(begin)}, checked for {_day(at)}"


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _strength(certificate: Certificate) -> Iterator[tuple[str, str]]:
    key = certificates.key_of(certificate)
    bits = getattr(key, "key_size", None)
    least = MIN_CURVE_BITS if hasattr(key, "curve") else MIN_RSA_BITS
    if key is not None and bits is not None and bits < least:
        name = keypairs.key_name(key)
        yield "weak-key", f"its key is {name}, expected {least} bits or more"
    digest = WEAK_DIGESTS.get(certificates.digest_name(certificate) or "")
    if digest is not None and not _is_self_signed(certificate):
        yield "weak-digest", f"signed over an {digest} digest, expected SHA-256 or better"


def _is_self_signed(certificate: Certificate) -> bool:
    """Also where the library cannot verify the signature: nobody relies on that of a root."""
    issued = certificates.is_self_issued(certificate)
    return issued and certificates.is_signed_by(certificate, certificate) is not False


def _usage(leaf: Certificate) -> Iterator[str]:
    """What forbids a device certificate to be used for TLS client authentication."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

    usage = certificates.extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield "keyUsage without digitalSignature, expected it for a TLS client"
    purposes = certificates.extension(leaf, x509.ExtendedKeyUsage)
    fitting = {Purpose.CLIENT_AUTH, Purpose.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and fitting.isdisjoint(purposes):
        yield "extendedKeyUsage without clientAuth, expected it for a TLS client"


# --- The chain ---------------------------------------------------------------------------------

_Path = tuple["Certificate", ...]
"""A device certificate, its issuer, the issuer's issuer, ..."""


class _Link(NamedTuple):
    """What is known of a certificate's issuer.

    `issuers` are certificates whose key signed it, `is_named` tells whether any certificate at
    hand has the issuer's name, `is_unsure` whether a signature could not be verified.
    """

    issuers: tuple[Certificate, ...]
    is_named: bool
    is_unsure: bool


class _End(NamedTuple):
    """A path that leads no further, and why."""

    path: _Path
    link: _Link

    @property
    def is_broken(self) -> bool:
        """Whether the last certificate names an issuer at hand whose key did not sign it.

        Nobody relies on the signature of a root, so that a wrong one breaks nothing.
        """
        link = self.link
        if link.issuers or link.is_unsure or not link.is_named:
            return False
        return len(self.path) == 1 or not certificates.is_self_issued(self.path[-1])


class _Issuers:
    """The certificates that may have issued others, by name."""

    def __init__(self, candidates: Iterable[Certificate]) -> None:
        self._by_name: dict[certificates.NameKey, list[Certificate]] = {}
        self._signed: dict[tuple[Certificate, Certificate], bool | None] = {}
        for candidate in dict.fromkeys(candidates):
            name = certificates.subject_key(candidate)
            if name is not None:
                self._by_name.setdefault(name, []).append(candidate)

    def link(self, child: Certificate, beside: Sequence[Certificate]) -> _Link:
        """The issuers of a certificate, among all and among those that lie beside it."""
        name = certificates.issuer_key(child)
        if name is None:
            return _Link((), is_named=False, is_unsure=False)
        own = [one for one in beside if certificates.subject_key(one) == name]
        namesakes = [*own, *self._by_name.get(name, ())]
        tried = {one: self.is_signed(child, one) for one in namesakes[:MAX_NAMESAKES]}
        is_own = certificates.is_self_issued(child)
        return _Link(
            tuple(one for one, signed in tried.items() if signed),
            is_named=is_own or bool(namesakes),
            is_unsure=None in tried.values()
            or len(namesakes) > MAX_NAMESAKES
            or (is_own and self.is_signed(child, child) is None),
        )

    def is_signed(self, child: Certificate, issuer: Certificate) -> bool | None:
        """Whether the issuer's key signed a certificate; None where that cannot be told."""
        if (child, issuer) not in self._signed and len(self._signed) < MAX_SIGNATURES:
            self._signed[child, issuer] = certificates.is_signed_by(child, issuer)
        return self._signed.get((child, issuer))


def _vouched(device: _Held, issuers: _Issuers, context: Context) -> Iterator[Finding]:
    """One finding on the chain of a device certificate, two where it is its own and --ca is not."""
    leaf, ca = device.chain[0], context.ca
    if certificates.is_self_issued(leaf) and issuers.is_signed(leaf, leaf):
        text = f"{_shown(certificates.subject_text(leaf))} is signed with its own key"
        yield device.finding("self-signed", text)
        if ca is not None and leaf not in ca:
            text = f"signed with its own key, and none of {_given(ca)}"
            yield device.finding("not-issued-by-ca", text)
        return
    anchored, ends = _walk(device.chain, issuers, frozenset(ca or ()))
    problem = _problem(leaf, anchored, ends, ca)
    yield device.finding(*(problem or ("issuer-proven", _issued(leaf))))
    for issuer in set(anchored or ()) & set(ca or ()):
        for code, text in _validity(issuer, context.at):
            subject = _shown(certificates.subject_text(issuer))
            yield device.finding(code, f"vouched for by {subject} of --ca, which {text}")


def _issued(leaf: Certificate) -> str:
    end = certificates.validity(leaf)[1]
    until = "" if end is None else f"; valid until {_day(end)}"
    subject = _shown(certificates.subject_text(leaf))
    return f"{subject}, issued by {_issuer(leaf)}, whose signature verifies{until}"


def _walk(
    chain: _Path, issuers: _Issuers, anchors: frozenset[Certificate]
) -> tuple[_Path | None, list[_End]]:
    """A path from the leaf to an anchor, or all ends that were found instead.

    Paths through certificates that may issue others come first.
    """
    leaf, *beside = chain
    ends: list[_End] = []
    queue: deque[_Path] = deque([(leaf,)])
    seen = {leaf}
    while queue:
        path = queue.popleft()
        if len(path) > 1 and path[-1] in anchors:
            return path, ends
        link = issuers.link(path[-1], beside)
        fresh = [one for one in link.issuers if one not in seen]
        if not fresh or len(path) == MAX_CHAIN:
            ends.append(_End(path, link))
            continue
        seen.update(fresh)
        for issuer in fresh:
            add = queue.appendleft if certificates.may_issue(issuer) else queue.append
            add((*path, issuer))
    return None, ends


def _problem(
    leaf: Certificate,
    anchored: _Path | None,
    ends: Sequence[_End],
    ca: tuple[Certificate, ...] | None,
) -> tuple[str, str] | None:
    """Code and text of what is wrong, None where nothing is."""
    if anchored is not None:
        return _unmarked(anchored)
    sound = next((end for end in ends if not end.is_broken), None)
    if ca is None and sound is not None:
        return _unmarked(sound.path) if len(sound.path) > 1 else _missing(leaf, sound.link)
    unsure = next((end for end in ends if end.link.is_unsure), None)
    if unsure is not None:
        return _missing(leaf, unsure.link)
    broken = next((end for end in ends if end.is_broken), None)
    if broken is not None:
        return "issuer-signature", _broken(broken.path)
    text = f"issued by {_issuer(leaf)}, which leads to none of {_given(ca or ())}"
    wanted = certificates.issuer_key(leaf)
    if any(certificates.subject_key(one) == wanted for one in ca or ()):
        text += "; the one of this name has another key"
    return "not-issued-by-ca", text


def _missing(leaf: Certificate, link: _Link) -> tuple[str, str]:
    if link.is_named:
        why = "and whether the certificate of this name signed it cannot be verified here"
    else:
        why = "and no certificate at hand has this name"
    return "issuer-missing", f"issued by {_issuer(leaf)}, {why}"


def _broken(path: _Path) -> str:
    issuer = _issuer(path[-1])
    if len(path) > 1:
        subject = _shown(certificates.subject_text(path[-1]))
        return f"its issuer {subject} is issued by {issuer}, whose key did not sign that"
    return f"issued by {issuer}, but no certificate of this name at hand has the key that signed it"


def _unmarked(path: _Path) -> tuple[str, str] | None:
    """The first issuer on a path that must not issue the one before it, if one must not."""
    for depth, issuer in enumerate(path[1:]):
        subject = _shown(certificates.subject_text(issuer))
        longest = certificates.path_length(issuer)
        if longest is not None and depth > longest:
            text = f"vouched for by {subject}, which allows {longest} CAs below it, found {depth}"
            return "ca-not-a-ca", text
        if not certificates.may_issue(issuer):
            wanted = "basicConstraints CA:TRUE, and keyCertSign in its keyUsage if it has one"
            return "ca-not-a-ca", f"vouched for by {subject}, expected {wanted}"
    return None


def _issuer(certificate: Certificate) -> str:
    return _shown(certificates.issuer_text(certificate))


def _given(ca: Sequence[Certificate]) -> str:
    """The certificates of --ca, in words."""
    names = ", ".join(_shown(certificates.subject_text(one)) for one in ca[:3])
    more = f" and {len(ca) - 3} more" if len(ca) > 3 else ""
    return f"those given with --ca ({names}{more})"
