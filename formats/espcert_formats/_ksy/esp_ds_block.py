# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class EspDsBlock(KaitaiStruct):
    """The plaintext of the ciphertext "C", in which the flash partition `esp_secure_cert` of
    Espressif's ESP32 family holds an RSA private key for the Digital Signature (DS)
    peripheral: three large numbers, their digest, and the constants of a Montgomery
    multiplication. The firmware never sees these bytes, only the peripheral does.
    
    All numbers are little-endian. The large ones have the length of the largest key of
    the chip: 384 bytes on the ESP32-C3, C5, C6, H2 and H21 (1200 bytes in all), 512 bytes on
    the ESP32-S2, S3, P4 and S31 (1584 bytes in all). A smaller key leaves zero bytes at the
    high end of each of them.
    
    C is encrypted with AES-256-CBC and the IV that is stored beside it; there is no
    padding but the eight bytes `beta`, which are part of this layout. The AES key is the
    HMAC-SHA256 of 32 bytes 0xff under the 32-byte key in the eFuse block that the
    partition names.
    
    The digest is not verified here. Its input is not in the order of this layout: Y, M
    and Rb as they are stored, then M' and L, then the IV.
    
    To make a sample: `configure_esp_secure_cert.py --private-key key.pem --device-cert
    dev.pem --target_chip esp32c3 --configure_ds --efuse_key_id 1 --skip_flash`, then decrypt
    C (from byte 20 of the entry of type 3) with the HMAC key that the tool has made up.
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/esp_security/include/esp_ds.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/esp_hal_security/esp32c3/include/hal/ds_ll.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/esp_rom/esp32c3/include/esp32c3/rom/digital_signature.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/tools/esp_secure_cert/configure_ds.py
    """
    def __init__(self, len_number, _io, _parent=None, _root=None):
        super(EspDsBlock, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self.len_number = len_number
        self._read()

    def _read(self):
        self.private_exponent = self._io.read_bytes(self.len_number)
        self.modulus = self._io.read_bytes(self.len_number)
        self.r_squared = self._io.read_bytes(self.len_number)
        self.box = EspDsBlock.Box(self._io, self, self._root)


    def _fetch_instances(self):
        pass
        self.box._fetch_instances()

    class Box(KaitaiStruct):
        """The last 48 bytes, which have a place of their own in the peripheral."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspDsBlock.Box, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.digest = self._io.read_bytes(32)
            self.m_prime = self._io.read_u4le()
            self.length = self._io.read_u4le()
            self.beta = self._io.read_bytes(8)


        def _fetch_instances(self):
            pass



