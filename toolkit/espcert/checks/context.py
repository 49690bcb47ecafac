"""What a check may look at: the contents, and what the user gave to prove them with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from espcert import certificates, hmac_peripheral
from espcert.chips import Chip
from espcert.image import Image
from espcert.keys import NO_KEYS, Keys
from espcert_formats import items as kinds
from espcert_formats.items import Contents, Item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class Context:
    """One image, and all that can prove it.

    `at` is the clock for the certificates. `contradiction` says how a label that was given
    contradicts the bytes. `ca` are the certificates of `--ca`, None where the option was not
    given. `firmware` is a version of esp_secure_cert_mgr, `signing_key` the public key that
    signatures should be made with, `key_password` what opens private keys under a password. `image`
    is the file that holds the partition, None where the contents alone are at hand.
    """

    contents: Contents
    at: datetime
    contradiction: str | None = None
    chip: Chip | None = None
    keys: Keys = NO_KEYS
    ca: tuple[Certificate, ...] | None = None
    firmware: tuple[int, int, int] | None = None
    signing_key: PublicKeyTypes | None = None
    key_password: bytes | None = field(default=None, repr=False)
    image: Image | None = None
    _device_certificates: dict[int, bytes | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def whole(self, *wanted: str) -> tuple[Item, ...]:
        """The items of these kinds that are not damaged, in their order."""
        found = [one for one in self.contents.items if one.kind in wanted]
        return tuple(one for one in found if one.intact is not False)

    def plain(self, item: Item) -> bytes | None:
        """An item's bytes as firmware hands them out; None where no key at hand opens them."""
        if not is_hmac_encrypted(item):
            return item.data
        key = self.keys.hmac_up().key
        return None if key is None else hmac_peripheral.open_entry(key, item.data)

    def device_certificate(self, index: int) -> bytes | None:
        """The device certificate for the key of an index, as it is stored, None for none.

        That of the same index; esp-secure-cert-tool 2.2.0 wrote the only key at subtype 1 and the
        certificate at 0, so a certificate that is the only one, and that no key of its own index
        claims, belongs to the key of another.
        """
        if index not in self._device_certificates:
            item = self._certificate_for(index)
            self._device_certificates[index] = None if item is None else self.plain(item)
        return self._device_certificates[index]

    def device_key(self, index: int) -> PublicKeyTypes | None:
        """The public key of that certificate, None where there is none that can be read."""
        data = self.device_certificate(index)
        return None if data is None else certificates.public_key(data)

    def device_spki(self, index: int) -> bytes | None:
        """The same key as SubjectPublicKeyInfo, in DER."""
        data = self.device_certificate(index)
        return None if data is None else certificates.spki(data)

    def _certificate_for(self, index: int) -> Item | None:
        held = self.whole(kinds.DEVICE_CERT)
        own = next((item for item in held if item.index == index), None)
        if own is not None or len(held) != 1:
            return own
        keys = {item.index for item in self.whole(kinds.PRIVATE_KEY, kinds.DS_CIPHERTEXT)}
        return None if held[0].index in keys or len(keys) != 1 else held[0]


def is_hmac_encrypted(item: Item) -> bool:
    """Whether firmware opens the entry with the HMAC peripheral: bits 7..6 of its flags are 10.

    It does so for entries of every type, and before it asks what kind of key it has.
    Source: esp_secure_cert_mgr 2296511, esp_secure_cert_tlv_read.c, esp_secure_cert_tlv_get_addr.
    """
    return item.flags is not None and item.flags & 0xC0 == kinds.HMAC_ENCRYPTED_FLAG
