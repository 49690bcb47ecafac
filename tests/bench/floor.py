"""The least work that a call can do: what the libraries below it take for the same image."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import espcert
from espcert_formats import items as kinds


class Floor:
    """Floors of one image. It is told where the items lie and what they are, and looks at nothing.

    Only for images whose items lie in one piece and are PEM where they are text. `hmac_key` and
    `private` (the RSA key that the DS ciphertext holds) are told, too.
    """

    def __init__(self, path: Path, hmac_key: bytes, private: rsa.RSAPrivateKey) -> None:
        self.path = path
        self.hmac_key = hmac_key
        self.private = private
        found = espcert.detect(espcert.open_image(path)).require().items
        items = [item for item in found if item.kind != kinds.DS_CONTEXT]
        places = {item: slice(item.offset, item.offset + len(item.data)) for item in items}
        self.places = list(places.values())
        self.ciphertext = [places[item] for item in items if item.kind == kinds.DS_CIPHERTEXT]
        self.iv = [places[item] for item in items if item.kind == kinds.DS_IV]
        self.issuer = [places[item] for item in items if item.kind == kinds.CA_CERT]
        self.device = [places[item] for item in items if item.kind == kinds.DEVICE_CERT]
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

    def verify(self) -> None:
        """`read`, validity, the device certificate's signature, and a round with a plain key."""
        data = self.read()
        parsed = {}
        for place in self.certificates:
            certificate = x509.load_pem_x509_certificate(data[place])
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            parsed[place.start] = certificate
        for device, issuer in zip(self.device, self.issuer, strict=False):
            parsed[device.start].verify_directly_issued_by(parsed[issuer.start])
        for place in self.keys:
            key = load_pem_private_key(data[place], None, unsafe_skip_rsa_key_validation=True)
            _round(key)

    def verify_with_key(self) -> None:
        """`verify`, the DS ciphertext decrypted and hashed, and a round with its key."""
        self.verify()
        data = self.path.read_bytes()
        for ciphertext, iv in zip(self.ciphertext, self.iv, strict=True):
            key = hmac.digest(self.hmac_key, b"\xff" * 32, "sha256")
            opened = Cipher(AES(key), CBC(data[iv])).decryptor().update(data[ciphertext])
            hashlib.sha256(opened).digest()
            _round(self.private)


def _round(key: object) -> None:
    """One signature made and verified."""
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(b"round", PKCS1v15(), SHA256())
        key.public_key().verify(made, b"round", PKCS1v15(), SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        made = key.sign(b"round", ec.ECDSA(SHA256()))
        key.public_key().verify(made, b"round", ec.ECDSA(SHA256()))
