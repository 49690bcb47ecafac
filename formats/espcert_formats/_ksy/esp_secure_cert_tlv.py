# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO
from enum import IntEnum


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class EspSecureCertTlv(KaitaiStruct):
    """A flash partition named `esp_secure_cert` (partition type 0x3f) that holds what a
    device of Espressif's ESP32 family needs to prove who it is: its certificate, the CA
    certificates, and its private key or a reference to a key that never leaves the chip.
    
    This is the current one of three layouts. The component `esp_secure_cert_mgr` reads it
    since its version 2.0.0 (2022); it is written by `configure_esp_secure_cert.py`
    (Python package `esp-secure-cert-tool`), and from component version 2.9.0 on also by
    the device itself. The partition is normally 0x2000 bytes long. Tools up to 2.3.7 fill
    their files with 0xff up to that size, newer ones end the file behind the last entry.
    
    Entries follow each other from offset 0. The firmware goes from entry to entry by
    length, without looking at the CRC of what it passes, and ends at the first header
    whose magic is different; there is no count and no end marker. This spec does the
    same, but also ends before an entry that does not fit into the stream, so that a
    damaged or cut dump can be read up to there. What is left is in `unused`.
    
    The CRC in each footer is not verified here. It is the CRC-32 of the ESP32 ROM started
    with 0xffffffff, which is `zlib.crc32(data, 0xffffffff)` in Python.
    
    To make a sample: `configure_esp_secure_cert.py --private-key key.pem --device-cert
    dev.pem --ca-cert ca.pem --target_chip esp32c3 --skip_flash`.
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/private_include/esp_secure_cert_tlv_private.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/include/esp_secure_cert_tlv_config.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/srcs/esp_secure_cert_tlv_read.c
    """

    class EntryType(IntEnum):
        ca_cert = 0
        dev_cert = 1
        priv_key = 2
        ds_data = 3
        ds_context = 4
        hmac_ecdsa_key_salt = 5
        security_config = 6
        tee_sec_storage_key = 7
        signature_block = 8
        integrity = 9
        tlv_end = 50
        user_data_1 = 51
        user_data_2 = 52
        user_data_3 = 53
        user_data_4 = 54
        user_data_5 = 55
        matter_1 = 201
        matter_2 = 202
        tlv_max = 254
        invalid = 255

    class HmacUse(IntEnum):
        none = 0
        key_derivation = 1
        encryption = 2

    class KeyStorage(IntEnum):
        in_data = 0
        ecdsa_peripheral = 1

    class SignatureAlgorithm(IntEnum):
        rsa_3072 = 0
        ecdsa_p192 = 1
        ecdsa_p256 = 2
        ecdsa_p384 = 3
    def __init__(self, _io, _parent=None, _root=None):
        super(EspSecureCertTlv, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self._read()

    def _read(self):
        self.entries = []
        for i in range(self.num_entries):
            self.entries.append(EspSecureCertTlv.Entry(self._io, self, self._root))

        self.unused = self._io.read_bytes_full()


    def _fetch_instances(self):
        pass
        for i in range(len(self.entries)):
            pass
            self.entries[i]._fetch_instances()

        _ = self.steps
        if hasattr(self, '_m_steps'):
            pass
            for i in range(len(self._m_steps)):
                pass
                self._m_steps[i]._fetch_instances()



    class DsContext(KaitaiStruct):
        """Data of an entry of type `ds_context`, 8 bytes, the C struct as it lies in memory."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.DsContext, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.reserved_ptr = self._io.read_u4le()
            self.efuse_key_id = self._io.read_u1()
            self.reserved = self._io.read_u1()
            self.rsa_length_bits = self._io.read_u2le()


        def _fetch_instances(self):
            pass


    class DsData(KaitaiStruct):
        """Data of an entry of type `ds_data`: the RSA key, encrypted for the Digital Signature
        peripheral of one chip. 1220 bytes on chips with 3072-bit RSA (ESP32-C3, C5, C6, H2),
        1604 bytes on chips with 4096-bit RSA (ESP32-S2, S3, P4).
        """
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.DsData, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.rsa_length = self._io.read_u4le()
            self.iv = self._io.read_bytes(16)
            self.ciphertext = self._io.read_bytes_full()


        def _fetch_instances(self):
            pass


    class Entry(KaitaiStruct):
        """One item of the partition, with its header and its checksum."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.Entry, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.header = EspSecureCertTlv.EntryHeader(self._io, self, self._root)
            self.data = self._io.read_bytes(self.header.len_data)
            self.padding = self._io.read_bytes((16 - self.header.len_data % 16) % 16)
            self.footer = EspSecureCertTlv.EntryFooter(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.header._fetch_instances()
            self.footer._fetch_instances()


    class EntryFooter(KaitaiStruct):
        """The 4 bytes behind the padding of an entry."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.EntryFooter, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.crc = self._io.read_u4le()


        def _fetch_instances(self):
            pass


    class EntryHeader(KaitaiStruct):
        """The 12 bytes before the data of an entry."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.EntryHeader, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.magic = self._io.read_u4le()
            self.flags = self._io.read_u1()
            self.reserved = self._io.read_bytes(3)
            self.type = self._io.read_u1()
            self.subtype = self._io.read_u1()
            self.len_data = self._io.read_u2le()


        def _fetch_instances(self):
            pass

        @property
        def type_name(self):
            """The type by name."""
            if hasattr(self, '_m_type_name'):
                return self._m_type_name

            self._m_type_name = KaitaiStream.resolve_enum(EspSecureCertTlv.EntryType, self.type)
            return getattr(self, '_m_type_name', None)


    class Flags(KaitaiStruct):
        """The flags of an entry, bit 0 first. The firmware compares each of the two groups
        with whole values, so that 0xff means none of them.
        """
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.Flags, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.reserved = self._io.read_bits_int_le(3)
            self.key_storage = KaitaiStream.resolve_enum(EspSecureCertTlv.KeyStorage, self._io.read_bits_int_le(3))
            self.hmac_use = KaitaiStream.resolve_enum(EspSecureCertTlv.HmacUse, self._io.read_bits_int_le(2))


        def _fetch_instances(self):
            pass


    class SecurityConfig(KaitaiStruct):
        """Data of an entry of type `security_config`, 40 bytes. Since component version 2.3.0."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.SecurityConfig, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.priv_key_efuse_id = self._io.read_u1()
            self.reserved = self._io.read_bytes(39)


        def _fetch_instances(self):
            pass


    class SignatureBlock(KaitaiStruct):
        """Data of an entry of type `signature_block`: a signature over the partition from
        its start up to the signature entry of subtype 0. Up to three may follow each
        other, with subtypes 0 to 2. Since component version 2.8.0.
        """
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.SignatureBlock, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.version = self._io.read_u1()
            self.reserved = self._io.read_bytes(3)
            self.ofs_signed = self._io.read_u4le()
            self.len_signed = self._io.read_u4le()
            self.algorithm = self._io.read_u1()
            self.reserved2 = self._io.read_bytes(3)
            self.body = self._io.read_bytes_full()


        def _fetch_instances(self):
            pass

        @property
        def algorithm_name(self):
            """The algorithm by name."""
            if hasattr(self, '_m_algorithm_name'):
                return self._m_algorithm_name

            self._m_algorithm_name = KaitaiStream.resolve_enum(EspSecureCertTlv.SignatureAlgorithm, self.algorithm)
            return getattr(self, '_m_algorithm_name', None)


    class Step(KaitaiStruct):
        """A place at which the walk looks for an entry. Never fails: what does not fit is
        not read. The data of types with fixed layout can be read in detail from here.
        """
        def __init__(self, ofs_entry, len_rest, _io, _parent=None, _root=None):
            super(EspSecureCertTlv.Step, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.ofs_entry = ofs_entry
            self.len_rest = len_rest
            self._read()

        def _read(self):
            if self.len_rest >= 16:
                pass
                self.header = EspSecureCertTlv.EntryHeader(self._io, self, self._root)

            if self.is_entry:
                pass
                self.body = self._io.read_bytes(self.len_entry - 12)



        def _fetch_instances(self):
            pass
            if self.len_rest >= 16:
                pass
                self.header._fetch_instances()

            if self.is_entry:
                pass

            _ = self.ds_context
            if hasattr(self, '_m_ds_context'):
                pass
                self._m_ds_context._fetch_instances()

            _ = self.ds_data
            if hasattr(self, '_m_ds_data'):
                pass
                self._m_ds_data._fetch_instances()

            _ = self.flags
            if hasattr(self, '_m_flags'):
                pass
                self._m_flags._fetch_instances()

            _ = self.security_config
            if hasattr(self, '_m_security_config'):
                pass
                self._m_security_config._fetch_instances()

            _ = self.signature_block
            if hasattr(self, '_m_signature_block'):
                pass
                self._m_signature_block._fetch_instances()


        @property
        def ds_context(self):
            """The data of an entry of type `ds_context`."""
            if hasattr(self, '_m_ds_context'):
                return self._m_ds_context

            if  ((self.is_entry) and (self.header.type == 4) and (self.header.len_data >= 8)) :
                pass
                _pos = self._io.pos()
                self._io.seek(self.ofs_entry + 12)
                self._raw__m_ds_context = self._io.read_bytes(self.header.len_data)
                _io__raw__m_ds_context = KaitaiStream(BytesIO(self._raw__m_ds_context))
                self._m_ds_context = EspSecureCertTlv.DsContext(_io__raw__m_ds_context, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_ds_context', None)

        @property
        def ds_data(self):
            """The data of an entry of type `ds_data`."""
            if hasattr(self, '_m_ds_data'):
                return self._m_ds_data

            if  ((self.is_entry) and (self.header.type == 3) and (self.header.len_data >= 20)) :
                pass
                _pos = self._io.pos()
                self._io.seek(self.ofs_entry + 12)
                self._raw__m_ds_data = self._io.read_bytes(self.header.len_data)
                _io__raw__m_ds_data = KaitaiStream(BytesIO(self._raw__m_ds_data))
                self._m_ds_data = EspSecureCertTlv.DsData(_io__raw__m_ds_data, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_ds_data', None)

        @property
        def flags(self):
            """The flags of the entry, one by one."""
            if hasattr(self, '_m_flags'):
                return self._m_flags

            if self.is_entry:
                pass
                _pos = self._io.pos()
                self._io.seek(self.ofs_entry + 4)
                self._m_flags = EspSecureCertTlv.Flags(self._io, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_flags', None)

        @property
        def is_entry(self):
            """Whether a whole entry begins here."""
            if hasattr(self, '_m_is_entry'):
                return self._m_is_entry

            self._m_is_entry =  ((self.len_rest >= 16) and (self.header.magic == 3126770193) and (self.len_entry <= self.len_rest)) 
            return getattr(self, '_m_is_entry', None)

        @property
        def len_entry(self):
            """Length of the entry if this is one."""
            if hasattr(self, '_m_len_entry'):
                return self._m_len_entry

            if self.len_rest >= 16:
                pass
                self._m_len_entry = 16 + ((self.header.len_data + 15) // 16) * 16

            return getattr(self, '_m_len_entry', None)

        @property
        def security_config(self):
            """The data of an entry of type `security_config`."""
            if hasattr(self, '_m_security_config'):
                return self._m_security_config

            if  ((self.is_entry) and (self.header.type == 6) and (self.header.len_data >= 40)) :
                pass
                _pos = self._io.pos()
                self._io.seek(self.ofs_entry + 12)
                self._raw__m_security_config = self._io.read_bytes(self.header.len_data)
                _io__raw__m_security_config = KaitaiStream(BytesIO(self._raw__m_security_config))
                self._m_security_config = EspSecureCertTlv.SecurityConfig(_io__raw__m_security_config, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_security_config', None)

        @property
        def signature_block(self):
            """The data of an entry of type `signature_block`."""
            if hasattr(self, '_m_signature_block'):
                return self._m_signature_block

            if  ((self.is_entry) and (self.header.type == 8) and (self.header.len_data >= 16)) :
                pass
                _pos = self._io.pos()
                self._io.seek(self.ofs_entry + 12)
                self._raw__m_signature_block = self._io.read_bytes(self.header.len_data)
                _io__raw__m_signature_block = KaitaiStream(BytesIO(self._raw__m_signature_block))
                self._m_signature_block = EspSecureCertTlv.SignatureBlock(_io__raw__m_signature_block, self, self._root)
                self._io.seek(_pos)

            return getattr(self, '_m_signature_block', None)


    @property
    def len_used(self):
        """Length of all whole entries together; a device appends its next entry here."""
        if hasattr(self, '_m_len_used'):
            return self._m_len_used

        self._m_len_used = self.steps[-1].ofs_entry
        return getattr(self, '_m_len_used', None)

    @property
    def num_entries(self):
        """How many whole entries there are before the walk ends."""
        if hasattr(self, '_m_num_entries'):
            return self._m_num_entries

        self._m_num_entries = len(self.steps) - 1
        return getattr(self, '_m_num_entries', None)

    @property
    def steps(self):
        """The walk from header to header. Its last element is the place where the walk
        ended, all others are entries.
        """
        if hasattr(self, '_m_steps'):
            return self._m_steps

        _pos = self._io.pos()
        self._io.seek(0)
        self._m_steps = []
        i = 0
        while True:
            _ = EspSecureCertTlv.Step(self._io.pos(), self._io.size() - self._io.pos(), self._io, self, self._root)
            self._m_steps.append(_)
            if (not (_.is_entry)):
                break
            i += 1
        self._io.seek(_pos)
        return getattr(self, '_m_steps', None)


