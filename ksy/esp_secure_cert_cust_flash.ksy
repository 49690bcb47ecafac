meta:
  id: esp_secure_cert_cust_flash
  title: Espressif esp_secure_cert partition, legacy cust_flash layout
  license: Apache-2.0
  ks-version: '0.11'
  endian: le
doc: |
  The first layout of the flash partitions `esp_secure_cert` and `pre_prov` (partition
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
doc-ref:
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/private_include/esp_secure_cert_config.h
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/srcs/esp_secure_cert_read.c
instances:
  magic_without_ds:
    pos: 24
    type: u4
    if: _io.size >= 28
    doc: 0x12345678 if the metadata are those of the variant without DS.
  magic_with_ds:
    pos: 36
    type: u4
    if: _io.size >= 40
    doc: 0x12345678 if the metadata are those of the variant with DS.
  is_without_ds:
    value: _io.size >= 28 and magic_without_ds == 0x12345678
    doc: Whether the magic of the variant without DS is there.
  is_with_ds:
    value: _io.size >= 40 and magic_with_ds == 0x12345678
    doc: Whether the magic of the variant with DS is there.
  metadata_without_ds:
    pos: 0
    type: metadata_without_ds
    if: is_without_ds
    doc: The metadata of the variant without DS.
  metadata_with_ds:
    pos: 0
    type: metadata_with_ds
    if: is_with_ds
    doc: The metadata of the variant with DS.
  len_first:
    pos: 4
    type: u2
    if: is_without_ds or is_with_ds
    doc: Length in the first pair, of the device certificate unless the pairs are swapped.
  len_second:
    pos: 12
    type: u2
    if: is_without_ds or is_with_ds
    doc: Length in the second pair, of the CA certificate unless the pairs are swapped.
  dev_cert:
    pos: 64
    type: area(len_first, _io.size - 64)
    if: (is_without_ds or is_with_ds) and _io.size >= 64
    -orig-id: ESP_SECURE_CERT_DEV_CERT_OFFSET
    doc: Device certificate with the length of the first pair; has room for 2048 bytes.
  dev_cert_swapped:
    pos: 64
    type: area(len_second, _io.size - 64)
    if: (is_without_ds or is_with_ds) and _io.size >= 64
    -orig-id: ESP_SECURE_CERT_DEV_CERT_OFFSET
    doc: Device certificate with the length of the second pair, as in `pre_prov`.
  ca_cert:
    pos: 2112
    type: area(len_second, _io.size - 2112)
    if: (is_without_ds or is_with_ds) and _io.size >= 2112
    -orig-id: ESP_SECURE_CERT_CA_CERT_OFFSET
    doc: CA certificate with the length of the second pair; has room for 4096 bytes.
  ca_cert_swapped:
    pos: 2112
    type: area(len_first, _io.size - 2112)
    if: (is_without_ds or is_with_ds) and _io.size >= 2112
    -orig-id: ESP_SECURE_CERT_CA_CERT_OFFSET
    doc: CA certificate with the length of the first pair, as in `pre_prov`.
  priv_key:
    pos: 6208
    type: area(metadata_without_ds.len_priv_key, _io.size - 6208)
    if: is_without_ds and _io.size >= 6208
    -orig-id: ESP_SECURE_CERT_PRIV_KEY_OFFSET
    doc: Private key of the variant without DS; has room for 4096 bytes.
  ciphertext:
    pos: 6208
    type: area(metadata_with_ds.len_ciphertext, _io.size - 6208)
    if: is_with_ds and _io.size >= 6208
    -orig-id: ESP_SECURE_CERT_CIPHERTEXT_OFFSET
    doc: |
      Encrypted RSA key of the variant with DS: 1200 bytes on chips with 3072-bit RSA,
      1584 bytes on chips with 4096-bit RSA. Has room for 16 bytes more.
  ofs_iv:
    value: 'metadata_with_ds.len_ciphertext > 1216 ? 7808 : 7424'
    if: is_with_ds
    -orig-id: ESP_SECURE_CERT_IV_OFFSET
    doc: |
      Where the initialization vector lies. This depends on the chip that the firmware
      was built for, and therefore on the length that the ciphertext has on that chip.
  iv:
    pos: ofs_iv
    type: area(metadata_with_ds.len_iv, _io.size - ofs_iv)
    if: is_with_ds and _io.size >= ofs_iv
    doc: Initialization vector of the variant with DS; has room for 32 bytes.
types:
  metadata_without_ds:
    -orig-id: esp_secure_cert_metadata
    doc: |
      The metadata struct, 28 bytes, as a compiler aligns it. In `pre_prov` the first
      two pairs are swapped, see the description of the whole layout.
    seq:
      - id: dev_cert_crc
        type: u4
        -orig-id: dev_cert_crc
        doc: CRC-32, started with 0xffffffff, of the device certificate.
      - id: len_dev_cert
        type: u2
        -orig-id: dev_cert_len
        doc: Length of the device certificate, with the closing NUL of PEM.
      - id: reserved0
        type: u2
        doc: Alignment of the next field.
      - id: ca_cert_crc
        type: u4
        -orig-id: ca_cert_crc
        doc: CRC-32, started with 0xffffffff, of the CA certificate.
      - id: len_ca_cert
        type: u2
        -orig-id: ca_cert_len
        doc: Length of the CA certificate, with the closing NUL of PEM.
      - id: reserved1
        type: u2
        doc: Alignment of the next field.
      - id: priv_key_crc
        type: u4
        -orig-id: priv_key_crc
        doc: CRC-32, started with 0xffffffff, of the private key.
      - id: len_priv_key
        type: u2
        -orig-id: priv_key_len
        doc: Length of the private key, with the closing NUL of PEM.
      - id: reserved2
        type: u2
        doc: Alignment of the next field.
      - id: magic
        type: u4
        -orig-id: magic_word
        doc: 0x12345678.
  metadata_with_ds:
    -orig-id: esp_secure_cert_metadata
    doc: |
      The metadata struct of firmware built with CONFIG_ESP_SECURE_CERT_DS_PERIPHERAL,
      40 bytes, as a compiler aligns it. In `pre_prov` the first two pairs are swapped,
      see the description of the whole layout.
    seq:
      - id: dev_cert_crc
        type: u4
        -orig-id: dev_cert_crc
        doc: CRC-32, started with 0xffffffff, of the device certificate.
      - id: len_dev_cert
        type: u2
        -orig-id: dev_cert_len
        doc: Length of the device certificate, with the closing NUL of PEM.
      - id: reserved0
        type: u2
        doc: Alignment of the next field.
      - id: ca_cert_crc
        type: u4
        -orig-id: ca_cert_crc
        doc: CRC-32, started with 0xffffffff, of the CA certificate.
      - id: len_ca_cert
        type: u2
        -orig-id: ca_cert_len
        doc: Length of the CA certificate, with the closing NUL of PEM.
      - id: reserved1
        type: u2
        doc: Alignment of the next field.
      - id: ciphertext_crc
        type: u4
        -orig-id: ciphertext_crc
        doc: CRC-32, started with 0xffffffff, of the encrypted RSA key.
      - id: len_ciphertext
        type: u2
        -orig-id: ciphertext_len
        doc: Length of the encrypted RSA key, 1200 or 1584.
      - id: reserved2
        type: u2
        doc: Alignment of the next field.
      - id: iv_crc
        type: u4
        -orig-id: iv_crc
        doc: CRC-32, started with 0xffffffff, of the initialization vector.
      - id: len_iv
        type: u2
        -orig-id: iv_len
        doc: Length of the initialization vector, 16.
      - id: rsa_length
        type: u2
        -orig-id: rsa_length
        doc: Length of the RSA key in bits.
      - id: efuse_key_id
        type: u1
        -orig-id: efuse_key_id
        doc: Number of the eFuse key block, 0 to 5, whose key feeds the peripheral.
      - id: reserved3
        size: 3
        doc: Alignment of the next field.
      - id: magic
        type: u4
        -orig-id: magic_word
        doc: 0x12345678.
  area:
    doc: A place for one item, as far as the item is in the stream.
    params:
      - id: len_stored
        type: u4
        doc: Length of the item, as the metadata say.
      - id: len_rest
        type: u8
        doc: How many bytes the stream has from here on.
    seq:
      - id: data
        size: 'len_stored < len_rest ? len_stored : len_rest'
        doc: The item, or its beginning if the stream ends before it.
    instances:
      is_whole:
        value: len_stored <= len_rest
        doc: Whether all bytes of the item are in the stream.
