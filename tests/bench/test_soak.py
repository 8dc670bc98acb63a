import os
from time import process_time, sleep

import pytest

from bench.process import cpu_seconds, peak_rss_mb, rss_mb
from bench.soak import drift

linux = pytest.mark.skipif(rss_mb() is None, reason="memory is read from /proc, which this system does not have")


def test_growth_during_the_warm_up_is_no_drift():
    found = drift([100.0, 200.0] + [300.0] * 8)
    assert found["drift_percent"] == 0
    assert found["largest_mb"] == 300


def test_drift_by_hand():
    # Ten samples: two of warm-up, then the medians of 100, 104 and of 110, 114.
    found = drift([1.0, 2.0, 100.0, 104.0, 105.0, 500.0, 106.0, 107.0, 110.0, 114.0])
    assert (found["first_mb"], found["last_mb"]) == (102, 112)
    assert found["drift_percent"] == pytest.approx(100 * 10 / 102)


@pytest.mark.parametrize("samples", [[], [1.0, 2.0, 3.0, 4.0]])
def test_too_few_samples_say_nothing(samples):
    assert drift(samples) is None


@linux
def test_memory_that_is_taken_is_seen_and_its_peak_stays():
    before = rss_mb(os.getpid())
    taken = bytearray(os.urandom(1) * 64 * 2**20)
    with_it = rss_mb(os.getpid())
    del taken
    assert with_it - before > 60
    assert peak_rss_mb() >= with_it > rss_mb() + 60


@linux
def test_processor_time_grows_with_work_and_not_with_sleep():
    start = cpu_seconds()
    sleep(0.3)
    slept = cpu_seconds()
    end = process_time() + 0.3
    while process_time() < end:
        pass
    assert slept - start < 0.1
    assert 0.25 < cpu_seconds() - slept < 0.4


def test_process_that_is_gone_has_no_memory():
    assert rss_mb(2**22 + 1) is None
    assert cpu_seconds(2**22 + 1) is None
