"""The catalogue of findings: every code with its meaning. docs/findings.md is made from it.

A row states what the code means, how to mend it, and the source of the fact behind it. SCM is
espressif/esp_secure_cert_mgr at 2296511 (v2.9.3), IDF espressif/esp-idf at 102122904ad. What was
seen is what the unmodified reader of that component did, compiled for a host and run on images.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ERROR: Final = "error"
WARNING: Final = "warning"
INFO: Final = "info"

AS_STORED: Final = "it is taken as it is stored"


class Kind(NamedTuple):
    """A code of the catalogue.

    `severity` is what `verify` says, `migration` what `migrate` says where that differs.
    `hint` says what to do, `accepted` what `migrate --accept` of the code gives up; it is None
    where accepting makes no sense: nothing is refused, or the result could not be right.
    """

    code: str
    severity: str
    meaning: str
    hint: str
    source: str
    accepted: str | None = None
    migration: str | None = None


_RFC5280: Final = "RFC 5280"
_TLV_READ: Final = "SCM, esp_secure_cert_tlv_read.c"
_TLV_WRITE: Final = "SCM, esp_secure_cert_tlv_write.c"
_SIGNATURE: Final = "SCM, esp_secure_cert_signature_verify.c"
_LEGACY_READ: Final = "SCM, esp_secure_cert_read.c"
_NVS: Final = "IDF, components/nvs_flash/src"
_DS: Final = "IDF, components/esp_security/include/esp_ds.h"
_CAPS: Final = "IDF, components/soc/<chip>/include/soc/soc_caps.h"
_EFUSE: Final = "IDF, components/efuse/<chip>/include/esp_efuse_chip.h"

_STRUCTURE: Final = (
    Kind(
        "item-crc",
        ERROR,
        "The checksum that covers an item does not match, or the image's end cuts the item.",
        "read the partition again; if the damage is in flash, the item is lost",
        f"{_TLV_READ}, {_LEGACY_READ}: firmware returns no item whose CRC is wrong",
        "the damaged item is left out",
    ),
    Kind(
        "trailing-data",
        ERROR,
        "Bytes that are not erased lie where no item reaches; firmware never looks at them.",
        "look at it with `espcert inspect --map --show-secrets`",
        f"{_TLV_READ}: the walk ends at the first wrong magic; {_TLV_WRITE}: appending needs 0xff",
        "the bytes that belong to no item are left out",
    ),
    Kind(
        "duplicate-entry",
        ERROR,
        "Two entries have the same type and subtype; builds of firmware differ in which they read.",
        "look at both; firmware reads the first, with legacy support the last",
        f"{_TLV_READ}, {_LEGACY_READ}",
        "only the first entry is kept",
    ),
    Kind(
        "label-contradiction",
        ERROR,
        "Firmware reads no partition of this layout under the label that was given.",
        "leave --label out, or check which partition this is",
        f"{_LEGACY_READ}, esp_secure_cert_get_partition",
        "the bytes decide, not the label",
    ),
    Kind(
        "other-data",
        WARNING,
        "The NVS partition holds entries that are no credentials; a TLV partition cannot.",
        "the application that wrote them must store them elsewhere",
        f"{_LEGACY_READ}: only the keys of the credentials are read",
        "the other NVS entries are left out",
        ERROR,
    ),
    Kind(
        "nvs-damage",
        ERROR,
        "Pages or entries of the NVS log are damaged, or the firmware would not mount it.",
        "read the partition again; compare the items with what was provisioned",
        f"{_NVS}: nvs_page.cpp, nvs_pagemanager.cpp, nvs_storage.cpp",
        "what the firmware would still read is taken, the rest is left out",
    ),
    Kind(
        "nvs-repair",
        INFO,
        "A power loss left something that the firmware repairs when it mounts the partition.",
        "nothing to do: the values read here are those after the repair",
        f"{_NVS}: Page::mLoadEntryTable, PageManager::load, Storage::init",
    ),
    Kind(
        "nvs-old-key",
        WARNING,
        "An erased NVS entry still holds the bytes of a private key.",
        "migrate the partition, or erase it and provision it anew, if the old key still counts",
        f"{_NVS}: an erased item changes its state bits only",
    ),
    Kind(
        "nvs-old-value",
        INFO,
        "Erased NVS entries still hold old values of a credential.",
        "nothing to do: firmware does not read them",
        f"{_NVS}: an erased item changes its state bits only",
    ),
    Kind(
        "files-not-taken",
        WARNING,
        "A PEM directory holds files that are not taken: what a file is for is never guessed.",
        "give the files the names of docs/csv-and-pem.md, or leave them as they are",
        "espcert itself",
    ),
    Kind(
        "entry-derails-walk",
        ERROR,
        "An entry is so long that the firmware's 16-bit step over it loops or lands inside it.",
        "shorten the entry to 65504 bytes; nothing behind it can be read on the device",
        f"{_TLV_READ}, esp_secure_cert_get_tlv_total_length; seen to loop in 2.2.0 to 2.9.3",
    ),
    Kind(
        "offset-wraps",
        ERROR,
        "An entry lies behind the first 64 KiB, which the firmware's 16-bit offset cannot reach.",
        "store less; firmware does not find this entry",
        f"{_TLV_READ}, esp_secure_cert_find_tlv; seen in 2.9.3",
    ),
    Kind(
        "area-overrun",
        WARNING,
        "An item of a cust_flash partition is longer than its area and goes on into the next.",
        "nothing to do if all items are intact: firmware reads it; a TLV partition has no areas",
        "SCM, private_include/esp_secure_cert_config.h; esp_secure_cert_read.c",
    ),
    Kind(
        "no-end-gap",
        ERROR,
        "The last entry ends at the partition's end: the firmware's walk reads on behind it.",
        "give the partition a larger size, 16 bytes at least must stay erased",
        f"{_TLV_READ}, esp_secure_cert_find_tlv; seen in 2.9.3",
    ),
    Kind(
        "end-marker",
        INFO,
        "ff ff 00 00 lies behind the last entry, where appending on the device needs erased flash.",
        "it blocks appending entries on the device; migrate makes it 0xff",
        f"esp-secure-cert-tool 2.2.0 to 2.3.7; {_TLV_WRITE}",
    ),
    Kind(
        "reserved-bytes",
        INFO,
        "Reserved bytes or padding are not as today's writers leave them.",
        "they hold nothing; migrate makes them zeros where it writes the entries anew",
        "SCM, esp_secure_cert_tlv_private.h",
    ),
    Kind(
        "reserved-payload",
        INFO,
        "Reserved bytes of a DS context or a security config are not zero.",
        "nothing to do: they are carried over as they are",
        "IDF v5.5, esp_ds_data_ctx_t; SCM, esp_secure_cert_tlv_private.h",
    ),
    Kind(
        "unknown-flags",
        WARNING,
        "The flags of an entry have bits that no released firmware knows.",
        "check which software wrote the entry; firmware reads it as plain data",
        "SCM, esp_secure_cert_tlv_private.h, ESP_SECURE_CERT_IS_TLV_ENCRYPTED and its neighbours",
    ),
    Kind(
        "contradicting-flags",
        ERROR,
        "The flags name two protections of which one item can have only one.",
        "provision the key anew; firmware reports one kind of key and reads the other",
        f"{_TLV_READ}; seen in 2.9.3 with flags 0x88",
        AS_STORED,
    ),
    Kind(
        "unknown-entry",
        INFO,
        "The entry's type has no meaning in any release; firmware steps over it.",
        "nothing to do, if an application of yours wrote it",
        "SCM, esp_secure_cert_tlv_config.h",
    ),
    Kind(
        "missing-device-cert",
        WARNING,
        "The partition holds no intact device certificate.",
        "`migrate --device-cert` supplies it; right where firmware embeds it",
        "IDF v4.4, examples/protocols/mqtt/ssl_ds: firmware may embed it",
    ),
    Kind(
        "missing-ca-cert",
        WARNING,
        "The partition holds no intact CA certificate.",
        "`migrate --ca-cert` supplies it; right where firmware embeds it or needs none",
        f"{_TLV_READ}, esp_secure_cert_get_ca_cert",
    ),
    Kind(
        "missing-key",
        WARNING,
        "The partition holds no private key and no DS material.",
        "right only where the key lives elsewhere",
        f"{_TLV_READ}, esp_secure_cert_get_priv_key",
    ),
    Kind(
        "pem-without-nul",
        WARNING,
        "A PEM text lacks the trailing NUL by which mbedTLS tells PEM from DER.",
        "migrate adds it; else the application must pass a copy with a NUL",
        "mbedTLS, mbedtls_x509_crt_parse and mbedtls_pk_parse_key; "
        "esp-secure-cert-tool 0.9.6 and 0.9.7",
    ),
    Kind(
        "pem-cut-by-nul",
        WARNING,
        "A NUL lies inside a PEM text, where mbedTLS stops reading.",
        "provision it anew without what is behind the NUL, or without the NUL",
        "mbedTLS 3.6, x509_crt.c, mbedtls_x509_crt_parse",
    ),
    Kind(
        "key-misplaced",
        WARNING,
        "An item that is to hold certificates holds a private key, too.",
        "provision the item anew; certificates are not treated as secrets",
        "SCM, docs/format.md",
    ),
    Kind(
        "der-with-nul",
        INFO,
        "A DER structure is followed by a NUL that does not belong to it.",
        "nothing to do: parsers stop at the end of the structure",
        "esp-secure-cert-tool 0.9.0 to 0.9.5",
    ),
)

_FLASH_IMAGE: Final = (
    Kind(
        "table-md5",
        ERROR,
        "The MD5 row of the partition table does not match its rows; firmware refuses the table.",
        "read the flash again; `migrate --partition-only` needs no table",
        "IDF, components/esp_partition/partition.c, load_partitions",
        AS_STORED,
    ),
    Kind(
        "table-row",
        ERROR,
        "A row of the partition table has an offset or a size that no partition has.",
        "read the flash again; `migrate --partition-only` needs no table",
        "IDF, components/partition_table/gen_esp32part.py, ALIGNMENT",
        AS_STORED,
    ),
    Kind(
        "table-overlap",
        ERROR,
        "Two partitions share bytes of flash, or one lies over the table.",
        "check that this is the module's table; writing one partition changes the other",
        "IDF, components/partition_table/gen_esp32part.py, verify",
        AS_STORED,
    ),
    Kind(
        "table-duplicate",
        ERROR,
        "Another row has the label and type under which firmware looks for the credentials.",
        "remove one of the rows: firmware takes the first",
        "SCM, esp_secure_cert_tlv_read.c, esp_secure_cert_map_partition",
        AS_STORED,
    ),
    Kind(
        "table-signed",
        WARNING,
        "Data lies behind the rows of the partition table, as secure boot v1 appends a signature.",
        "a changed table must be signed anew; `migrate --partition-only` needs no table",
        "IDF, components/partition_table/gen_esp32part.py, MAX_PARTITION_LENGTH",
        AS_STORED,
        ERROR,
    ),
)

_CERTIFICATES: Final = (
    Kind(
        "certificate-unreadable",
        ERROR,
        "The bytes are no X.509 certificate.",
        "the module cannot present or use it in TLS; supply the right one",
        _RFC5280,
        AS_STORED,
    ),
    Kind(
        "certificate-expired",
        ERROR,
        "The certificate's validity has ended.",
        "renew the certificate",
        f"{_RFC5280}, 4.1.2.5",
        None,
        WARNING,
    ),
    Kind(
        "device-expires",
        WARNING,
        "The device certificate is valid, but not for as long as was asked for.",
        "renew the certificate before that day",
        f"{_RFC5280}, 4.1.2.5; `espcert fleet --expires-within`",
    ),
    Kind(
        "certificate-not-yet-valid",
        ERROR,
        "The certificate's validity has not begun.",
        "check the clock, and --at",
        f"{_RFC5280}, 4.1.2.5",
        None,
        WARNING,
    ),
    Kind(
        "issuer-missing",
        WARNING,
        "No certificate at hand can be shown to be the device certificate's issuer.",
        "give the issuing CA with --ca; right where the partition holds the server's CA",
        f"{_RFC5280}, 6.1",
    ),
    Kind(
        "not-issued-by-ca",
        ERROR,
        "The device certificate does not lead to a CA certificate that was given with --ca.",
        "check that the file holds the CA of this fleet, with its intermediates",
        f"{_RFC5280}, 6.1",
        AS_STORED,
    ),
    Kind(
        "issuer-signature",
        ERROR,
        "A certificate names its issuer, but that CA's key did not sign it.",
        "a CA with the same name and another key: find the one that issued the certificate",
        f"{_RFC5280}, 6.1.3",
        AS_STORED,
    ),
    Kind(
        "self-signed",
        INFO,
        "The device certificate is signed with its own key; no CA vouches for it.",
        "right only where the server knows each certificate",
        f"{_RFC5280}, 3.2",
    ),
    Kind(
        "issuer-proven",
        INFO,
        "The device certificate was signed with the key of a certificate at hand.",
        "nothing to do",
        f"{_RFC5280}, 6.1",
    ),
    Kind(
        "ca-not-a-ca",
        WARNING,
        "A certificate that issued another one is not marked as a CA that may do so.",
        "issue it anew with basicConstraints CA:TRUE; mbedTLS refuses such chains",
        f"{_RFC5280}, 4.2.1.9",
    ),
    Kind(
        "weak-key",
        WARNING,
        "A certificate's key is shorter than 2048 bits (RSA) or 224 bits (ECDSA).",
        "issue the certificate anew with a longer key",
        "NIST SP 800-131A Rev. 2",
    ),
    Kind(
        "weak-digest",
        WARNING,
        "A certificate is signed over an MD5 or SHA-1 digest.",
        "issue the certificate anew with SHA-256 or better; mbedTLS refuses it by default",
        "NIST SP 800-131A Rev. 2",
    ),
    Kind(
        "key-usage",
        WARNING,
        "The device certificate's extensions forbid its use for TLS client authentication.",
        "issue it with keyUsage digitalSignature and extendedKeyUsage clientAuth",
        f"{_RFC5280}, 4.2.1.3 and 4.2.1.12",
    ),
)

_PRIVATE_KEY: Final = (
    Kind(
        "key-plaintext",
        INFO,
        "The private key lies in the partition in plain text.",
        "right only under flash encryption; who reads the flash has the identity",
        "SCM, docs/format.md",
    ),
    Kind(
        "key-unreadable",
        ERROR,
        "The bytes of the private key are no key.",
        "the module cannot use it in TLS; provision it anew",
        "RFC 5958, RFC 8017, RFC 5915",
        AS_STORED,
    ),
    Kind(
        "key-encrypted",
        WARNING,
        "The private key is under a password, so nothing can be said of it.",
        "give the password with --key-password-file",
        "RFC 5958, RFC 1421",
    ),
    Kind(
        "key-password",
        ERROR,
        "The password that was given does not open the private key.",
        "check the password file; its last line break is no part of the password",
        "RFC 5958, RFC 1421",
        AS_STORED,
    ),
    Kind(
        "key-mismatch",
        ERROR,
        "The private key is not that of the device certificate.",
        "one of the two is another module's: find the pair in the provisioning records",
        "RFC 8446, 4.4.3",
        AS_STORED,
    ),
    Kind(
        "key-inconsistent",
        ERROR,
        "The private key's numbers contradict each other, or a signature made with it does not "
        "verify.",
        "the key is damaged: provision it anew",
        "RFC 8017, 3.2; SEC 1, 3.2.1",
        AS_STORED,
    ),
    Kind(
        "key-not-proven",
        INFO,
        "There is no device certificate to compare the private key with; it is sound by itself.",
        "nothing to do, if firmware embeds the certificate",
        "RFC 8446, 4.4.3",
    ),
    Kind(
        "key-proven",
        INFO,
        "The private key belongs to the device certificate: a signature made with it verifies.",
        "nothing to do",
        "RFC 8446, 4.4.3",
    ),
)

_DS_PERIPHERAL: Final = (
    Kind(
        "ds-incomplete",
        ERROR,
        "Ciphertext, IV or context of a DS key is missing or malformed.",
        "the DS peripheral needs ciphertext, IV and context together",
        _DS,
        "the incomplete DS material is left out",
    ),
    Kind(
        "ds-key-id",
        ERROR,
        "The eFuse key id names no key block of these chips.",
        "the metadata is damaged, or this is no module of this family",
        _EFUSE,
        "the key id is taken as it is stored",
    ),
    Kind(
        "ds-key-size",
        ERROR,
        "The size of the RSA key contradicts the ciphertext, the DS data or the certificate.",
        "the metadata is damaged, or the certificate is another module's",
        _DS,
        "the key size is taken as it is stored",
    ),
    Kind(
        "ds-chip",
        ERROR,
        "The ciphertext has the length of another family of chips, or the chip has no DS.",
        "check --chip; a ciphertext made for the other family cannot work "
        "(esp-secure-cert-tool 2.5.2 to 2.6.1 make the wrong one for the ESP32-C5)",
        f"{_CAPS}, SOC_RSA_MAX_BIT_LEN",
        "the ciphertext is taken as it is stored",
    ),
    Kind(
        "ds-not-proven",
        INFO,
        "Without the HMAC key nobody can look into the DS ciphertext.",
        "give the key with --hmac-key or --efuse",
        _DS,
    ),
    Kind(
        "ds-proven",
        INFO,
        "The DS ciphertext opens with the HMAC key and holds a sound RSA key: that of the device "
        "certificate, where there is one.",
        "nothing to do",
        _DS,
    ),
    Kind(
        "ds-wrong-key",
        ERROR,
        "Nothing in the decrypted DS parameters is as it should be: the HMAC key is another one.",
        "find the HMAC key of this module; its eFuse block must hold the same",
        "SCM, tools/esp_secure_cert/configure_ds.py, calculate_rsa_ds_params",
        AS_STORED,
    ),
    Kind(
        "ds-damaged",
        ERROR,
        "The HMAC key is right, but bytes of the DS ciphertext or of the IV are not.",
        "read the partition again; the DS peripheral refuses the key as it is",
        "SCM, tools/esp_secure_cert/configure_ds.py, calculate_rsa_ds_params",
        AS_STORED,
    ),
    Kind(
        "ds-parameters",
        ERROR,
        "The DS parameters have a right digest, but do not belong together: made wrongly.",
        "make the DS material anew",
        "SCM, tools/esp_secure_cert/configure_ds.py, calculate_rsa_ds_params",
        AS_STORED,
    ),
    Kind(
        "ds-foreign",
        ERROR,
        "The DS ciphertext holds another RSA key than that of the device certificate.",
        "one of the two is another module's: find the pair in the provisioning records",
        "RFC 8446, 4.4.3",
        AS_STORED,
    ),
    Kind(
        "ds-inconsistent",
        ERROR,
        "The private exponent in the DS ciphertext does not belong to its modulus.",
        "make the DS material anew from the private key",
        "RFC 8017, 3.2",
        AS_STORED,
    ),
)

_ECDSA_PERIPHERAL: Final = (
    Kind(
        "leaked-key",
        ERROR,
        "An entry says that its key is held in eFuse, and yet carries it in plain text.",
        "migrate replaces it by the empty entry; the key was readable in flash until then",
        "esp-secure-cert-tool 2.2.0 to 2.6.1; SCM, tlv_format_construct.py, add_private_key",
        AS_STORED,
    ),
    Kind(
        "ecdsa-config-missing",
        ERROR,
        "A key is in the ECDSA peripheral, and no security config names its eFuse block.",
        "provision the SEC_CFG entry; firmware cannot find the key",
        f"{_TLV_READ}, esp_secure_cert_get_priv_key_efuse_id",
        AS_STORED,
    ),
    Kind(
        "ecdsa-entry-missing",
        WARNING,
        "A security config names an eFuse block, and no entry says that a key is held there.",
        "provision an empty PRIV_KEY entry with flags 0x08; firmware does not find the key's type",
        "esp-secure-cert-tool 2.1.6; SCM, esp_secure_cert_get_priv_key_type",
    ),
    Kind(
        "ecdsa-block",
        ERROR,
        "The security config names an eFuse block that is no key block.",
        "the entry holds the block's number (key id + 4), not the key id",
        f"{_EFUSE}, EFUSE_BLK_KEY0",
        AS_STORED,
    ),
    Kind(
        "ecdsa-curve",
        ERROR,
        "The certificate's key is none that an ECDSA peripheral holds (P-192, P-256, P-384).",
        "the certificate is another module's, or the key's flags are wrong",
        "IDF, components/esp_rom/<chip>/include/<chip>/rom/ecdsa.h",
        AS_STORED,
    ),
    Kind(
        "ecdsa-chip",
        ERROR,
        "The chip has no ECDSA peripheral, or none for this curve.",
        "check --chip",
        _CAPS,
        AS_STORED,
    ),
    Kind(
        "ecdsa-p384-block",
        WARNING,
        "A P-384 key fills two eFuse blocks, and the security config names only one.",
        "firmware must be told the high block; esp-secure-cert-tool writes only the low one",
        "IDF, components/esp_hal_security/include/hal/ecdsa_types.h, HAL_ECDSA_COMBINE_KEY_BLOCKS",
    ),
    Kind(
        "ecdsa-not-proven",
        INFO,
        "The key is in eFuse, where it cannot be read: only the device can prove it.",
        "give an eFuse dump with --efuse if it still shows the key",
        f"{_CAPS}, SOC_ECDSA_SUPPORTED",
    ),
    Kind(
        "ecdsa-proven",
        INFO,
        "The key in the eFuse block is that of the device certificate.",
        "read-protect the block: a key that a dump shows is no secret",
        "esptool, espefuse, fields.py",
    ),
    Kind(
        "ecdsa-foreign",
        ERROR,
        "The key in the eFuse block is another one than that of the device certificate.",
        "one of the two is another module's: find the pair in the provisioning records",
        "RFC 8446, 4.4.3",
        AS_STORED,
    ),
)

_HMAC: Final = (
    Kind(
        "hmac-chip",
        ERROR,
        "The chip has no HMAC peripheral, without which the key cannot be opened or derived.",
        "check --chip",
        f"{_CAPS}, SOC_HMAC_SUPPORTED",
        AS_STORED,
    ),
    Kind(
        "hmac-versions",
        WARNING,
        "The entry is encrypted under HMAC, which no release both writes and reads.",
        "2.0.6 to 2.6.1 read it, 2.7.0 to 2.9.3 fail on it: test it with your firmware",
        "SCM 1de25d5, esp_secure_cert_hmac_based_decryption; seen in 2.2.0 to 2.9.3",
    ),
    Kind(
        "hmac-not-proven",
        INFO,
        "Without the HMAC key nobody can open or derive the private key.",
        "give the key with --hmac-key or --efuse",
        _TLV_WRITE,
    ),
    Kind(
        "hmac-proven",
        INFO,
        "With the HMAC key the entry opens, or the key is derived, and fits the certificate.",
        "nothing to do",
        _TLV_WRITE,
    ),
    Kind(
        "hmac-not-opened",
        ERROR,
        "AES-GCM does not open the entry: the HMAC key is another one, or the entry was altered.",
        "find the HMAC key of this module; GCM cannot tell the two apart",
        f"{_TLV_WRITE}, esp_secure_cert_encrypt_with_hmac",
        AS_STORED,
    ),
    Kind(
        "salt-missing",
        ERROR,
        "A key is derived by HMAC, and the salt of its subtype is not there.",
        "firmware 2.2.1 and later resets the chip when it looks for the salt; provision it anew",
        "SCM a0e2dfb, esp_secure_cert_gen_ecdsa_key; seen in 2.9.3",
        AS_STORED,
    ),
    Kind(
        "derived-out-of-range",
        ERROR,
        "The number derived from HMAC key and salt is no P-256 private key.",
        "the HMAC key is another one, or the salt was altered",
        f"{_TLV_WRITE}, ESP_SECURE_CERT_ECDSA_KEY_GEN_MAX_TRIES",
        AS_STORED,
    ),
    Kind(
        "derived-foreign",
        ERROR,
        "The derived key is another one than that of the device certificate.",
        "the HMAC key, the salt or the certificate is another module's",
        "SCM, esp_secure_cert_crypto.c, esp_pbkdf2_hmac_sha256",
        AS_STORED,
    ),
    Kind(
        "derived-carries-data",
        WARNING,
        "An entry says that its key is derived by HMAC, and yet carries bytes.",
        "look at them with `espcert inspect --extract`; firmware ignores them",
        f"{_TLV_READ}, esp_secure_cert_tlv_get_addr",
    ),
)

_EFUSES: Final = (
    Kind(
        "efuse-key-unreadable",
        INFO,
        "The eFuse block of the key is read-protected or all zero in the dump: not readable.",
        "nothing to do if --hmac-key gives the key; else give it, if it was kept",
        _EFUSE,
    ),
    Kind(
        "efuse-key-missing",
        ERROR,
        "The dump has no key block that holds the key that the partition needs, or it is blank.",
        "check that the dump is this module's",
        f"{_EFUSE}; {_TLV_READ}",
        AS_STORED,
    ),
    Kind(
        "efuse-purpose",
        ERROR,
        "The eFuse block of the key is burned for another purpose; the peripheral refuses it.",
        "check that the dump is this module's; a purpose cannot be burned anew",
        f"{_EFUSE}, esp_efuse_purpose_t",
        AS_STORED,
    ),
    Kind(
        "efuse-key-differs",
        ERROR,
        "The eFuse dump holds another key than the one given with --hmac-key.",
        "one of the two is another module's",
        _EFUSE,
        AS_STORED,
    ),
)

_SEALS: Final = (
    Kind(
        "integrity-valid",
        INFO,
        "The integrity entry is the SHA-256 of all bytes before it.",
        "nothing to do",
        f"{_TLV_READ}, esp_secure_cert_verify_partition_integrity",
    ),
    Kind(
        "integrity-mismatch",
        ERROR,
        "The bytes before the integrity entry were altered after it was written.",
        "compare the items with what was provisioned",
        f"{_TLV_READ}, esp_secure_cert_verify_partition_integrity",
        "the altered bytes are taken as they are stored",
    ),
    Kind(
        "integrity-malformed",
        ERROR,
        "The integrity entry has another length than a SHA-256 digest.",
        "provision the partition anew",
        f"{_TLV_READ}, esp_secure_cert_verify_partition_integrity",
        AS_STORED,
    ),
    Kind(
        "integrity-several",
        INFO,
        "There are several integrity entries; firmware checks the last one in flash.",
        "nothing to do: the last one covers the others",
        f"{_TLV_READ}, esp_secure_cert_verify_partition_integrity; seen in 2.9.3",
    ),
    Kind(
        "integrity-uncovered",
        WARNING,
        "Entries lie behind the last integrity entry, which does not protect them.",
        "append an integrity entry behind them, if they are to be protected",
        f"{_TLV_READ}, esp_secure_cert_verify_partition_integrity; seen in 2.9.3",
    ),
    Kind(
        "signature-valid",
        INFO,
        "The signature block verifies over all bytes before the first one.",
        "compare the key's digest with that in the module's eFuses",
        _SIGNATURE,
    ),
    Kind(
        "signature-not-proven",
        WARNING,
        "The cryptography library of this machine lacks the curve (P-192) of the signature.",
        "verify it where OpenSSL has the curve, or with espsecure",
        "espcert itself",
    ),
    Kind(
        "signature-malformed",
        ERROR,
        "The signature block has a length, version or scheme that no release reads.",
        "sign the partition anew",
        f"{_SIGNATURE}, esp_secure_cert_signature_t",
        AS_STORED,
    ),
    Kind(
        "signature-unreleased",
        ERROR,
        "The signature block has the form of 1225 bytes, which was never released.",
        "sign the partition anew with a released tool",
        "SCM c2da195 and bc8f77f: header of 9 bytes, type 7, changed before 2.8.0",
        AS_STORED,
    ),
    Kind(
        "signature-crc",
        ERROR,
        "The CRC inside an RSA signature block does not match.",
        "sign the partition anew; firmware refuses the block",
        "esptool, espsecure, generate_rsa_signature_block",
        AS_STORED,
    ),
    Kind(
        "signature-digest",
        ERROR,
        "The signature block was made over other bytes than those before it.",
        "the partition was altered after signing, or signed elsewhere: sign it anew",
        _SIGNATURE,
        AS_STORED,
    ),
    Kind(
        "signature-invalid",
        ERROR,
        "The signature does not verify with the public key in its block.",
        "the block or the bytes before it were altered: sign the partition anew",
        _SIGNATURE,
        AS_STORED,
    ),
    Kind(
        "signature-unreachable",
        ERROR,
        "A signature block lies behind the end of the entries, or there is none of subtype 0: "
        "firmware never looks at it.",
        "sign it so that the blocks follow the entries, subtype 0 first; tool 2.6.1 puts them "
        "behind the padding",
        "SCM, tools/configure_esp_secure_cert.py; seen with tool 2.6.1",
        AS_STORED,
    ),
    Kind(
        "signature-order",
        ERROR,
        "The signature comes first, so that it covers none of the entries behind it.",
        "flash esp_secure_cert_signed.bin; tools up to 2.6.1 write a wrong file beside it",
        "SCM, tools/configure_esp_secure_cert.py; seen with tool 2.6.1",
        AS_STORED,
    ),
    Kind(
        "signature-subtypes",
        WARNING,
        "The signature blocks do not have the subtypes 0, 1, 2 in this order.",
        "firmware reads subtypes 0 to 2 only, and hashes up to the block of subtype 0",
        _SIGNATURE,
    ),
    Kind(
        "signature-uncovered",
        WARNING,
        "Entries other than seals lie behind the signature, which does not protect them.",
        "sign the partition anew if they were meant to be signed",
        _SIGNATURE,
    ),
    Kind(
        "signature-foreign",
        ERROR,
        "A signature block was made with another key than the one given with --signing-key.",
        "check which key the module's eFuses trust",
        _SIGNATURE,
    ),
    Kind(
        "signature-missing",
        ERROR,
        "A signing key was given, and no signature block that firmware reaches is there.",
        "sign the partition",
        _SIGNATURE,
    ),
)

_FIRMWARE: Final = (
    Kind(
        "firmware-unread",
        ERROR,
        "The firmware component of the version given does not read something of the partition.",
        "change the component's version or build; `migrate` turns old layouts into current TLV",
        "SCM, Changelog.md and the commits named in the finding",
    ),
    Kind(
        "firmware-misread",
        ERROR,
        "The firmware component of the version given reads something of the partition wrongly.",
        "change the component's version or build, or migrate the partition to a form that it reads",
        "SCM, Changelog.md and the commits named in the finding",
    ),
    Kind(
        "firmware-unsure",
        WARNING,
        "Whether the firmware component reads the partition depends on how it was built.",
        "check the build's configuration",
        "SCM, Kconfig",
    ),
    Kind(
        "firmware-ignores",
        INFO,
        "The firmware component of the version given steps over an entry that later ones use.",
        "nothing to do, if firmware does without it",
        "SCM, Changelog.md and the commits named in the finding",
    ),
)

_CONVERSION: Final = (
    Kind(
        "cust-flash-no-ca",
        WARNING,
        "A cust_flash partition was written without a CA certificate.",
        "firmware then returns an error for the CA certificate, and must not ask for it",
        f"{_LEGACY_READ}: the CRC of no bytes is 0xFFFFFFFF, the stored one 0",
    ),
    Kind(
        "left-behind",
        WARNING,
        "The source holds data behind the end of the new partition, which flashing it would leave.",
        "give --size N, the size of the module's partition",
        "espcert itself",
    ),
)

_MIGRATION: Final = (
    Kind(
        "signature-lost",
        ERROR,
        "`migrate` must write the entries anew, and the signature would not verify after that.",
        "sign the new image with the signing key",
        _SIGNATURE,
        "the signature blocks are left out",
    ),
    Kind(
        "does-not-fit",
        ERROR,
        "The items do not fit into the partition, or the layout asked for cannot hold one of them.",
        "take a larger --size or another layout; TLV holds every item, up to 64 KiB less 16 bytes",
        _TLV_READ,
    ),
    Kind(
        "nothing-left",
        ERROR,
        "No item would be left to write.",
        "nothing of the source could be carried over",
        "espcert itself",
    ),
)

_FLEET: Final = (
    Kind(
        "shared-private-key",
        ERROR,
        "Modules of a fleet have the same private key: each can pass itself off as the other.",
        "find out which of them is the original, or whether one was dumped twice; replace the keys",
        "RFC 4210, 4.3: a key pair is its holder's alone",
    ),
    Kind(
        "shared-device-cert",
        ERROR,
        "Modules of a fleet have the same device certificate: a server takes them for one.",
        "find out whether one module was dumped twice; else give each its own certificate",
        _RFC5280,
    ),
    Kind(
        "shared-serial",
        WARNING,
        "One issuer has given two certificates the same serial number: revoking one revokes both.",
        "tell the issuing CA; let it issue one of them anew",
        f"{_RFC5280}, 4.1.2.2",
    ),
    Kind(
        "shared-ds-block",
        ERROR,
        "Modules of a fleet hold the same DS ciphertext: the same RSA key, under one HMAC key.",
        "the block works only in the module whose HMAC key it was made with: provision the other",
        _DS,
    ),
    Kind(
        "shared-hmac-key-id",
        ERROR,
        "Modules of a fleet name the same eFuse key for the same ciphertext: if both work, "
        "both have the same HMAC key.",
        "compare their eFuses; an HMAC key should be a module's alone",
        _DS,
    ),
)

SUBJECTS: Final = {
    "Structure": _STRUCTURE,
    "Flash image": _FLASH_IMAGE,
    "Certificates": _CERTIFICATES,
    "Private key": _PRIVATE_KEY,
    "RSA key in the DS peripheral": _DS_PERIPHERAL,
    "Key in the ECDSA peripheral": _ECDSA_PERIPHERAL,
    "Key under HMAC": _HMAC,
    "eFuses": _EFUSES,
    "Seals": _SEALS,
    "Firmware": _FIRMWARE,
    "Migration": _MIGRATION,
    "Conversion": _CONVERSION,
    "Fleet": _FLEET,
}
"""The rows by subject, in the order of docs/findings.md."""

CATALOGUE: Final = {kind.code: kind for rows in SUBJECTS.values() for kind in rows}

ACCEPTABLE: Final = tuple(code for code, kind in CATALOGUE.items() if kind.accepted)
"""Codes that `migrate --accept` takes."""
