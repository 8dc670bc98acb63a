import pytest

from reliability.overload import measure


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_times_too_many_requests_get_their_tenth_answered_and_the_others_a_refusal_at_once():
    found = measure(quick=True)
    assert found["wrong"] == 0
    assert set(found["statuses"]) == {"200", "503"}
    assert found["refused_without_retry_after"] == 0
    # The promise is 0.8, and `python -m reliability overload` measures it. Ten seconds on two cores that are shared,
    # with the clients on them too, say less: the same code gave 0.53 to 0.95. Here it is only not to collapse.
    assert found["goodput_share"] >= 0.4
    assert found["refused_s"]["p99"] < 1
