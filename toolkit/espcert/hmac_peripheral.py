"""What the HMAC peripheral makes of an eFuse key: keys to open, to seal and to derive others.

Sources: esp_secure_cert_mgr 2296511, esp_secure_cert_tlv_read.c, esp_secure_cert_tlv_write.c,
esp_secure_cert_crypto.c and configure_ds.py.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC

_AES_MESSAGE: Final = b"\xff" * 32
"""What the peripheral signs to make an AES key, for entries and for the DS peripheral alike.

Source: esp_secure_cert_calculate_hmac_encryption_key; calculate_rsa_ds_params.
"""
_NONCE_MESSAGE: Final = b"\xcd\xab\xcd\xab" * 8
"""What it signs to make a nonce: 8 words 0xabcdabcd. All entries of a device share the nonce.

Source: esp_secure_cert_calculate_hmac_encryption_iv.
"""
_NONCE_LENGTH: Final = 16
TAG_LENGTH: Final = 16
_AES_BLOCK: Final = 16
_ITERATIONS: Final = 2048
"""Of PBKDF2. Source: esp_secure_cert_gen_ecdsa_key."""
_SCALAR_LENGTH: Final = 32


def open_entry(hmac_key: bytes, data: bytes) -> bytes | None:
    """The plaintext of an entry encrypted under HMAC; None where AES-GCM does not open it.

    The last 16 bytes of `data` are the tag; there is no associated data.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(data) < TAG_LENGTH:
        return None
    nonce = _hmac(hmac_key, _NONCE_MESSAGE)[:_NONCE_LENGTH]
    try:
        return AESGCM(_hmac(hmac_key, _AES_MESSAGE)).decrypt(nonce, data, None)
    except InvalidTag:
        return None


def derive_ecdsa(hmac_key: bytes, salt: bytes) -> EllipticCurvePrivateKey | None:
    """The P-256 key derived from key and salt; None where the scalar is out of range.

    The firmware does not reduce the scalar: where it is none, provisioning takes another key.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    scalar = hashlib.pbkdf2_hmac("sha256", hmac_key, salt, _ITERATIONS, _SCALAR_LENGTH)
    try:
        return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    except ValueError:
        return None


def open_ds(hmac_key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """The decrypted parameters of a DS key, right or not; b"" where the lengths fit no AES-CBC."""
    if len(iv) != _AES_BLOCK or len(ciphertext) % _AES_BLOCK:
        return b""
    decryptor = _ds_cipher(hmac_key, iv).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def seal_ds(hmac_key: bytes, iv: bytes, parameters: bytes) -> bytes:
    """The ciphertext C of a DS key's parameters (of `ds_block.write`, with the same IV).

    Raises ValueError where the IV has not 16 bytes or the parameters are no whole AES blocks.
    """
    encryptor = _ds_cipher(hmac_key, iv).encryptor()
    return encryptor.update(parameters) + encryptor.finalize()


def _ds_cipher(hmac_key: bytes, iv: bytes) -> Cipher[CBC]:
    """AES-256-CBC under the key that the peripheral makes of the eFuse key."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(_hmac(hmac_key, _AES_MESSAGE)), modes.CBC(iv))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
