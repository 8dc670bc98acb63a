import pytest

from reliability.overload import measure


@pytest.mark.slow
def test_every_one_of_ten_times_too_many_requests_gets_its_answer_or_a_refusal_that_says_when_to_come_again():
    """How many are answered and how fast depends on the machine, and is for the experiment to measure."""
    found = measure(quick=True)
    assert set(found["statuses"]) == {"200", "503"}, "no request is lost"
    assert found["wrong"] == 0
    assert found["refused_without_retry_after"] == 0
    assert found["capacity_afterwards_per_s"] > 0
