"""Images of the official tools, each with what is wrong with it, and what `verify` says."""

from __future__ import annotations

import pytest
from tests.toolkit.verify_cases import CASES, Case, case_name, found_in

from espcert.catalogue import CATALOGUE, INFO
from espcert.verification import verdict


def matters(code: str) -> bool:
    """Errors and warnings; of what is only good to know a case names what it is about."""
    return CATALOGUE[code].severity != INFO


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_case(case: Case) -> None:
    found = {finding.code for finding in found_in(case)}
    expected = set(case["findings"])
    assert {code for code in found if matters(code)} == {code for code in expected if matters(code)}
    assert expected <= found
    assert verdict(found_in(case)) == case["verdict"]
