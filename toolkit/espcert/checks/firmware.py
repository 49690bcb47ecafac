"""What a given version of esp_secure_cert_mgr does not read, or reads wrongly, of a partition.

All that is known stands in one table, FEATURES: which part of a partition is concerned, and in
which versions what happens to it. SCM is espressif/esp_secure_cert_mgr. Sources: its history up to
2296511 (2.9.3), and what the unmodified readers of 2.2.0, 2.3.1, 2.4.1, 2.6.1, 2.7.0 and 2.9.3
did, compiled for a host and run on images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from espcert.checks import firmware_subjects as of
from espcert.checks.context import Context
from espcert.checks.firmware_subjects import Concerned, Subject
from espcert.findings import Finding
from espcert.firmware import FIRST, LATEST, RELEASES, Version, version_text
from espcert_formats import items as kinds

UNREAD: Final = "firmware-unread"
MISREAD: Final = "firmware-misread"
UNSURE: Final = "firmware-unsure"
IGNORES: Final = "firmware-ignores"

MAX_NAMED: Final = 8
"""Findings on one row of the table: hostile images can hold thousands of equal entries."""


class Verdict(NamedTuple):
    """What versions from `since` on, up to but without `until`, do (None: to the latest known).

    `does` completes "esp_secure_cert_mgr 2.3.1 ...", `right` says which versions do otherwise;
    `source` names the commits of SCM that tell.
    """

    since: Version
    until: Version | None
    code: str
    does: str
    right: str
    source: str

    def covers(self, version: Version) -> bool:
        """Whether it speaks of this version."""
        return self.since <= version and (self.until is None or version < self.until)


class Feature(NamedTuple):
    """Something that a partition can have, and what versions do with it.

    `concerned` finds it. `hidden_too` says that entries of a subtype other than 0 are meant even
    in versions that do not see them at all.
    """

    name: str
    concerned: Concerned
    verdicts: tuple[Verdict, ...]
    hidden_too: bool = False


def check(context: Context) -> Iterator[Finding]:
    """Findings on what the firmware that was named does with the partition."""
    version = context.firmware
    if version is None:
        return
    if version > LATEST:
        message = (
            f"firmware: what is known of esp_secure_cert_mgr ends at {version_text(LATEST)}; "
            f"{version_text(version)} is judged like it"
        )
        yield Finding(UNSURE, message)
    elif version not in RELEASES:
        message = (
            f"firmware: {version_text(version)} is no release of esp_secure_cert_mgr; it is judged "
            "like the release before it"
        )
        yield Finding(UNSURE, message)
    for feature in FEATURES:
        verdicts = [verdict for verdict in feature.verdicts if verdict.covers(version)]
        if verdicts:
            subjects = list(_visible(feature, context, version))
            for verdict in verdicts:
                yield from _findings(verdict, version, subjects)


def _visible(feature: Feature, context: Context, version: Version) -> Iterator[Subject]:
    for subject in feature.concerned(context):
        if feature.hidden_too or not subject.subtype or version >= _SUBTYPES:
            yield subject


def _findings(verdict: Verdict, version: Version, subjects: list[Subject]) -> Iterator[Finding]:
    """One finding for each subject, the last one named also for all that follow."""
    more = len(subjects) - MAX_NAMED
    for number, subject in enumerate(subjects[:MAX_NAMED], 1):
        others = f" (and {more} more like it)" if number == MAX_NAMED and more > 0 else ""
        message = (
            f"{subject.name}{others}: esp_secure_cert_mgr {version_text(version)} {verdict.does}; "
            f"{verdict.right} (SCM {verdict.source})"
        )
        yield Finding(verdict.code, message, subject.item, subject.offset)


# --- The table ---------------------------------------------------------------------------------

_DYNAMIC: Final = (1, 0, 3)
_TLV: Final = (2, 0, 0)
_ENCRYPTED: Final = (2, 0, 6)
_DERIVED: Final = (2, 1, 0)
_SALT: Final = (2, 2, 1)
_PERIPHERAL: Final = (2, 3, 0)
_KEY_TYPE: Final = (2, 3, 1)
_SUBTYPES: Final = (2, 4, 0)
"""Before, type and subtype are one number of 16 bits, by which entries of subtype 0 are found."""
_FIRST_AGAIN: Final = (2, 4, 1)
_MATTER_NAMES: Final = (2, 5, 0)
_TEE_NUMBER: Final = (2, 6, 0)
_PSA: Final = (2, 7, 0)
_SIGNED: Final = (2, 8, 0)
_WRITE: Final = (2, 9, 0)
_INTEGRITY: Final = (2, 9, 2)
_DS_LENGTH: Final = (2, 9, 3)

_LEGACY_BUILD: Final = "a build with CONFIG_ESP_SECURE_CERT_SUPPORT_LEGACY_FORMATS"
_DS_BUILD: Final = "CONFIG_ESP_SECURE_CERT_DS_PERIPHERAL"
_ALWAYS: Final = "so do all versions"

_LEGACY_FEATURES: Final = (
    Feature("tlv", of.layout(of.TLV), (
        Verdict(FIRST, _TLV, UNREAD,
                "reads cust_flash and NVS only", "TLV is read since 2.0.0", "19a1d3d"),
    )),
    Feature("legacy-layout", of.layout(of.CUST_FLASH | of.NVS), (
        Verdict(FIRST, _DYNAMIC, UNSURE,
                "reads the one layout, under the one partition name, that was chosen when it was "
                "built (cust_flash by default)",
                "1.0.3 looks for all of them", "47a4987, 88116fc"),
        Verdict(_TLV, None, UNREAD,
                "does not read this layout in a default build, only in a build with "
                "CONFIG_ESP_SECURE_CERT_SUPPORT_LEGACY_FORMATS",
                "1.0.3 reads it in every build", "19a1d3d, Kconfig"),
    )),
    Feature("swapped-pairs", of.in_layout(of.SWAPPED, *kinds.CERTIFICATES), (
        Verdict(FIRST, _DYNAMIC, MISREAD,
                "takes the length and CRC of the other certificate, so that this one fails",
                "1.0.3 knows that they have changed places under pre_prov", "47a4987, 88116fc"),
    )),
    Feature("cust-flash-ca", of.in_layout(of.CUST_FLASH, kinds.CA_CERT), (
        Verdict(_DYNAMIC, _SUBTYPES, MISREAD,
                "returns the device certificate in its place", "right since 2.4.0", "9b091ee"),
    )),
    Feature("cust-flash-with-ds", of.in_layout(of.CUST_FLASH, kinds.DS_CONTEXT), (
        Verdict(FIRST, None, UNSURE,
                f"finds the metadata only if it was built with {_DS_BUILD}",
                "that is the default on chips with a DS peripheral", "47a4987, Kconfig"),
    )),
    Feature("cust-flash-without-ds", of.cust_flash_without_ds, (
        Verdict(FIRST, None, UNSURE,
                f"finds the metadata only if it was built without {_DS_BUILD}",
                "that is not the default on chips with a DS peripheral", "47a4987, Kconfig"),
    )),
    Feature("cust-flash-ds-longer", of.ds_of_other_chip(of.CUST_FLASH, longer=True), (
        Verdict(FIRST, None, MISREAD,
                "copies the ciphertext over the end of the buffer that it has on this chip",
                _ALWAYS, "2296511, esp_secure_cert_get_ds_ctx"),
    )),
    Feature("cust-flash-ds-shorter", of.ds_of_other_chip(of.CUST_FLASH, longer=False), (
        Verdict(FIRST, None, UNREAD,
                "looks for the IV where it lies on this chip, and finds a wrong CRC",
                _ALWAYS, "2296511, ESP_SECURE_CERT_IV_OFFSET"),
    )),
    Feature("nvs-ds-longer", of.ds_of_other_chip(of.NVS, longer=True), (
        Verdict(FIRST, None, UNREAD,
                "has no room for the ciphertext on this chip, and refuses it",
                _ALWAYS, "2296511, esp_secure_cert_get_ds_ctx"),
    )),
    Feature("nvs-ds-shorter", of.ds_of_other_chip(of.NVS, longer=False), (
        Verdict(FIRST, None, MISREAD,
                "accepts the ciphertext, which is too short for this chip",
                _ALWAYS, "2296511, esp_secure_cert_get_ds_ctx"),
    )),
    Feature("nvs-esp-ds", of.layout(of.ESP_DS), (
        Verdict(FIRST, None, UNREAD,
                "never opens the namespace esp_ds_ns",
                "only the ssl_ds example of ESP-IDF v4.3 and v4.4 does",
                "2296511, esp_secure_cert_get_partition"),
    )),
    Feature("nvs-not-mounted", of.nvs_not_mounted, (
        Verdict(FIRST, None, UNREAD,
                "reads nothing of an NVS partition that does not mount",
                _ALWAYS, "2296511, esp_secure_cert_get_partition"),
    )),
)  # fmt: skip

_ENTRY_FEATURES: Final = (
    Feature("subtypes", of.of_other_subtypes, (
        Verdict(_TLV, _SUBTYPES, UNREAD,
                "takes type and subtype for one number, and finds subtype 0 only",
                "read since 2.4.0", "f29838d"),
    ), hidden_too=True),
    Feature("several-entries", of.later_entries(*of.GETTERS), (
        Verdict(_SUBTYPES, _FIRST_AGAIN, MISREAD,
                "returns this last entry of its kind, not the first of subtype 0",
                "2.4.1 returns the first again, but in legacy builds", "8ace860, 084c107"),
        Verdict(_FIRST_AGAIN, None, UNSURE,
                f"returns this last entry of its kind in {_LEGACY_BUILD}",
                "any other build returns the first of subtype 0", "084c107, 2296511"),
    )),
    Feature("several-ds", of.later_ds, (
        Verdict(_SUBTYPES, _FIRST_AGAIN, MISREAD,
                "takes these last DS data with the DS context of subtype 0",
                "2.4.1 takes both of subtype 0", "8ace860, 084c107"),
    )),
    Feature("no-subtype-0", of.without_subtype_0(*of.GETTERS), (
        Verdict(_FIRST_AGAIN, None, UNSURE,
                "asks for subtype 0 by itself, and there is none",
                f"an application can ask for this subtype, and {_LEGACY_BUILD} returns it",
                "084c107, 2296511"),
    )),
    Feature("ds-no-subtype-0", of.without_subtype_0(kinds.DS_CIPHERTEXT), (
        Verdict(_FIRST_AGAIN, None, UNREAD,
                "uses DS data of subtype 0 only", _ALWAYS,
                "2296511, esp_secure_cert_tlv_get_ds_ctx"),
    )),
    Feature("security-config-no-subtype-0", of.without_subtype_0(kinds.SECURITY_CONFIG), (
        Verdict(_SUBTYPES, None, UNREAD,
                "uses a security config of subtype 0 only", _ALWAYS,
                "2296511, esp_secure_cert_get_priv_key_efuse_id"),
    )),
    Feature("subtype-255", of.of_subtype(255), (
        Verdict(_SUBTYPES, _FIRST_AGAIN, MISREAD,
                "takes subtype 255 as a question for the last entry of the type",
                "2.4.1 asks so with 254", "d25f2af, 4aade4f"),
    )),
    Feature("subtype-254", of.of_subtype(254), (
        Verdict(_FIRST_AGAIN, None, MISREAD,
                "takes subtype 254 as a question for the last entry of the type",
                "2.4.0 asks so with 255", "4aade4f"),
    )),
    Feature("ds-context", of.ds_without_context, (
        Verdict(_TLV, _DS_LENGTH, MISREAD,
                "copies a wrong number of bytes over the heap, because there is no whole "
                "ds_context of 8 bytes",
                "2.9.3 returns an error", "326db5b"),
        Verdict(_DS_LENGTH, None, UNREAD,
                "returns no DS key without a whole ds_context of 8 bytes",
                "before 2.9.3 the heap was overwritten", "326db5b"),
    )),
    Feature("tlv-ds-longer", of.ds_of_other_chip(of.TLV, longer=True), (
        Verdict(_TLV, None, MISREAD,
                "hands out the DS data, which are too long for this chip, without a look at "
                "their length",
                _ALWAYS, "2296511, esp_secure_cert_tlv_get_ds_ctx"),
    )),
    Feature("tlv-ds-shorter", of.ds_of_other_chip(of.TLV, longer=False), (
        Verdict(_TLV, None, MISREAD,
                "hands out the DS data, which are too short for this chip, without a look at "
                "their length",
                _ALWAYS, "2296511, esp_secure_cert_tlv_get_ds_ctx"),
    )),
    Feature("derails-walk", of.anomalies(kinds.ENTRY_DERAILS_WALK), (
        Verdict(_TLV, None, MISREAD,
                "steps over this entry with 16 bits: it loops for ever (65505 to 65520 bytes) or "
                "goes on inside the entry",
                _ALWAYS, "2296511, esp_secure_cert_get_tlv_total_length"),
    ), hidden_too=True),
    Feature("behind-64k", of.anomalies(kinds.OFFSET_WRAPS), (
        Verdict(_TLV, None, UNREAD,
                "counts offsets with 16 bits, and finds neither this entry nor those behind it",
                _ALWAYS, "2296511, esp_secure_cert_find_tlv"),
    ), hidden_too=True),
    Feature("no-end-gap", of.anomalies(kinds.NO_END_GAP), (
        Verdict(_TLV, None, MISREAD,
                "reads on behind the partition's end, because the last entry reaches up to it",
                _ALWAYS, "2296511, esp_secure_cert_find_tlv"),
    )),
)  # fmt: skip

_KEY_FEATURES: Final = (
    Feature("hmac-encrypted", of.hmac_encrypted, (
        Verdict(_TLV, _ENCRYPTED, MISREAD,
                "returns the ciphertext as if it were the value",
                "2.0.6 to 2.6.1 decrypt it", "915c8d3"),
        Verdict(_PSA, None, UNREAD,
                "fails to decrypt it and writes 16 bytes over the end of a buffer",
                "2.0.6 to 2.6.1 decrypt it", "1de25d5"),
    )),
    Feature("hmac-derived", of.derived, (
        Verdict(_TLV, _DERIVED, MISREAD,
                "does not know flag 0x40, and returns the entry's own bytes as the key",
                "keys are derived since 2.1.0", "e48630e"),
    )),
    Feature("derived-with-salt", of.derived_with_salt, (
        Verdict(_DERIVED, _SALT, MISREAD,
                "takes a salt from eFuse, not the salt entry, and derives another key",
                "the salt entry is used since 2.2.1", "e48630e, a0e2dfb"),
        Verdict(_PSA, _WRITE, UNSURE,
                "tells no error in deriving if it was built with mbedTLS 4 (ESP-IDF 6)",
                "right with older mbedTLS, and since 2.9.0", "1de25d5, abde465"),
    )),
    Feature("derived-without-salt", of.derived_without_salt, (
        Verdict(_SALT, None, UNREAD,
                "resets the chip, because there is no salt entry",
                "2.1.0 to 2.2.0 take a salt from eFuse", "a0e2dfb"),
    )),
    Feature("other-derived-without-salt", of.other_derived_without_salt, (
        Verdict(_FIRST_AGAIN, None, UNREAD,
                "resets the chip, because there is no salt entry of this subtype",
                "2.4.0 takes the salt of subtype 0", "94dd841"),
    )),
    Feature("derived-subtype", of.derived_with_other_salt, (
        Verdict(_SUBTYPES, _FIRST_AGAIN, MISREAD,
                "takes the salt of subtype 0 for this key, and resets the chip where there is none",
                "2.4.1 takes the salt of the key's own subtype", "d25f2af, 94dd841"),
    )),
    Feature("derived-elsewhere", of.derived_elsewhere, (
        Verdict(_DERIVED, None, MISREAD,
                "derives a private key and returns it in place of this entry (flag 0x40)",
                "before 2.1.0 the flag means nothing", "e48630e, esp_secure_cert_tlv_get_addr"),
    )),
    Feature("ecdsa-peripheral", of.peripheral, (
        Verdict(_TLV, _PERIPHERAL, MISREAD,
                "does not know flag 0x08, and returns the entry's own bytes as the key",
                "the flag is known since 2.3.0", "28d8f4f"),
        Verdict(_PERIPHERAL, _KEY_TYPE, UNSURE,
                f"tells the kind of key only if it was built without {_DS_BUILD}",
                "2.3.1 tells it in both builds", "28d8f4f, 683b0b1"),
    )),
    Feature("ecdsa-peripheral-legacy-build", of.peripheral, (
        Verdict(_PERIPHERAL, None, UNSURE,
                f"tells neither the kind of key nor its eFuse block in {_LEGACY_BUILD}",
                "any other build does", "28d8f4f, dd9ca96, 2296511"),
    )),
    Feature("ecdsa-peripheral-with-data", of.peripheral_with_data, (
        Verdict(_PERIPHERAL, None, MISREAD,
                "says that the key is in eFuse, and hands out the entry's bytes as a key as well",
                "the entry should be empty", "28d8f4f"),
    )),
    Feature("flags-0x88", of.peripheral_and_encrypted, (
        Verdict(_PERIPHERAL, None, MISREAD,
                "says that the key is in eFuse, and tries to decrypt the entry all the same",
                _ALWAYS, "28d8f4f, esp_secure_cert_get_priv_key_type"),
    )),
)  # fmt: skip

_TYPE_FEATURES: Final = (
    Feature("salt", of.of_kind(kinds.ECDSA_SALT), (
        Verdict(_TLV, _SALT, IGNORES,
                "steps over it", "the salt of derived keys is read since 2.2.1", "a0e2dfb"),
    )),
    Feature("security-config", of.of_kind(kinds.SECURITY_CONFIG), (
        Verdict(_TLV, _PERIPHERAL, IGNORES,
                "steps over it", "the eFuse block in it is read since 2.3.0", "dd9ca96"),
    )),
    Feature("tee-key", of.of_kind(kinds.TEE_KEY), (
        Verdict(_TLV, _TEE_NUMBER, IGNORES,
                "steps over it", "2.6.0 reserves the number, no version has code for it",
                "8a722e6"),
        Verdict(_TEE_NUMBER, None, IGNORES,
                "has a number for it, but no code", "no version has", "8a722e6"),
    ), hidden_too=True),
    Feature("signature", of.of_kind(kinds.SIGNATURE_BLOCK), (
        Verdict(_TLV, _SIGNED, IGNORES,
                "steps over it", "signatures are verified since 2.8.0", "4ce4227"),
        Verdict(_SIGNED, None, IGNORES,
                "steps over it in a default build",
                "a build with CONFIG_ESP_SECURE_CERT_SECURE_VERIFICATION and ESP-IDF 5.3 or later "
                "can verify it",
                "4ce4227, Kconfig, CMakeLists.txt"),
    ), hidden_too=True),
    Feature("integrity", of.of_kind(kinds.INTEGRITY), (
        Verdict(_TLV, _INTEGRITY, IGNORES,
                "steps over it", "an application can check it since 2.9.2", "80a7049"),
    ), hidden_too=True),
    Feature("user-data", of.of_kind(*of.USER_DATA), (
        Verdict(_TLV, _SUBTYPES, UNREAD,
                "has no public function that returns it", "read by number since 2.4.0", "f29838d"),
    ), hidden_too=True),
    Feature("user-data-5", of.of_kind("user_data_5"), (
        Verdict(_SUBTYPES, _WRITE, MISREAD,
                "means type 54 where it says USER_DATA_5, so that only the number 55 finds it",
                "right since 2.9.0", "12eaf34"),
    )),
    Feature("matter", of.of_kind(*of.MATTER), (
        Verdict(_TLV, _SUBTYPES, UNREAD,
                "has no public function that returns it", "read by number since 2.4.0", "f29838d"),
        Verdict(_SUBTYPES, _MATTER_NAMES, UNSURE,
                "has no name for it, and returns it only by its number",
                "named since 2.5.0", "f29de79"),
    ), hidden_too=True),
)  # fmt: skip

FEATURES: Final = (*_LEGACY_FEATURES, *_ENTRY_FEATURES, *_KEY_FEATURES, *_TYPE_FEATURES)
"""All that is known of versions, in the order in which it is told."""
