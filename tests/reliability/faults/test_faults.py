import os

import pytest

from reliability.faults.experiment import measure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="faults are made by the Linux kernel's limits"),
]


def test_every_promise_is_kept():
    found = measure(quick=True)
    assert [row for row in found["faults"] if not row["kept"]] == []
    assert sum(row.get("wrong", 0) + row.get("lost", 0) for row in found["faults"]) == 0
    assert len(found["faults"]) > 12
