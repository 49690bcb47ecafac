meta:
  id: esp_secure_cert_tlv
  title: Espressif esp_secure_cert partition, TLV layout
  license: Apache-2.0
  ks-version: '0.11'
  endian: le
  bit-endian: le
doc: |
  A flash partition named `esp_secure_cert` (partition type 0x3f) that holds what a
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
doc-ref:
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/private_include/esp_secure_cert_tlv_private.h
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/include/esp_secure_cert_tlv_config.h
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/srcs/esp_secure_cert_tlv_read.c
seq:
  - id: entries
    type: entry
    repeat: expr
    repeat-expr: num_entries
    doc: All whole entries, in flash order.
  - id: unused
    size-eos: true
    doc: |
      What follows the last whole entry: 0xff up to the end of the partition, nothing,
      the marker ff ff 00 00 of some tool versions, or an entry that does not fit.
instances:
  steps:
    pos: 0
    type: step(_io.pos, _io.size - _io.pos)
    repeat: until
    repeat-until: not _.is_entry
    doc: |
      The walk from header to header. Its last element is the place where the walk
      ended, all others are entries.
  num_entries:
    value: steps.size - 1
    doc: How many whole entries there are before the walk ends.
  len_used:
    value: steps.last.ofs_entry
    doc: Length of all whole entries together; a device appends its next entry here.
