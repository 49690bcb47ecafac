# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO
from enum import IntEnum


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class EspPartitionTable(KaitaiStruct):
    """The list of flash partitions of a device of Espressif's ESP32 family, at flash offset
    0x8000 by default (0xc000 in most firmware that uses an `esp_secure_cert` partition).
    Written by `gen_esp32part.py` of ESP-IDF since its first releases; the row with an MD5
    digest came with ESP-IDF v3.1. Rows of 32 bytes, 0xc00 bytes in all: up to 95 rows and
    the 0xff behind them. The table has a flash sector of 0x1000 bytes for itself.
    
    A row begins with aa 50, the row with the digest with eb eb. The table ends at the first
    row that begins otherwise, at 0xc00 bytes, or at the end of the stream. The firmware
    also ends at the row with the digest; rows behind it are read here, and the firmware
    never sees them. The digest is not verified.
    
    With flash encryption the table is encrypted too and must be decrypted first.
    
    To make a sample: `gen_esp32part.py partitions.csv partition-table.bin`.
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/v5.5/components/bootloader_support/include/esp_flash_partitions.h
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/v5.5/components/partition_table/gen_esp32part.py
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/v5.5/docs/en/api-guides/partition-tables.rst
    """

    class DataSubtype(IntEnum):
        ota = 0
        phy = 1
        nvs = 2
        coredump = 3
        nvs_keys = 4
        efuse_em = 5
        undefined = 6
        esphttpd = 128
        fat = 129
        spiffs = 130
        littlefs = 131

    class PartitionType(IntEnum):
        app = 0
        data = 1
        bootloader = 2
        partition_table = 3
        esp_secure_cert = 63
    def __init__(self, _io, _parent=None, _root=None):
        super(EspPartitionTable, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self._read()

    def _read(self):
        self.rows = []
        for i in range(self.num_rows):
            _on = self.steps[i].is_md5
            if _on == False:
                pass
                self.rows.append(EspPartitionTable.Row(self._io, self, self._root))
            elif _on == True:
                pass
                self.rows.append(EspPartitionTable.Md5Row(self._io, self, self._root))



    def _fetch_instances(self):
        pass
        for i in range(len(self.rows)):
            pass
            _on = self.steps[i].is_md5
            if _on == False:
                pass
                self.rows[i]._fetch_instances()
            elif _on == True:
                pass
                self.rows[i]._fetch_instances()

        _ = self.steps
        if hasattr(self, '_m_steps'):
            pass
            for i in range(len(self._m_steps)):
                pass
                self._m_steps[i]._fetch_instances()



    class Md5Row(KaitaiStruct):
        """Digest of all rows before it, 32 bytes."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspPartitionTable.Md5Row, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.magic = self._io.read_bytes(2)
            self.reserved = self._io.read_bytes(14)
            self.digest = self._io.read_bytes(16)


        def _fetch_instances(self):
            pass


    class Row(KaitaiStruct):
        """One partition, 32 bytes."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspPartitionTable.Row, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.magic = self._io.read_bytes(2)
            self.type = self._io.read_u1()
            self.subtype = self._io.read_u1()
            self.offset = self._io.read_u4le()
            self.size = self._io.read_u4le()
            self.label = self._io.read_bytes(16)
            self.flags = self._io.read_u4le()


        def _fetch_instances(self):
            pass

        @property
        def data_subtype_name(self):
            """The subtype by name, for partitions of type `data`."""
            if hasattr(self, '_m_data_subtype_name'):
                return self._m_data_subtype_name

            if self.type == 1:
                pass
                self._m_data_subtype_name = KaitaiStream.resolve_enum(EspPartitionTable.DataSubtype, self.subtype)

            return getattr(self, '_m_data_subtype_name', None)

        @property
        def is_encrypted(self):
            """Whether the partition is encrypted if the device uses flash encryption."""
            if hasattr(self, '_m_is_encrypted'):
                return self._m_is_encrypted

            self._m_is_encrypted = self.flags & 1 != 0
            return getattr(self, '_m_is_encrypted', None)

        @property
        def is_readonly(self):
            """Whether firmware must not write to the partition. Since ESP-IDF v5.2."""
            if hasattr(self, '_m_is_readonly'):
                return self._m_is_readonly

            self._m_is_readonly = self.flags & 2 != 0
            return getattr(self, '_m_is_readonly', None)

        @property
        def type_name(self):
            """The type by name."""
            if hasattr(self, '_m_type_name'):
                return self._m_type_name

            self._m_type_name = KaitaiStream.resolve_enum(EspPartitionTable.PartitionType, self.type)
            return getattr(self, '_m_type_name', None)


    class Step(KaitaiStruct):
        """A place at which the walk looks for a row. Never fails."""
        def __init__(self, len_rest, _io, _parent=None, _root=None):
            super(EspPartitionTable.Step, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self.len_rest = len_rest
            self._read()

        def _read(self):
            if self.len_rest >= 32:
                pass
                self.magic = self._io.read_bytes(2)

            if self.len_rest >= 32:
                pass
                self.body = self._io.read_bytes(30)



        def _fetch_instances(self):
            pass
            if self.len_rest >= 32:
                pass

            if self.len_rest >= 32:
                pass


        @property
        def is_md5(self):
            """Whether this is the row with the digest."""
            if hasattr(self, '_m_is_md5'):
                return self._m_is_md5

            self._m_is_md5 =  ((self.len_rest >= 32) and (self.magic == b"\xEB\xEB")) 
            return getattr(self, '_m_is_md5', None)

        @property
        def is_row(self):
            """Whether this is a row."""
            if hasattr(self, '_m_is_row'):
                return self._m_is_row

            self._m_is_row =  ((self.len_rest >= 32) and ( ((self.magic == b"\xAA\x50") or (self.magic == b"\xEB\xEB")) )) 
            return getattr(self, '_m_is_row', None)


    @property
    def len_table(self):
        """How many bytes of the stream can be the table."""
        if hasattr(self, '_m_len_table'):
            return self._m_len_table

        self._m_len_table = (self._io.size() if self._io.size() < 3072 else 3072)
        return getattr(self, '_m_len_table', None)

    @property
    def num_rows(self):
        """How many rows there are, including the one with the digest."""
        if hasattr(self, '_m_num_rows'):
            return self._m_num_rows

        self._m_num_rows = len(self.steps) - 1
        return getattr(self, '_m_num_rows', None)

    @property
    def steps(self):
        """The walk from row to row. Its last element is the place where the table ended, all
        others are rows.
        """
        if hasattr(self, '_m_steps'):
            return self._m_steps

        _pos = self._io.pos()
        self._io.seek(0)
        self._m_steps = []
        i = 0
        while True:
            _ = EspPartitionTable.Step(self.len_table - self._io.pos(), self._io, self, self._root)
            self._m_steps.append(_)
            if (not (_.is_row)):
                break
            i += 1
        self._io.seek(_pos)
        return getattr(self, '_m_steps', None)


