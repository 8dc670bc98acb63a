import sys

import cv2
import numpy as np
import pytest

from app.pipeline.memory import memory_errors
from tests.conftest import REPOSITORY
from tests.processes import ran

FAULTS = """
import resource, threading
import numpy as np
from app.pipeline.memory import keep_buffers
{prepare}
def fill():
    for _ in range(20):
        np.ones(20 * 1024**2, np.uint8)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=fill)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(prepare):
    done = ran([sys.executable, "-c", FAULTS.format(prepare=prepare)], cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is not glibc")
def test_buffers_of_one_thread_serve_the_next():
    # The kernel decides how many pages a new buffer has.
    assert 5 * faults("keep_buffers()") < faults("")


def test_opencv_without_memory_is_a_memory_error():
    with pytest.raises(MemoryError), memory_errors():
        cv2.copyMakeBorder(np.zeros((1, 1), np.uint8), 0, 2**31 - 2, 0, 2**31 - 2, cv2.BORDER_CONSTANT)


@pytest.mark.parametrize("text", ["can't start new thread", "Failed to allocate memory for requested buffer of size 9"])
def test_lack_of_memory_by_another_name_is_a_memory_error(text):
    with pytest.raises(MemoryError, match=text), memory_errors():
        raise RuntimeError(text)


def test_other_errors_stay_what_they_are():
    with pytest.raises(ZeroDivisionError), memory_errors():
        1 / 0  # noqa: B018
    with pytest.raises(cv2.error), memory_errors():
        cv2.cvtColor(np.zeros((2, 2, 2, 2), np.uint8), cv2.COLOR_RGB2HSV)