types:
  entry:
    doc: One item of the partition, with its header and its checksum.
    seq:
      - id: header
        type: entry_header
        doc: What the item is and how long it is.
      - id: data
        size: header.len_data
        -orig-id: value
        doc: |
          The item itself. Certificates and keys are PEM with a closing NUL, or DER.
          If the flags say that the data are encrypted, the last 16 bytes are the tag
          of AES-GCM.
      - id: padding
        size: (16 - header.len_data % 16) % 16
        doc: Zero bytes that make the length of the data a multiple of 16.
      - id: footer
        type: entry_footer
        doc: Checksum over everything before it in this entry.
  entry_header:
    -orig-id: esp_secure_cert_tlv_header_t
    doc: The 12 bytes before the data of an entry.
    seq:
      - id: magic
        type: u4
        -orig-id: magic
        doc: 0xba5eba11, stored as 11 ba 5e ba. Any other value ends the partition.
      - id: flags
        type: u1
        -orig-id: flags
        doc: |
          How the data are to be understood, see the type `flags`. 0xff in images of
          tools before 0.9.2, which means no flag.
      - id: reserved
        size: 3
        -orig-id: reserved
        doc: Zero; 0xff in images of tools before 0.9.2.
      - id: type
        type: u1
        -orig-id: type
        doc: What the data are, see `type_name`.
      - id: subtype
        type: u1
        -orig-id: subtype
        doc: |
          Tells entries of the same type apart, 0 to 16. Up to component version 2.3
          this byte was the high half of a 16-bit type and therefore zero.
      - id: len_data
        type: u2
        -orig-id: length
        doc: Length of the data without padding.
    instances:
      type_name:
        value: type
        enum: entry_type
        doc: The type by name.
  entry_footer:
    -orig-id: esp_secure_cert_tlv_footer_t
    doc: The 4 bytes behind the padding of an entry.
    seq:
      - id: crc
        type: u4
        -orig-id: crc
        doc: CRC-32, started with 0xffffffff, over header, data and padding.
  flags:
    doc: |
      The flags of an entry, bit 0 first. The firmware compares each of the two groups
      with whole values, so that 0xff means none of them.
    seq:
      - id: reserved
        type: b3
        doc: Not used.
      - id: key_storage
        type: b3
        enum: key_storage
        -orig-id: ESP_SECURE_CERT_TLV_KEY_FLAGS_BIT_MASK
        doc: Where the private key is, if not in the data. Since component version 2.3.0.
      - id: hmac_use
        type: b2
        enum: hmac_use
        doc: What the HMAC peripheral has to do with the data. Since component version 2.0.6.
  ds_data:
    -orig-id: esp_ds_data_t
    doc: |
      Data of an entry of type `ds_data`: the RSA key, encrypted for the Digital Signature
      peripheral of one chip. 1220 bytes on chips with 3072-bit RSA (ESP32-C3, C5, C6, H2),
      1604 bytes on chips with 4096-bit RSA (ESP32-S2, S3, P4).
    seq:
      - id: rsa_length
        type: u4
        -orig-id: rsa_length
        doc: Length of the RSA key in 32-bit words, less one.
      - id: iv
        size: 16
        -orig-id: iv
        doc: Initialization vector of AES-256-CBC.
      - id: ciphertext
        size-eos: true
        -orig-id: c
        doc: The key parameters and their digest, encrypted; 1200 or 1584 bytes.
  ds_context:
    -orig-id: esp_ds_data_ctx_t
    doc: Data of an entry of type `ds_context`, 8 bytes, the C struct as it lies in memory.
    seq:
      - id: reserved_ptr
        type: u4
        -orig-id: esp_ds_data
        doc: Place of a pointer which the firmware sets in its copy; zero in flash.
      - id: efuse_key_id
        type: u1
        -orig-id: efuse_key_id
        doc: Number of the eFuse key block, 0 to 5, whose key feeds the peripheral.
      - id: reserved
        type: u1
        doc: Alignment of the next field.
      - id: rsa_length_bits
        type: u2
        -orig-id: rsa_length_bits
        doc: Length of the RSA key in bits.
  security_config:
    -orig-id: esp_secure_cert_tlv_sec_cfg_t
    doc: Data of an entry of type `security_config`, 40 bytes. Since component version 2.3.0.
    seq:
      - id: priv_key_efuse_id
        type: u1
        -orig-id: priv_key_efuse_id
        doc: |
          eFuse block that holds the private key: the number of the key block plus 4.
      - id: reserved
        size: 39
        -orig-id: reserved
        doc: Zero.
  signature_block:
    -orig-id: esp_secure_cert_signature_t
    doc: |
      Data of an entry of type `signature_block`: a signature over the partition from
      its start up to the signature entry of subtype 0. Up to three may follow each
      other, with subtypes 0 to 2. Since component version 2.8.0.
    seq:
      - id: version
        type: u1
        -orig-id: version
        doc: 1.
      - id: reserved
        size: 3
        -orig-id: reserved1
        doc: Zero.
      - id: ofs_signed
        type: u4
        -orig-id: sign_data_offset
        doc: Where the signed bytes begin. Zero; the firmware does not read it.
      - id: len_signed
        type: u4
        -orig-id: sign_data_length
        doc: How many bytes are signed. The firmware does not read it.
      - id: algorithm
        type: u1
        -orig-id: algorithm
        doc: Kind of the signature, see `algorithm_name`.
      - id: reserved2
        size: 3
        -orig-id: reserved2
        doc: Zero.
      - id: body
        size-eos: true
        doc: |
          For RSA-3072 a whole signature block of secure boot v2 (1216 bytes). For ECDSA
          one byte for the curve, the public point (X, Y) and the signature (r, s), all
          numbers little-endian.
    instances:
      algorithm_name:
        value: algorithm
        enum: signature_algorithm
        doc: The algorithm by name.
  step:
    doc: |
      A place at which the walk looks for an entry. Never fails: what does not fit is
      not read. The data of types with fixed layout can be read in detail from here.
    params:
      - id: ofs_entry
        type: u8
        doc: Offset of this place in the partition.
      - id: len_rest
        type: u8
        doc: How many bytes the stream has from here on.
    seq:
      - id: header
        type: entry_header
        if: len_rest >= 16
        doc: The header, or whatever bytes are in its place. Absent at the very end.
      - id: body
        size: len_entry - 12
        if: is_entry
        doc: Data, padding and footer, if there is a whole entry.
    instances:
      len_entry:
        value: 16 + (header.len_data.as<u4> + 15) / 16 * 16
        if: len_rest >= 16
        doc: Length of the entry if this is one.
      is_entry:
        value: len_rest >= 16 and header.magic == 0xba5eba11 and len_entry <= len_rest
        doc: Whether a whole entry begins here.
      flags:
        pos: ofs_entry + 4
        type: flags
        if: is_entry
        doc: The flags of the entry, one by one.
      ds_data:
        pos: ofs_entry + 12
        size: header.len_data
        type: ds_data
        if: is_entry and header.type == 3 and header.len_data >= 20
        doc: The data of an entry of type `ds_data`.
      ds_context:
        pos: ofs_entry + 12
        size: header.len_data
        type: ds_context
        if: is_entry and header.type == 4 and header.len_data >= 8
        doc: The data of an entry of type `ds_context`.
      security_config:
        pos: ofs_entry + 12
        size: header.len_data
        type: security_config
        if: is_entry and header.type == 6 and header.len_data >= 40
        doc: The data of an entry of type `security_config`.
      signature_block:
        pos: ofs_entry + 12
        size: header.len_data
        type: signature_block
        if: is_entry and header.type == 8 and header.len_data >= 16
        doc: The data of an entry of type `signature_block`.
