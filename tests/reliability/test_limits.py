import pytest

from reliability.limits import measure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def rows():
    return measure(quick=True)["limits"]


def test_every_attack_gets_the_only_right_answer(rows):
    for row in rows[1:]:
        assert row["found"] == {row["wanted"]: row["times"]}, row


def test_normal_client_is_answered_rightly_all_the_while(rows):
    for row in rows:
        assert row["normal_right"] > 0, row
        assert row["normal_wrong"] == 0, row


def test_nothing_of_the_attacks_stays_in_memory(rows):
    if rows[0]["rss_mb"] is None:
        pytest.skip("There is no /proc.")
    # The buffers of uploads come back to the C library, which keeps up to 128 MB; thousands of attacks would show.
    assert rows[-1]["rss_mb"] < rows[0]["rss_mb"] + 200
