meta:
  id: esp_nvs
  title: Espressif ESP-IDF non-volatile storage (NVS) partition
  license: Apache-2.0
  ks-version: '0.11'
  endian: le
  bit-endian: le
doc: |
  A log of keys and values in flash (partition type `data`, subtype `nvs`) of Espressif's
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
doc-ref:
  - https://github.com/espressif/esp-idf/blob/v5.5/components/nvs_flash/src/nvs_page.hpp
  - https://github.com/espressif/esp-idf/blob/v5.5/components/nvs_flash/src/nvs_types.hpp
  - https://github.com/espressif/esp-idf/blob/v5.5/docs/en/api-reference/storage/nvs_flash.rst
seq:
  - id: pages
    type: page
    size: 4096
    repeat: expr
    repeat-expr: _io.size / 4096
    doc: All whole pages, in flash order.
  - id: partial_page
    size-eos: true
    doc: What is left behind the last whole page; nothing in a whole dump.
types:
  page:
    -orig-id: nvs::Page
    doc: One flash sector.
    seq:
      - id: header
        type: page_header
        doc: State and order of the page.
      - id: bitmap
        type: bitmap
        doc: State of each slot.
    instances:
      entry_states:
        value: bitmap.entry_states
        doc: The bytes of the bitmap.
      slot_states:
        pos: 32
        type: b2
        enum: entry_state
        repeat: expr
        repeat-expr: 126
        doc: The state of each slot by name.
      slots:
        pos: 64
        size: 32
        repeat: expr
        repeat-expr: 126
        doc: The slots as bytes.
      slots_as_entries:
        pos: 64
        type: entry_header
        repeat: expr
        repeat-expr: 126
        doc: |
          The slots, each read as if it were an entry. This is right for those only that
          are not data of an entry before them.
  page_header:
    -orig-id: nvs::Page::Header
    doc: The first 32 bytes of a page.
    seq:
      - id: state
        type: u4
        -orig-id: mState
        doc: State of the page, see `state_name`. Each change clears bits. Not part of the CRC.
      - id: sequence
        type: u4
        -orig-id: mSeqNumber
        doc: Place of the page in the log; lower is older.
      - id: version
        type: u1
        -orig-id: mVersion
        doc: Version of the page format, counted down from 0xff, see `version_name`.
      - id: reserved
        size: 19
        -orig-id: mReserved
        doc: 0xff.
      - id: crc
        type: u4
        -orig-id: mCrc32
        doc: CRC-32, started with 0xffffffff, of bytes 4 to 27 of the page.
    instances:
      state_name:
        value: state
        enum: page_state
        doc: The state by name.
      version_name:
        value: version
        enum: page_version
        doc: The version by name.
  bitmap:
    doc: The 32 bytes behind the header of a page.
    seq:
      - id: entry_states
        size: 32
        -orig-id: mEntryTable
        doc: |
          Two bits for each of 126 slots, see the enum `entry_state`. Slot i has bits
          2 * (i % 4) and up of byte i / 4. The last four bits are not used.
  entry_header:
    -orig-id: nvs::Item
    doc: An entry, 32 bytes. Longer data follow in the next slots.
    seq:
      - id: namespace_index
        type: u1
        -orig-id: nsIndex
        doc: |
          Namespace of the entry. 0 is the list of namespaces: an entry of type `u8` there
          has the name of a namespace as key and its index as value.
      - id: type
        type: u1
        -orig-id: datatype
        doc: Type of the value, see `type_name`.
      - id: span
        type: u1
        -orig-id: span
        doc: How many slots the entry takes, including this one.
      - id: chunk_index
        type: u1
        -orig-id: chunkIndex
        doc: Which chunk of a blob this is; 0xff for all other types.
      - id: crc
        type: u4
        -orig-id: crc32
        doc: CRC-32, started with 0xffffffff, of bytes 0 to 3 and 8 to 31 of the entry.
      - id: key
        size: 16
        -orig-id: key
        doc: Name of the value, up to 15 characters, filled with NUL.
      - id: data
        size: 8
        -orig-id: data
        doc: |
          An integer or floating-point number (unused bytes are 0xff), or what the types
          `variable_length` and `blob_index` describe.
    instances:
      type_name:
        value: type
        enum: entry_type
        doc: The type by name.
  variable_length:
    -orig-id: nvs::Item::varLength
    doc: Field `data` of an entry whose data follow in the next slots.
    seq:
      - id: len_data
        type: u2
        -orig-id: dataSize
        doc: Length of the data, with the closing NUL of a string; 4000 at most.
      - id: reserved
        type: u2
        -orig-id: reserved
        doc: 0xffff.
      - id: crc
        type: u4
        -orig-id: dataCrc32
        doc: CRC-32, started with 0xffffffff, of the data without what fills the last slot.
  blob_index:
    -orig-id: nvs::Item::blobIndex
    doc: Field `data` of an entry of type `blob_index`, which joins the chunks of a blob.
    seq:
      - id: len_blob
        type: u4
        -orig-id: dataSize
        doc: Length of all chunks together.
      - id: num_chunks
        type: u1
        -orig-id: chunkCount
        doc: How many chunks there are.
      - id: chunk_start
        type: u1
        -orig-id: chunkStart
        doc: Index of the first chunk, 0 or 0x80; it changes with each rewriting of the blob.
      - id: reserved
        type: u2
        -orig-id: reserved
        doc: 0xffff.
