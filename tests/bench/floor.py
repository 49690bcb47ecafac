"""The least work that a call can do: what the libraries below it take for the same image."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import espcert
from espcert_formats import items as kinds


class Floor:
    """Floors of one image. It is told where the items lie and what they are, and looks at nothing.

    Only for images whose items lie in one piece and are PEM where they are text.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = espcert.detect(espcert.open_image(path)).require().items
        items = [item for item in found if item.kind != kinds.DS_CONTEXT]
        places = {item: slice(item.offset, item.offset + len(item.data)) for item in items}
        self.places = list(places.values())
        self.certificates = [places[item] for item in items if item.kind in kinds.CERTIFICATES]
        self.keys = [places[item] for item in items if item.protection == kinds.PLAINTEXT]

    def read(self) -> bytes:
        """The file, a CRC-32 and a SHA-256 of every item."""
        data = self.path.read_bytes()
        for place in self.places:
            piece = data[place]
            zlib.crc32(piece)
            hashlib.sha256(piece).hexdigest()
        return data

    def inspect(self) -> None:
        """`read`, and what the certificates say."""
        data = self.read()
        for place in self.certificates:
            certificate = x509.load_pem_x509_certificate(data[place])
            certificate.subject.rfc4514_string()
            certificate.issuer.rfc4514_string()
            _ = certificate.serial_number
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            certificate.public_key()

    def migrate(self) -> None:
        """`read`, the certificates' validity, and the private key where it is in plain text."""
        data = self.read()
        for place in self.certificates:
            certificate = x509.load_pem_x509_certificate(data[place])
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        for place in self.keys:
            load_pem_private_key(data[place], None, unsafe_skip_rsa_key_validation=True)
