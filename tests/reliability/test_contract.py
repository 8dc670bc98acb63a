import pytest

from reliability.contract import QUICK_CASES, measure


@pytest.mark.slow
def test_every_answer_is_as_openapi_json_declares_it():
    found = measure(quick=True)
    assert found["cases"] >= QUICK_CASES
    assert found["failures"] == 0, found
    assert all(half["tiles_analysed"] > 0 for half in found["halves"])
