# This is a generated file! Please edit source .ksy file and use kaitai-struct-compiler to rebuild

import kaitaistruct
from kaitaistruct import KaitaiStruct, KaitaiStream, BytesIO
from enum import IntEnum


if getattr(kaitaistruct, 'API_VERSION', (0, 9)) < (0, 11):
    raise Exception("Incompatible Kaitai Struct Python API: 0.11 or later is required, but you have %s" % (kaitaistruct.__version__))

class EspNvs(KaitaiStruct):
    """A log of keys and values in flash (partition type `data`, subtype `nvs`) of Espressif's
    ESP32 family. Written by the NVS library of ESP-IDF since its first releases and by
    `nvs_partition_gen.py` (Python package `esp-idf-nvs-partition-gen`). Any number of
    pages of 4096 bytes; partitions that the firmware writes to have three or more, 0x3000
    to 0x6000 bytes being usual. Page version 2 and blobs in chunks came with ESP-IDF v3.2.
    
    The order of the pages is that of their sequence numbers. A page has a header, a bitmap
    with two bits for each entry, and 126 slots of 32 bytes. A slot holds an entry, or 32
    bytes of the data of an entry before it: only the entry before it (its span) tells
    which. Erased entries keep their bytes on most releases. With NVS encryption the slots
    are encrypted, the header and the bitmap are not.
    
    CRCs are not verified. They are the CRC-32 of the ESP32 ROM started with 0xffffffff,
    which is `zlib.crc32(data, 0xffffffff)` in Python.
    
    Bytes behind the last whole page are not part of the storage; a partition cut within a
    page remains readable.
    
    To make a sample: `python -m esp_idf_nvs_partition_gen generate input.csv out.bin
    0x3000`, with a CSV that has the columns key, type, encoding and value.
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/v5.5/components/nvs_flash/src/nvs_page.hpp
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/v5.5/components/nvs_flash/src/nvs_types.hpp
    
    
    .. seealso::
       Source - https://github.com/espressif/esp-idf/blob/v5.5/docs/en/api-reference/storage/nvs_flash.rst
    """

    class EntryState(IntEnum):
        erased = 0
        illegal = 1
        written = 2
        empty = 3

    class EntryType(IntEnum):
        u8 = 1
        u16 = 2
        u32 = 4
        u64 = 8
        i8 = 17
        i16 = 18
        i32 = 20
        i64 = 24
        string = 33
        float32 = 36
        float64 = 40
        blob = 65
        blob_data = 66
        blob_index = 72

    class PageState(IntEnum):
        invalid = 0
        corrupt = 4294967280
        freeing = 4294967288
        full = 4294967292
        active = 4294967294
        uninitialized = 4294967295

    class PageVersion(IntEnum):
        v2 = 254
        v1 = 255
    def __init__(self, _io, _parent=None, _root=None):
        super(EspNvs, self).__init__(_io)
        self._parent = _parent
        self._root = _root or self
        self._read()

    def _read(self):
        self._raw_pages = []
        self.pages = []
        for i in range(self._io.size() // 4096):
            self._raw_pages.append(self._io.read_bytes(4096))
            _io__raw_pages = KaitaiStream(BytesIO(self._raw_pages[i]))
            self.pages.append(EspNvs.Page(_io__raw_pages, self, self._root))

        self.partial_page = self._io.read_bytes_full()


    def _fetch_instances(self):
        pass
        for i in range(len(self.pages)):
            pass
            self.pages[i]._fetch_instances()


    class Bitmap(KaitaiStruct):
        """The 32 bytes behind the header of a page."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspNvs.Bitmap, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.entry_states = self._io.read_bytes(32)


        def _fetch_instances(self):
            pass


    class BlobIndex(KaitaiStruct):
        """Field `data` of an entry of type `blob_index`, which joins the chunks of a blob."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspNvs.BlobIndex, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.len_blob = self._io.read_u4le()
            self.num_chunks = self._io.read_u1()
            self.chunk_start = self._io.read_u1()
            self.reserved = self._io.read_u2le()


        def _fetch_instances(self):
            pass


    class EntryHeader(KaitaiStruct):
        """An entry, 32 bytes. Longer data follow in the next slots."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspNvs.EntryHeader, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.namespace_index = self._io.read_u1()
            self.type = self._io.read_u1()
            self.span = self._io.read_u1()
            self.chunk_index = self._io.read_u1()
            self.crc = self._io.read_u4le()
            self.key = self._io.read_bytes(16)
            self.data = self._io.read_bytes(8)


        def _fetch_instances(self):
            pass

        @property
        def type_name(self):
            """The type by name."""
            if hasattr(self, '_m_type_name'):
                return self._m_type_name

            self._m_type_name = KaitaiStream.resolve_enum(EspNvs.EntryType, self.type)
            return getattr(self, '_m_type_name', None)


    class Page(KaitaiStruct):
        """One flash sector."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspNvs.Page, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.header = EspNvs.PageHeader(self._io, self, self._root)
            self.bitmap = EspNvs.Bitmap(self._io, self, self._root)


        def _fetch_instances(self):
            pass
            self.header._fetch_instances()
            self.bitmap._fetch_instances()
            _ = self.slot_states
            if hasattr(self, '_m_slot_states'):
                pass
                for i in range(len(self._m_slot_states)):
                    pass


            _ = self.slots
            if hasattr(self, '_m_slots'):
                pass
                for i in range(len(self._m_slots)):
                    pass


            _ = self.slots_as_entries
            if hasattr(self, '_m_slots_as_entries'):
                pass
                for i in range(len(self._m_slots_as_entries)):
                    pass
                    self._m_slots_as_entries[i]._fetch_instances()



        @property
        def entry_states(self):
            """The bytes of the bitmap."""
            if hasattr(self, '_m_entry_states'):
                return self._m_entry_states

            self._m_entry_states = self.bitmap.entry_states
            return getattr(self, '_m_entry_states', None)

        @property
        def slot_states(self):
            """The state of each slot by name."""
            if hasattr(self, '_m_slot_states'):
                return self._m_slot_states

            _pos = self._io.pos()
            self._io.seek(32)
            self._m_slot_states = []
            for i in range(126):
                self._m_slot_states.append(KaitaiStream.resolve_enum(EspNvs.EntryState, self._io.read_bits_int_le(2)))

            self._io.seek(_pos)
            return getattr(self, '_m_slot_states', None)

        @property
        def slots(self):
            """The slots as bytes."""
            if hasattr(self, '_m_slots'):
                return self._m_slots

            _pos = self._io.pos()
            self._io.seek(64)
            self._m_slots = []
            for i in range(126):
                self._m_slots.append(self._io.read_bytes(32))

            self._io.seek(_pos)
            return getattr(self, '_m_slots', None)

        @property
        def slots_as_entries(self):
            """The slots, each read as if it were an entry. This is right for those only that
            are not data of an entry before them.
            """
            if hasattr(self, '_m_slots_as_entries'):
                return self._m_slots_as_entries

            _pos = self._io.pos()
            self._io.seek(64)
            self._m_slots_as_entries = []
            for i in range(126):
                self._m_slots_as_entries.append(EspNvs.EntryHeader(self._io, self, self._root))

            self._io.seek(_pos)
            return getattr(self, '_m_slots_as_entries', None)


    class PageHeader(KaitaiStruct):
        """The first 32 bytes of a page."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspNvs.PageHeader, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.state = self._io.read_u4le()
            self.sequence = self._io.read_u4le()
            self.version = self._io.read_u1()
            self.reserved = self._io.read_bytes(19)
            self.crc = self._io.read_u4le()


        def _fetch_instances(self):
            pass

        @property
        def state_name(self):
            """The state by name."""
            if hasattr(self, '_m_state_name'):
                return self._m_state_name

            self._m_state_name = KaitaiStream.resolve_enum(EspNvs.PageState, self.state)
            return getattr(self, '_m_state_name', None)

        @property
        def version_name(self):
            """The version by name."""
            if hasattr(self, '_m_version_name'):
                return self._m_version_name

            self._m_version_name = KaitaiStream.resolve_enum(EspNvs.PageVersion, self.version)
            return getattr(self, '_m_version_name', None)


    class VariableLength(KaitaiStruct):
        """Field `data` of an entry whose data follow in the next slots."""
        def __init__(self, _io, _parent=None, _root=None):
            super(EspNvs.VariableLength, self).__init__(_io)
            self._parent = _parent
            self._root = _root
            self._read()

        def _read(self):
            self.len_data = self._io.read_u2le()
            self.reserved = self._io.read_u2le()
            self.crc = self._io.read_u4le()


        def _fetch_instances(self):
            pass



