# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO
from enum import IntEnum


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class EspSecureCertSignature(KaitaiStruct):
    """What an entry of type 8 (signature block) of an `esp_secure_cert` partition in the TLV
    layout holds: a public key and a signature that it made over the partition, from its
    start up to the header of the signature entry of subtype 0. Up to three such entries
    follow each other (subtypes 0 to 2), all over the same bytes.
    
    The component `esp_secure_cert_mgr` verifies them since its version 2.8.0 (2026), if it
    is built for that; written by `configure_esp_secure_cert.py` (Python package
    `esp-secure-cert-tool`) since its version 2.4.0. Keys, digests and checksums are those of
    secure boot v2, whose eFuses say which keys a module trusts.
    
    A header of 16 bytes, then a body that depends on the algorithm: 1232 bytes in all for
    RSA, 113, 145 or 209 for ECDSA on P-192, P-256 or P-384. All numbers are little-endian.
    A block that is cut, or has an algorithm of no release, has a header but no body here.
    
    Not described: a form of 1225 bytes with a header of 9 bytes, which was never released.
    
    Checksum and signature are not verified.
    
    To make a sample: `configure_esp_secure_cert.py --private-key key.pem --device-cert
    dev.pem --ca-cert ca.pem --target_chip esp32c3 --skip_flash --secure-sign
    --signing-scheme ecdsa256 --signing-key-file sign.pem`; the file is
    `esp_secure_cert_signed.bin`, and the block the data of its entry of type 8.
    
    .. seealso::
       Source - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/srcs/esp_secure_cert_signature_verify.c
    
    
    .. seealso::
       Source - https://github.com/espressif/esptool/blob/bb72741ff4fadb2c6958564140e755b44288af32/espsecure/__init__.py
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/16abaf069ed150c374d512b4376d5e930eb477b7/components/esp_rom/esp32c3/include/esp32c3/rom/secure_boot.h
    """

    class SignatureAlgorithm(IntEnum):
        rsa_3072 = 0
        ecdsa_p192 = 1
        ecdsa_p256 = 2
        ecdsa_p384 = 3
    def __init__(self, _io, _parent=None, _root=None):
        super(EspSecureCertSignature, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self._read()

    def _read(self):
        pass


    def _fetch_instances(self):
        pass
        _ = self.ecdsa
        if hasattr(self, '_m_ecdsa'):
            pass
            self._m_ecdsa._fetch_instances()

        _ = self.header
        if hasattr(self, '_m_header'):
            pass
            self._m_header._fetch_instances()

        _ = self.rsa
        if hasattr(self, '_m_rsa'):
            pass
            self._m_rsa._fetch_instances()


    class EcdsaBody(KaitaiStruct):
        """Public key and signature on a curve. The digest that eFuses hold of the key is the
        SHA-256 of the curve's number and the point, with zeros up to 65 bytes for P-192.
        """
        def __init__(self, len_number, _io, _parent=None, _root=None):
            super(EspSecureCertSignature.EcdsaBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.len_number = len_number
            self._read()

        def _read(self):
            self.curve = self._io.read_u1()
            self.x = self._io.read_bytes(self.len_number)
            self.y = self._io.read_bytes(self.len_number)
            self.r = self._io.read_bytes(self.len_number)
            self.s = self._io.read_bytes(self.len_number)


        def _fetch_instances(self):
            pass


    class Header(KaitaiStruct):
        """The 16 bytes before the body."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertSignature.Header, self).__init__(_io)
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


        def _fetch_instances(self):
            pass

        @property
        def algorithm_name(self):
            """The algorithm by name."""
            if hasattr(self, '_m_algorithm_name'):
                return self._m_algorithm_name

            self._m_algorithm_name = KaitaiStream.resolve_enum(EspSecureCertSignature.SignatureAlgorithm, self.algorithm)
            return getattr(self, '_m_algorithm_name', None)


    class RsaBody(KaitaiStruct):
        """A whole signature block of secure boot v2, 1216 bytes. The digest that eFuses hold of
        the key is the SHA-256 of the 776 bytes from `n` to `m_prime`.
        """
        def __init__(self, _io, _parent=None, _root=None):
            super(EspSecureCertSignature.RsaBody, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.magic = self._io.read_u1()
            self.version = self._io.read_u1()
            self.reserved = self._io.read_bytes(2)
            self.digest = self._io.read_bytes(32)
            self.n = self._io.read_bytes(384)
            self.e = self._io.read_u4le()
            self.rinv = self._io.read_bytes(384)
            self.m_prime = self._io.read_u4le()
            self.signature = self._io.read_bytes(384)
            self.crc = self._io.read_u4le()
            self.padding = self._io.read_bytes(16)


        def _fetch_instances(self):
            pass


    @property
    def ecdsa(self):
        """The body of an ECDSA block."""
        if hasattr(self, '_m_ecdsa'):
            return self._m_ecdsa

        if  ((self._io.size() >= 16) and (self.len_number != 0) and (self._io.size() >= 17 + 4 * self.len_number)) :
            pass
            _pos = self._io.pos()
            self._io.seek(16)
            self._m_ecdsa = EspSecureCertSignature.EcdsaBody(self.len_number, self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_ecdsa', None)

    @property
    def header(self):
        """Which algorithm, and what was signed. Absent in a stream that is too short for it."""
        if hasattr(self, '_m_header'):
            return self._m_header

        if self._io.size() >= 16:
            pass
            _pos = self._io.pos()
            self._io.seek(0)
            self._m_header = EspSecureCertSignature.Header(self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_header', None)

    @property
    def len_number(self):
        """Length of a number of the curve in bytes; 0 where the algorithm is not ECDSA."""
        if hasattr(self, '_m_len_number'):
            return self._m_len_number

        if self._io.size() >= 16:
            pass
            self._m_len_number = (24 if self.header.algorithm == 1 else (32 if self.header.algorithm == 2 else (48 if self.header.algorithm == 3 else 0)))

        return getattr(self, '_m_len_number', None)

    @property
    def rsa(self):
        """The body of an RSA block."""
        if hasattr(self, '_m_rsa'):
            return self._m_rsa

        if  ((self._io.size() >= 1232) and (self.header.algorithm == 0)) :
            pass
            _pos = self._io.pos()
            self._io.seek(16)
            self._m_rsa = EspSecureCertSignature.RsaBody(self._io, self, self._root)
            self._io.seek(_pos)

        return getattr(self, '_m_rsa', None)


