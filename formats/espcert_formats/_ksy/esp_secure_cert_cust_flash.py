# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class EspSecureCertCustFlash(KaitaiStruct):
    """The first layout of the flash partitions `esp_secure_cert` and `pre_prov` (partition
    type 0x3f) of Espressif's ESP32 family: one metadata struct at offset 0, then the
    device certificate, the CA certificate and the private key at fixed offsets.
    
    Written by `configure_ds.py` of `esp_secure_cert_mgr` 1.x (2022) and by Espressif's
    provisioning of modules; `configure_esp_secure_cert.py` with `--secure_cert_type
    cust_flash` still writes it. Component versions 1.x read it; from 2.0.0 on only
    firmware built with CONFIG_ESP_SECURE_CERT_SUPPORT_LEGACY_FORMATS does. The partition
    is 0x6000 bytes long (0x6001 in a tool's file without CA certificate), unused bytes
    are 0xff behind the metadata area and 0x00 in it.
    
    There are two variants, one with the private key in plain text and one with an RSA key
    that is encrypted for the Digital Signature (DS) peripheral. Nothing in the partition
    names the variant: which one the firmware expects is decided when it is built. The
    magic lies at offset 24 without DS and at offset 36 with DS, so both are looked at.
    
    In a partition labelled `pre_prov` the first two pairs of CRC and length are swapped:
    the pair at offset 0 belongs to the CA certificate and the pair at offset 8 to the
    device certificate. The certificates themselves are not swapped. The bytes do not say
    which order is used; the one whose CRCs are right is the true one. `dev_cert` and
    `ca_cert` are read with the normal order, `dev_cert_swapped` and `ca_cert_swapped`
    with the other one.
    
    The firmware does not compare a length with the room for the item, so an item may
    extend into the next area. Here every length is limited by the end of the stream, and
    what lies behind it is left out: a damaged length or a cut dump does not stop a parser.
    CRCs are not verified. They are the CRC-32 of the ESP32 ROM started with 0xffffffff,
    which is `zlib.crc32(data, 0xffffffff)` in Python, over exactly the item's bytes.
    
    To make a sample: `configure_esp_secure_cert.py --private-key key.pem --device-cert
    dev.pem --ca-cert ca.pem --target_chip esp32c3 --secure_cert_type cust_flash
    --skip_flash`; add `--configure_ds --efuse_key_id 1` for the variant with DS. Without
    `--port` the tool makes up an HMAC key and does not touch a device.
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/private_include/esp_secure_cert_config.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/srcs/esp_secure_cert_read.c
    """
    def __init__(self, _io, _parent=None, _root=None):
        super(EspSecureCertCustFlash, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self._read()

    def _read(self):
        pass


    def _fetch_instances(self):
        pass
        _ = self.ca_cert
        if hasattr(self, '_m_ca_cert'):
            pass
            self._m_ca_cert._fetch_instances()

        _ = self.ca_cert_swapped
        if hasattr(self, '_m_ca_cert_swapped'):
            pass
            self._m_ca_cert_swapped._fetch_instances()

        _ = self.ciphertext
        if hasattr(self, '_m_ciphertext'):
            pass
            self._m_ciphertext._fetch_instances()

        _ = self.dev_cert
        if hasattr(self, '_m_dev_cert'):
            pass
            self._m_dev_cert._fetch_instances()

        _ = self.dev_cert_swapped
        if hasattr(self, '_m_dev_cert_swapped'):
            pass
            self._m_dev_cert_swapped._fetch_instances()

        _ = self.iv
        if hasattr(self, '_m_iv'):
            pass
            self._m_iv._fetch_instances()

        _ = self.len_first
        if hasattr(self, '_m_len_first'):
            pass

        _ = self.len_second
        if hasattr(self, '_m_len_second'):
            pass

        _ = self.magic_with_ds
        if hasattr(self, '_m_magic_with_ds'):
            pass

        _ = self.magic_without_ds
        if hasattr(self, '_m_magic_without_ds'):
            pass

        _ = self.metadata_with_ds
        if hasattr(self, '_m_metadata_with_ds'):
            pass
            self._m_metadata_with_ds._fetch_instances()

        _ = self.metadata_without_ds
        if hasattr(self, '_m_metadata_without_ds'):
            pass
            self._m_metadata_without_ds._fetch_instances()

        _ = self.priv_key
        if hasattr(self, '_m_priv_key'):
            pass
            self._m_priv_key._fetch_instances()


    class Area(KaitaiStruct):
        """A place for one item, as far as the item is in the stream."""
        def __init__(self, len_stored, len_rest, _io, _parent=None, _root=None):
            super(EspSecureCertCustFlash.Area, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.len_stored = len_stored
            self.len_rest = len_rest
            self._read()

        def _read(self):
            self.data = self._io.read_bytes((self.len_stored if self.len_stored < self.len_rest else self.len_rest))


        def _fetch_instances(self):
            pass

        @property
        def is_whole(self):
            """Whether all bytes of the item are in the stream."""
            if hasattr(self, '_m_is_whole'):
                return self._m_is_whole

            self._m_is_whole = self.len_stored <= self.len_rest
            return getattr(self, '_m_is_whole', None)


    class MetadataWithDs(KaitaiStruct):
        """The metadata struct of firmware built with CONFIG_ESP_SECURE_CERT_DS_PERIPHERAL,
        40 bytes, as a compiler aligns it. In `pre_prov` the first two pairs are swapped,
        see the description of the whole layout.
        """
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertCustFlash.MetadataWithDs, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.dev_cert_crc = self._io.read_u4le()
            self.len_dev_cert = self._io.read_u2le()
            self.reserved0 = self._io.read_u2le()
            self.ca_cert_crc = self._io.read_u4le()
            self.len_ca_cert = self._io.read_u2le()
            self.reserved1 = self._io.read_u2le()
            self.ciphertext_crc = self._io.read_u4le()
            self.len_ciphertext = self._io.read_u2le()
            self.reserved2 = self._io.read_u2le()
            self.iv_crc = self._io.read_u4le()
            self.len_iv = self._io.read_u2le()
            self.rsa_length = self._io.read_u2le()
            self.efuse_key_id = self._io.read_u1()
            self.reserved3 = self._io.read_bytes(3)
            self.magic = self._io.read_u4le()


        def _fetch_instances(self):
            pass


    class MetadataWithoutDs(KaitaiStruct):
        """The metadata struct, 28 bytes, as a compiler aligns it. In `pre_prov` the first
        two pairs are swapped, see the description of the whole layout.
        """
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertCustFlash.MetadataWithoutDs, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.dev_cert_crc = self._io.read_u4le()
            self.len_dev_cert = self._io.read_u2le()
            self.reserved0 = self._io.read_u2le()
            self.ca_cert_crc = self._io.read_u4le()
            self.len_ca_cert = self._io.read_u2le()
            self.reserved1 = self._io.read_u2le()
            self.priv_key_crc = self._io.read_u4le()
            self.len_priv_key = self._io.read_u2le()
            self.reserved2 = self._io.read_u2le()
            self.magic = self._io.read_u4le()


        def _fetch_instances(self):
            pass


    @property
    def ca_cert(self):
        """CA certificate with the length of the second pair; has room for 4096 bytes."""
        if hasattr(self, '_m_ca_cert'):
            return self._m_ca_cert

        if  (( ((self.is_without_ds) or (self.is_with_ds)) ) and (self._io.size() >= 2112)) :
            pass
            _pos = self._io.pos()
            self._io.seek(2112)
            self._m_ca_cert = EspSecureCertCustFlash.Area(self.len_second, self._io.size() - 2112, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_ca_cert', None)

    @property
    def ca_cert_swapped(self):
        """CA certificate with the length of the first pair, as in `pre_prov`."""
        if hasattr(self, '_m_ca_cert_swapped'):
            return self._m_ca_cert_swapped

        if  (( ((self.is_without_ds) or (self.is_with_ds)) ) and (self._io.size() >= 2112)) :
            pass
            _pos = self._io.pos()
            self._io.seek(2112)
            self._m_ca_cert_swapped = EspSecureCertCustFlash.Area(self.len_first, self._io.size() - 2112, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_ca_cert_swapped', None)

    @property
    def ciphertext(self):
        """Encrypted RSA key of the variant with DS: 1200 bytes on chips with 3072-bit RSA,
        1584 bytes on chips with 4096-bit RSA. Has room for 16 bytes more.
        """
        if hasattr(self, '_m_ciphertext'):
            return self._m_ciphertext

        if  ((self.is_with_ds) and (self._io.size() >= 6208)) :
            pass
            _pos = self._io.pos()
            self._io.seek(6208)
            self._m_ciphertext = EspSecureCertCustFlash.Area(self.metadata_with_ds.len_ciphertext, self._io.size() - 6208, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_ciphertext', None)

    @property
    def dev_cert(self):
        """Device certificate with the length of the first pair; has room for 2048 bytes."""
        if hasattr(self, '_m_dev_cert'):
            return self._m_dev_cert

        if  (( ((self.is_without_ds) or (self.is_with_ds)) ) and (self._io.size() >= 64)) :
            pass
            _pos = self._io.pos()
            self._io.seek(64)
            self._m_dev_cert = EspSecureCertCustFlash.Area(self.len_first, self._io.size() - 64, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_dev_cert', None)

    @property
    def dev_cert_swapped(self):
        """Device certificate with the length of the second pair, as in `pre_prov`."""
        if hasattr(self, '_m_dev_cert_swapped'):
            return self._m_dev_cert_swapped

        if  (( ((self.is_without_ds) or (self.is_with_ds)) ) and (self._io.size() >= 64)) :
            pass
            _pos = self._io.pos()
            self._io.seek(64)
            self._m_dev_cert_swapped = EspSecureCertCustFlash.Area(self.len_second, self._io.size() - 64, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_dev_cert_swapped', None)

    @property
    def is_with_ds(self):
        """Whether the magic of the variant with DS is there."""
        if hasattr(self, '_m_is_with_ds'):
            return self._m_is_with_ds

        self._m_is_with_ds =  ((self._io.size() >= 40) and (self.magic_with_ds == 305419896)) 
        return getattr(self, '_m_is_with_ds', None)

    @property
    def is_without_ds(self):
        """Whether the magic of the variant without DS is there."""
        if hasattr(self, '_m_is_without_ds'):
            return self._m_is_without_ds

        self._m_is_without_ds =  ((self._io.size() >= 28) and (self.magic_without_ds == 305419896)) 
        return getattr(self, '_m_is_without_ds', None)

    @property
    def iv(self):
        """Initialization vector of the variant with DS; has room for 32 bytes."""
        if hasattr(self, '_m_iv'):
            return self._m_iv

        if  ((self.is_with_ds) and (self._io.size() >= self.ofs_iv)) :
            pass
            _pos = self._io.pos()
            self._io.seek(self.ofs_iv)
            self._m_iv = EspSecureCertCustFlash.Area(self.metadata_with_ds.len_iv, self._io.size() - self.ofs_iv, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_iv', None)

    @property
    def len_first(self):
        """Length in the first pair, of the device certificate unless the pairs are swapped."""
        if hasattr(self, '_m_len_first'):
            return self._m_len_first

        if  ((self.is_without_ds) or (self.is_with_ds)) :
            pass
            _pos = self._io.pos()
            self._io.seek(4)
            self._m_len_first = self._io.read_u2le()
            self._io.seek(_pos)

        return getattr(self, '_m_len_first', None)

    @property
    def len_second(self):
        """Length in the second pair, of the CA certificate unless the pairs are swapped."""
        if hasattr(self, '_m_len_second'):
            return self._m_len_second

        if  ((self.is_without_ds) or (self.is_with_ds)) :
            pass
            _pos = self._io.pos()
            self._io.seek(12)
            self._m_len_second = self._io.read_u2le()
            self._io.seek(_pos)

        return getattr(self, '_m_len_second', None)

    @property
    def magic_with_ds(self):
        """0x12345678 if the metadata are those of the variant with DS."""
        if hasattr(self, '_m_magic_with_ds'):
            return self._m_magic_with_ds

        if self._io.size() >= 40:
            pass
            _pos = self._io.pos()
            self._io.seek(36)
            self._m_magic_with_ds = self._io.read_u4le()
            self._io.seek(_pos)

        return getattr(self, '_m_magic_with_ds', None)

    @property
    def magic_without_ds(self):
        """0x12345678 if the metadata are those of the variant without DS."""
        if hasattr(self, '_m_magic_without_ds'):
            return self._m_magic_without_ds

        if self._io.size() >= 28:
            pass
            _pos = self._io.pos()
            self._io.seek(24)
            self._m_magic_without_ds = self._io.read_u4le()
            self._io.seek(_pos)

        return getattr(self, '_m_magic_without_ds', None)

    @property
    def metadata_with_ds(self):
        """The metadata of the variant with DS."""
        if hasattr(self, '_m_metadata_with_ds'):
            return self._m_metadata_with_ds

        if self.is_with_ds:
            pass
            _pos = self._io.pos()
            self._io.seek(0)
            self._m_metadata_with_ds = EspSecureCertCustFlash.MetadataWithDs(self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_metadata_with_ds', None)

    @property
    def metadata_without_ds(self):
        """The metadata of the variant without DS."""
        if hasattr(self, '_m_metadata_without_ds'):
            return self._m_metadata_without_ds

        if self.is_without_ds:
            pass
            _pos = self._io.pos()
            self._io.seek(0)
            self._m_metadata_without_ds = EspSecureCertCustFlash.MetadataWithoutDs(self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_metadata_without_ds', None)

    @property
    def ofs_iv(self):
        """Where the initialization vector lies. This depends on the chip that the firmware
        was built for, and therefore on the length that the ciphertext has on that chip.
        """
        if hasattr(self, '_m_ofs_iv'):
            return self._m_ofs_iv

        if self.is_with_ds:
            pass
            self._m_ofs_iv = (7808 if self.metadata_with_ds.len_ciphertext > 1216 else 7424)

        return getattr(self, '_m_ofs_iv', None)

    @property
    def priv_key(self):
        """Private key of the variant without DS; has room for 4096 bytes."""
        if hasattr(self, '_m_priv_key'):
            return self._m_priv_key

        if  ((self.is_without_ds) and (self._io.size() >= 6208)) :
            pass
            _pos = self._io.pos()
            self._io.seek(6208)
            self._m_priv_key = EspSecureCertCustFlash.Area(self.metadata_without_ds.len_priv_key, self._io.size() - 6208, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_priv_key', None)


