import os

import pytest

from reliability.faults.experiment import FAULTS
from reliability.faults.service import healthy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="faults are made by the Linux kernel's limits"),
]


@pytest.fixture(scope="module")
def right():
    return healthy()


@pytest.mark.parametrize("fault", FAULTS)
def test_promise_is_kept(fault, right):
    rows = list(FAULTS[fault](right, True))
    assert rows
    assert [row for row in rows if not row["kept"]] == []
    assert sum(row.get("wrong", 0) + row.get("lost", 0) for row in rows) == 0
