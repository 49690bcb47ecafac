"""espcert: what an `esp_secure_cert` partition is, what it holds, and how to bring it up to date.

    image = espcert.open_image("dump.bin")
    reading = espcert.detect(image)
    findings = espcert.verify(reading)
    result = espcert.migrate(reading)
    legacy = espcert.convert(reading, "cust_flash")

`detect` never fails on damage; `reading.require()` gives the contents or raises
`UnreadableError`. All errors are rooted in `EspcertError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from espcert.building import Built, Stored, build
    from espcert.comparison import Comparison, compare
    from espcert.conversion import Conversion
    from espcert.detection import Reading, detect
    from espcert.errors import EspcertError, FileError, RefusedError, UnreadableError, UsageError
    from espcert.findings import Finding
    from espcert.image import Image, locate
    from espcert.key_storage import DerivedKey, DsKey, EcdsaKey, PlainKey
    from espcert.library import (
        convert,
        inspect,
        open_efuse,
        open_flash_key,
        open_hmac_key,
        open_image,
        open_nvs_hmac_key,
        open_nvs_keys,
        open_signature,
        open_signing_key,
        save,
    )
    from espcert.migration import Migration, Options, migrate
    from espcert.opening import Opening
    from espcert.signers import Signer
    from espcert.signing import Signing, SigningOptions, sign
    from espcert.verification import verify
    from espcert_formats.items import Contents, Item

__version__: Final = "0.1.0"

_HOMES: Final = {
    "Built": "espcert.building",
    "Comparison": "espcert.comparison",
    "Contents": "espcert_formats.items",
    "Conversion": "espcert.conversion",
    "DerivedKey": "espcert.key_storage",
    "DsKey": "espcert.key_storage",
    "EcdsaKey": "espcert.key_storage",
    "EspcertError": "espcert.errors",
    "FileError": "espcert.errors",
    "Finding": "espcert.findings",
    "Image": "espcert.image",
    "Item": "espcert_formats.items",
    "Migration": "espcert.migration",
    "Opening": "espcert.opening",
    "Options": "espcert.migration",
    "PlainKey": "espcert.key_storage",
    "Reading": "espcert.detection",
    "RefusedError": "espcert.errors",
    "Signer": "espcert.signers",
    "Signing": "espcert.signing",
    "SigningOptions": "espcert.signing",
    "Stored": "espcert.building",
    "UnreadableError": "espcert.errors",
    "UsageError": "espcert.errors",
    "build": "espcert.building",
    "compare": "espcert.comparison",
    "convert": "espcert.library",
    "detect": "espcert.detection",
    "inspect": "espcert.library",
    "locate": "espcert.image",
    "migrate": "espcert.migration",
    "open_efuse": "espcert.library",
    "open_flash_key": "espcert.library",
    "open_hmac_key": "espcert.library",
    "open_image": "espcert.library",
    "open_signature": "espcert.library",
    "open_signing_key": "espcert.library",
    "open_nvs_hmac_key": "espcert.library",
    "open_nvs_keys": "espcert.library",
    "save": "espcert.library",
    "sign": "espcert.signing",
    "verify": "espcert.verification",
}

__all__ = [
    "Built",
    "Comparison",
    "Contents",
    "Conversion",
    "DerivedKey",
    "DsKey",
    "EcdsaKey",
    "EspcertError",
    "FileError",
    "Finding",
    "Image",
    "Item",
    "Migration",
    "Opening",
    "Options",
    "PlainKey",
    "Reading",
    "RefusedError",
    "Signer",
    "Signing",
    "SigningOptions",
    "Stored",
    "UnreadableError",
    "UsageError",
    "__version__",
    "build",
    "compare",
    "convert",
    "detect",
    "inspect",
    "locate",
    "migrate",
    "open_efuse",
    "open_flash_key",
    "open_hmac_key",
    "open_image",
    "open_nvs_hmac_key",
    "open_nvs_keys",
    "open_signature",
    "open_signing_key",
    "save",
    "sign",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import espcert` costs nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'espcert' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
