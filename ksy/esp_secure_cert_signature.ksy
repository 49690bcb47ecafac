meta:
  id: esp_secure_cert_signature
  title: Espressif esp_secure_cert partition, data of a signature entry
  license: Apache-2.0
  ks-version: '0.11'
  endian: le
doc: |
  What an entry of type 8 (signature block) of an `esp_secure_cert` partition in the TLV
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
doc-ref:
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/srcs/esp_secure_cert_signature_verify.c
  - https://github.com/espressif/esptool/blob/bb72741ff4fadb2c6958564140e755b44288af32/espsecure/__init__.py
  - https://github.com/espressif/esp-idf/blob/16abaf069ed150c374d512b4376d5e930eb477b7/components/esp_rom/esp32c3/include/esp32c3/rom/secure_boot.h
instances:
  header:
    pos: 0
    type: header
    if: _io.size >= 16
    doc: Which algorithm, and what was signed. Absent in a stream that is too short for it.
  len_number:
    value: 'header.algorithm == 1 ? 24 : header.algorithm == 2 ? 32 : header.algorithm == 3 ? 48 : 0'
    if: _io.size >= 16
    doc: Length of a number of the curve in bytes; 0 where the algorithm is not ECDSA.
  rsa:
    pos: 16
    type: rsa_body
    if: _io.size >= 1232 and header.algorithm == 0
    doc: The body of an RSA block.
  ecdsa:
    pos: 16
    type: ecdsa_body(len_number)
    if: _io.size >= 16 and len_number != 0 and _io.size >= 17 + 4 * len_number
    doc: The body of an ECDSA block.
types:
  header:
    -orig-id: esp_secure_cert_signature_t
    doc: The 16 bytes before the body.
    seq:
      - id: version
        type: u1
        -orig-id: version
        doc: 1. The firmware refuses any other.
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
        doc: |
          Kind of the signature, see `algorithm_name`. The firmware does not read it: its
          build fixes the algorithm.
      - id: reserved2
        size: 3
        -orig-id: reserved2
        doc: Zero.
    instances:
      algorithm_name:
        value: algorithm
        enum: signature_algorithm
        doc: The algorithm by name.
  rsa_body:
    -orig-id: ets_secure_boot_sig_block_t
    doc: |
      A whole signature block of secure boot v2, 1216 bytes. The digest that eFuses hold of
      the key is the SHA-256 of the 776 bytes from `n` to `m_prime`.
    seq:
      - id: magic
        type: u1
        -orig-id: magic_byte
        doc: 0xe7.
      - id: version
        type: u1
        -orig-id: version
        doc: 2, for RSA.
      - id: reserved
        size: 2
        doc: Zero.
      - id: digest
        size: 32
        -orig-id: image_digest
        doc: SHA-256 of the signed bytes.
      - id: n
        size: 384
        -orig-id: key.n
        doc: Modulus of the RSA key.
      - id: e
        type: u4
        -orig-id: key.e
        doc: Public exponent of the RSA key.
      - id: rinv
        size: 384
        -orig-id: key.rinv
        doc: 2^6144 modulo n, with which the RSA peripheral computes.
      - id: m_prime
        type: u4
        -orig-id: key.mdash
        doc: The negative inverse of n modulo 2^32, with which the RSA peripheral computes.
      - id: signature
        size: 384
        -orig-id: signature
        doc: RSA-PSS with SHA-256 and a salt of 32 bytes.
      - id: crc
        type: u4
        -orig-id: block_crc
        doc: CRC-32, started with 0 (`zlib.crc32` in Python), of the 1196 bytes before it.
      - id: padding
        size: 16
        -orig-id: _padding
        doc: Zero.
  ecdsa_body:
    -orig-id: esp_secure_cert_signature_t.ecdsa
    doc: |
      Public key and signature on a curve. The digest that eFuses hold of the key is the
      SHA-256 of the curve's number and the point, with zeros up to 65 bytes for P-192.
    params:
      - id: len_number
        type: u1
        doc: Length of a number of the curve in bytes.
    seq:
      - id: curve
        type: u1
        -orig-id: curve_id
        doc: Number of the curve, the same as the header's `algorithm`.
      - id: x
        size: len_number
        -orig-id: pubkey_point
        doc: First coordinate of the public key.
      - id: y
        size: len_number
        -orig-id: pubkey_point
        doc: Second coordinate of the public key.
      - id: r
        size: len_number
        -orig-id: signature
        doc: First number of the signature.
      - id: s
        size: len_number
        -orig-id: signature
        doc: Second number of the signature.
enums:
  signature_algorithm:
    0:
      id: rsa_3072
      -orig-id: RSA3072_ALGORITHM
      doc: RSA-PSS with 3072 bits over SHA-256.
    1:
      id: ecdsa_p192
      doc: ECDSA on P-192 over SHA-256. No tool up to 2.6.1 can write it.
    2:
      id: ecdsa_p256
      doc: ECDSA on P-256 over SHA-256.
    3:
      id: ecdsa_p384
      doc: ECDSA on P-384 over SHA-384.
