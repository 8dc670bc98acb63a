import subprocess
import sys

import pytest

FAULTS = """
import resource, threading
import numpy as np
from app.memory import keep_buffers
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
    done = subprocess.run([sys.executable, "-c", FAULTS.format(prepare=prepare)], capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is not glibc")
def test_buffers_of_one_thread_serve_the_next():
    # How many pages a new buffer has is the kernel's affair.
    assert 5 * faults("keep_buffers()") < faults("")
