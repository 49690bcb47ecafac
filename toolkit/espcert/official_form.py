"""The bytes that esp-secure-cert-tool stores of a certificate or key file.

It parses what it is given and encodes it anew: PEM with a NUL behind it or DER, of a chain the
first certificate, of a key its PKCS#1 or SEC1 form. Source: esp-secure-cert-tool 2.6.1,
esp_secure_cert_helper.py, load_certificate and load_private_key; tlv_format_construct.py,
add_certificate and add_private_key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espcert import keypairs
from espcert.encoding import PEM, der_end, encoding_of
from espcert.quiet import quietly

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


def stored_certificate(data: bytes) -> bytes | None:
    """What the tool stores of a certificate file, None where it refuses the file."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = quietly(lambda: x509.load_pem_x509_certificate(data).public_bytes(Encoding.PEM))
    if pem is not None:
        return pem + b"\0"
    return quietly(lambda: x509.load_der_x509_certificate(data).public_bytes(Encoding.DER))


def stored_key(data: bytes) -> bytes | None:
    """What the tool stores of a private key file, None where it refuses the file.

    It has no password for it, and no form for keys that are neither RSA nor EC.
    """
    is_pem = encoding_of(data) == PEM
    if not is_pem and der_end(data) != len(data):
        return None
    key = None if keypairs.is_encrypted(data) else keypairs.load_private_key(data)
    if key is None:
        return None
    return quietly(lambda: key_form(key, pem=is_pem))


def key_form(key: PrivateKeyTypes, *, pem: bool) -> bytes:
    """An RSA or EC key in PKCS#1 or SEC1: PEM with a NUL behind it, or DER.

    Raises ValueError for other kinds of key.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    encoding = Encoding.PEM if pem else Encoding.DER
    data = key.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return data + b"\0" if pem else data
