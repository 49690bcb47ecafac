"""The cases of fixtures/verify: images, what they are proven with, and what must be found."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from tests.support import FIXTURES

import espcert
from espcert.findings import Finding

Case = dict[str, Any]

CASES: list[Case] = json.loads((FIXTURES / "verify" / "cases.json").read_text("utf-8"))
AT = datetime(2026, 11, 1, tzinfo=timezone.utc)
_FILES = {"ca": "ca", "signing_key": "signing_key"}


def case_name(case: Case) -> str:
    """The image and the options that are not files, for a test's name."""
    options = ",".join(f"{name}={value}" for name, value in case["options"].items())
    return f"{case['image']}[{options}]"


def found_in(case: Case) -> list[Finding]:
    """What verifying the image of a case finds."""
    options = dict(case["options"])
    image = espcert.open_image(
        FIXTURES / "verify" / case["image"], label=options.pop("label", None)
    )
    return espcert.verify(espcert.detect(image), **_given(options))


def _given(options: dict[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {"at": AT}
    for name, value in options.items():
        path = FIXTURES / value
        if name == "at":
            given[name] = datetime.fromisoformat(value.removesuffix("Z")).replace(
                tzinfo=timezone.utc
            )
        elif name == "hmac_key":
            given[name] = espcert.open_hmac_key(path)
        elif name == "efuse":
            given[name] = espcert.open_efuse(path, chip=options.get("chip"))
        elif name in _FILES:
            given[name] = path.read_bytes()
        elif name == "key_password_file":
            given["key_password"] = path.read_bytes().rstrip(b"\r\n")
        else:
            given[name] = value
    return given
