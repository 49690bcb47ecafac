meta:
  id: esp_partition_table
  title: Espressif ESP-IDF partition table
  license: Apache-2.0
  ks-version: '0.11'
  endian: le
doc: |
  The list of flash partitions of a device of Espressif's ESP32 family, at flash offset
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
doc-ref:
  - https://github.com/espressif/esp-idf/blob/v5.5/components/bootloader_support/include/esp_flash_partitions.h
  - https://github.com/espressif/esp-idf/blob/v5.5/components/partition_table/gen_esp32part.py
  - https://github.com/espressif/esp-idf/blob/v5.5/docs/en/api-guides/partition-tables.rst
seq:
  - id: rows
    type:
      switch-on: steps[_index].is_md5
      cases:
        true: md5_row
        false: row
    repeat: expr
    repeat-expr: num_rows
    doc: All rows, including the one with the digest (of type `md5_row`).
instances:
  len_table:
    value: '_io.size < 0xc00 ? _io.size : 0xc00'
    doc: How many bytes of the stream can be the table.
  steps:
    pos: 0
    type: step(len_table - _io.pos)
    repeat: until
    repeat-until: not _.is_row
    doc: |
      The walk from row to row. Its last element is the place where the table ended, all
      others are rows.
  num_rows:
    value: steps.size - 1
    doc: How many rows there are, including the one with the digest.
types:
  row:
    -orig-id: esp_partition_info_t
    doc: One partition, 32 bytes.
    seq:
      - id: magic
        size: 2
        -orig-id: magic
        doc: aa 50.
      - id: type
        type: u1
        -orig-id: type
        doc: Type of the partition, see `type_name`. Types from 0x40 on are free for the user.
      - id: subtype
        type: u1
        -orig-id: subtype
        doc: |
          Subtype of the partition; its meaning depends on the type. For data see the enum
          `data_subtype`, for `esp_secure_cert` any subtype is right, 6 being usual.
      - id: offset
        type: u4
        -orig-id: pos.offset
        doc: Where the partition begins in flash; a multiple of 0x1000, of 0x10000 for apps.
      - id: size
        type: u4
        -orig-id: pos.size
        doc: Length of the partition in bytes.
      - id: label
        size: 16
        -orig-id: label
        doc: Name of the partition, filled with NUL; 16 characters have no closing NUL.
      - id: flags
        type: u4
        -orig-id: flags
        doc: |
          Bit 0 for a partition that is encrypted if the device uses flash encryption, bit 1
          for one that firmware must not write to. Other bits are zero.
    instances:
      type_name:
        value: type
        enum: partition_type
        doc: The type by name.
      data_subtype_name:
        value: subtype
        enum: data_subtype
        if: type == 1
        doc: The subtype by name, for partitions of type `data`.
      is_encrypted:
        value: (flags & 1) != 0
        -orig-id: PART_FLAG_ENCRYPTED
        doc: Whether the partition is encrypted if the device uses flash encryption.
      is_readonly:
        value: (flags & 2) != 0
        -orig-id: PART_FLAG_READONLY
        doc: Whether firmware must not write to the partition. Since ESP-IDF v5.2.
  md5_row:
    doc: Digest of all rows before it, 32 bytes.
    seq:
      - id: magic
        size: 2
        -orig-id: ESP_PARTITION_MAGIC_MD5
        doc: eb eb.
      - id: reserved
        size: 14
        doc: 0xff.
      - id: digest
        size: 16
        doc: MD5 of all bytes of the table before this row.
  step:
    doc: A place at which the walk looks for a row. Never fails.
    params:
      - id: len_rest
        type: u8
        doc: How many bytes the table can have from here on.
    seq:
      - id: magic
        size: 2
        if: len_rest >= 32
        doc: The first two bytes of a row. Absent at the very end.
      - id: body
        size: 30
        if: len_rest >= 32
        doc: The other bytes of the row.
    instances:
      is_md5:
        value: len_rest >= 32 and magic == [0xeb, 0xeb]
        doc: Whether this is the row with the digest.
      is_row:
        value: len_rest >= 32 and (magic == [0xaa, 0x50] or magic == [0xeb, 0xeb])
        doc: Whether this is a row.
enums:
  partition_type:
    0x00:
      id: app
      -orig-id: PART_TYPE_APP
      doc: Firmware.
    0x01:
      id: data
      -orig-id: PART_TYPE_DATA
      doc: Data of ESP-IDF's own components, NVS among them.
    0x02:
      id: bootloader
      -orig-id: PART_TYPE_BOOTLOADER
      doc: The bootloader itself.
    0x03:
      id: partition_table
      -orig-id: PART_TYPE_PARTITION_TABLE
      doc: The partition table itself.
    0x3f:
      id: esp_secure_cert
      -orig-id: ESP_SECURE_CERT_TLV_PARTITION_TYPE
      doc: Credentials of the device, in the layouts TLV and cust_flash.
  data_subtype:
    0x00:
      id: ota
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_OTA
      doc: Which of the apps is started.
    0x01:
      id: phy
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_PHY
      doc: Initial settings of the radio.
    0x02:
      id: nvs
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_NVS
      doc: Keys and values; the legacy NVS layout of `esp_secure_cert` among them.
    0x03:
      id: coredump
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_COREDUMP
      doc: State of the firmware at its last crash.
    0x04:
      id: nvs_keys
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_NVS_KEYS
      doc: Keys of an encrypted NVS partition.
    0x05:
      id: efuse_em
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_EFUSE_EM
      doc: eFuse bits that are emulated in flash.
    0x06:
      id: undefined
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_UNDEFINED
      doc: What an empty field of a CSV table becomes.
    0x80:
      id: esphttpd
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_ESPHTTPD
      doc: Files of a web server.
    0x81:
      id: fat
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_FAT
      doc: FAT file system.
    0x82:
      id: spiffs
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_SPIFFS
      doc: SPIFFS file system.
    0x83:
      id: littlefs
      -orig-id: ESP_PARTITION_SUBTYPE_DATA_LITTLEFS
      doc: LittleFS file system.