enums:
  page_state:
    0xffffffff:
      id: uninitialized
      -orig-id: PageState::UNINITIALIZED
      doc: Never used since it was erased; all bytes are 0xff.
    0xfffffffe:
      id: active
      -orig-id: PageState::ACTIVE
      doc: Takes new entries.
    0xfffffffc:
      id: full
      -orig-id: PageState::FULL
      doc: Has no slot left.
    0xfffffff8:
      id: freeing
      -orig-id: PageState::FREEING
      doc: Its entries are being moved to another page.
    0xfffffff0:
      id: corrupt
      -orig-id: PageState::CORRUPT
      doc: Found to be damaged.
    0:
      id: invalid
      -orig-id: PageState::INVALID
      doc: Damaged; treated as corrupt.
  page_version:
    0xff:
      id: v1
      doc: Blobs in one piece.
    0xfe:
      id: v2
      -orig-id: NVS_VERSION
      doc: Blobs in chunks, since ESP-IDF v3.2.
  entry_state:
    0:
      id: erased
      -orig-id: EntryState::ERASED
      doc: No longer valid.
    1:
      id: illegal
      -orig-id: EntryState::ILLEGAL
      doc: Never written by the firmware.
    2:
      id: written
      -orig-id: EntryState::WRITTEN
      doc: In use.
    3:
      id: empty
      -orig-id: EntryState::EMPTY
      doc: Not used since the page was erased.
  entry_type:
    0x01:
      id: u8
      -orig-id: NVS_TYPE_U8
      doc: Unsigned integer of 8 bits.
    0x11:
      id: i8
      -orig-id: NVS_TYPE_I8
      doc: Signed integer of 8 bits.
    0x02:
      id: u16
      -orig-id: NVS_TYPE_U16
      doc: Unsigned integer of 16 bits.
    0x12:
      id: i16
      -orig-id: NVS_TYPE_I16
      doc: Signed integer of 16 bits.
    0x04:
      id: u32
      -orig-id: NVS_TYPE_U32
      doc: Unsigned integer of 32 bits.
    0x14:
      id: i32
      -orig-id: NVS_TYPE_I32
      doc: Signed integer of 32 bits.
    0x08:
      id: u64
      -orig-id: NVS_TYPE_U64
      doc: Unsigned integer of 64 bits.
    0x18:
      id: i64
      -orig-id: NVS_TYPE_I64
      doc: Signed integer of 64 bits.
    0x21:
      id: string
      -orig-id: NVS_TYPE_STR
      doc: Text with a closing NUL.
    0x24:
      id: float32
      doc: Floating-point number of 32 bits; only in newer releases.
    0x28:
      id: float64
      doc: Floating-point number of 64 bits; only in newer releases.
    0x41:
      id: blob
      -orig-id: ItemType::BLOB
      doc: Bytes in one piece, as of page version 1.
    0x42:
      id: blob_data
      -orig-id: ItemType::BLOB_DATA
      doc: One chunk of a blob.
    0x48:
      id: blob_index
      -orig-id: ItemType::BLOB_IDX
      doc: Length and number of the chunks of a blob.
