meta:
  id: esp_ds_block
  title: Espressif Digital Signature peripheral, decrypted key parameters
  license: Apache-2.0
  ks-version: '0.11'
  endian: le
doc: |
  The plaintext of the ciphertext "C", in which the flash partition `esp_secure_cert` of
  Espressif's ESP32 family holds an RSA private key for the Digital Signature (DS)
  peripheral: three large numbers, their digest, and the constants of a Montgomery
  multiplication. The firmware never sees these bytes, only the peripheral does.

  All numbers are little-endian. The large ones have the length of the largest key of
  the chip: 384 bytes on the ESP32-C3, C5, C6, H2 and H21 (1200 bytes in all), 512 bytes on
  the ESP32-S2, S3, P4 and S31 (1584 bytes in all). A smaller key leaves zero bytes at the
  high end of each of them.

  C is encrypted with AES-256-CBC and the IV that is stored beside it; there is no
  padding but the eight bytes `beta`, which are part of this layout. The AES key is the
  HMAC-SHA256 of 32 bytes 0xff under the 32-byte key in the eFuse block that the
  partition names.

  The digest is not verified here. Its input is not in the order of this layout: Y, M
  and Rb as they are stored, then M' and L, then the IV.

  To make a sample: `configure_esp_secure_cert.py --private-key key.pem --device-cert
  dev.pem --target_chip esp32c3 --configure_ds --efuse_key_id 1 --skip_flash`, then decrypt
  C (from byte 20 of the entry of type 3) with the HMAC key that the tool has made up.
doc-ref:
  - https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/esp_security/include/esp_ds.h
  - https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/esp_hal_security/esp32c3/include/hal/ds_ll.h
  - https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/esp_rom/esp32c3/include/esp32c3/rom/digital_signature.h
  - https://github.com/espressif/esp_secure_cert_mgr/blob/2296511a29dd3d6f0c6633fac683c4b67eba409c/tools/esp_secure_cert/configure_ds.py
params:
  - id: len_number
    type: u2
    doc: Length of each of the three large numbers, 384 or 512.
seq:
  - id: private_exponent
    size: len_number
    -orig-id: Y
    doc: The private exponent d.
  - id: modulus
    size: len_number
    -orig-id: M
    doc: The modulus n.
  - id: r_squared
    size: len_number
    -orig-id: Rb
    doc: 2 to the power of twice the modulus's length in bits, modulo the modulus.
  - id: box
    type: box
    doc: The digest and the small numbers.
types:
  box:
    -orig-id: DS_C_BOX_BASE
    doc: The last 48 bytes, which have a place of their own in the peripheral.
    seq:
      - id: digest
        size: 32
        -orig-id: MD
        doc: SHA-256 of Y, M, Rb, M', L and the IV.
      - id: m_prime
        type: u4
        -orig-id: M_prime
        doc: The negative inverse of the modulus, modulo 2 to the power of 32.
      - id: length
        type: u4
        -orig-id: length
        doc: Length of the key in 32-bit words, less one. The peripheral goes by this one.
      - id: beta
        size: 8
        -orig-id: beta
        doc: Eight bytes 0x08.