enums:
  entry_type:
    0:
      id: ca_cert
      -orig-id: ESP_SECURE_CERT_CA_CERT_TLV
      doc: CA certificate, as PEM with a closing NUL or as DER.
    1:
      id: dev_cert
      -orig-id: ESP_SECURE_CERT_DEV_CERT_TLV
      doc: Certificate of the device, as PEM with a closing NUL or as DER.
    2:
      id: priv_key
      -orig-id: ESP_SECURE_CERT_PRIV_KEY_TLV
      doc: Private key, or nothing but flags if the key is made or kept by the chip.
    3:
      id: ds_data
      -orig-id: ESP_SECURE_CERT_DS_DATA_TLV
      doc: RSA key, encrypted for the Digital Signature peripheral.
    4:
      id: ds_context
      -orig-id: ESP_SECURE_CERT_DS_CONTEXT_TLV
      doc: Which eFuse key the Digital Signature peripheral needs, and how long the RSA key is.
    5:
      id: hmac_ecdsa_key_salt
      -orig-id: ESP_SECURE_CERT_HMAC_ECDSA_KEY_SALT
      doc: Salt from which the chip derives its ECDSA key. Since component version 2.2.1.
    6:
      id: security_config
      -orig-id: ESP_SECURE_CERT_TLV_SEC_CFG
      doc: eFuse block of a key in the ECDSA peripheral. Since component version 2.3.0.
    7:
      id: tee_sec_storage_key
      -orig-id: ESP_SECURE_CERT_TEE_SEC_STORAGE_KEY_TLV
      doc: Reserved for keys of the TEE's secure storage. Since component version 2.6.0.
    8:
      id: signature_block
      -orig-id: ESP_SECURE_CERT_SIGNATURE_BLOCK_TLV
      doc: Signature over what precedes. Since component version 2.8.0.
    9:
      id: integrity
      -orig-id: ESP_SECURE_CERT_INTEGRITY_TLV
      doc: SHA-256 of all bytes before this entry. Since component version 2.9.2.
    50:
      id: tlv_end
      -orig-id: ESP_SECURE_CERT_TLV_END
      doc: Never stored; asks the firmware for the place behind the last entry.
    51:
      id: user_data_1
      -orig-id: ESP_SECURE_CERT_USER_DATA_1
      doc: Free for the user.
    52:
      id: user_data_2
      -orig-id: ESP_SECURE_CERT_USER_DATA_2
      doc: Free for the user.
    53:
      id: user_data_3
      -orig-id: ESP_SECURE_CERT_USER_DATA_3
      doc: Free for the user.
    54:
      id: user_data_4
      -orig-id: ESP_SECURE_CERT_USER_DATA_4
      doc: Free for the user. Before component version 2.9.0 also the value of USER_DATA_5 in C.
    55:
      id: user_data_5
      -orig-id: ESP_SECURE_CERT_USER_DATA_5
      doc: Free for the user. The C name has this value since component version 2.9.0.
    201:
      id: matter_1
      -orig-id: ESP_SECURE_CERT_MATTER_TLV_1
      doc: Commissioning data of a Matter device, one value a subtype. Since component version 2.5.0.
    202:
      id: matter_2
      -orig-id: ESP_SECURE_CERT_MATTER_TLV_2
      doc: Reserved for Matter. Since component version 2.5.0.
    254:
      id: tlv_max
      -orig-id: ESP_SECURE_CERT_TLV_MAX
      doc: Never stored.
    255:
      id: invalid
      -orig-id: ESP_SECURE_CERT_TLV_INVALID
      doc: Never stored.
  signature_algorithm:
    0:
      id: rsa_3072
      doc: RSA-PSS with 3072 bits over SHA-256.
    1:
      id: ecdsa_p192
      doc: ECDSA on P-192 over SHA-256.
    2:
      id: ecdsa_p256
      doc: ECDSA on P-256 over SHA-256.
    3:
      id: ecdsa_p384
      doc: ECDSA on P-384 over SHA-384.
  key_storage:
    0:
      id: in_data
      doc: The key, if this is one, is in the data of the entry.
    1:
      id: ecdsa_peripheral
      -orig-id: ESP_SECURE_CERT_TLV_FLAG_KEY_ECDSA_PERIPHERAL
      doc: The key is in an eFuse block that only the ECDSA peripheral can read.
  hmac_use:
    0:
      id: none
      doc: Nothing.
    1:
      id: key_derivation
      -orig-id: ESP_SECURE_CERT_TLV_FLAG_HMAC_ECDSA_KEY_DERIVATION
      doc: The ECDSA key is derived from an eFuse key. Since component version 2.1.0.
    2:
      id: encryption
      -orig-id: ESP_SECURE_CERT_TLV_FLAG_HMAC_ENCRYPTION
      doc: The data are encrypted with AES-256-GCM under a key made from an eFuse key.
