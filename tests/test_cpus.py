"""The processors that may be used, read from folders that look like those of Linux."""

import os

import pytest

from app import server
from app.cpus import usable_cpus
from app.pipeline.networks import onnx
from app.settings import Settings
from tests.conftest import REPOSITORY

V2 = "31 23 0:28 {top} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
V1 = "32 31 0:29 {top} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}\n"
MEMORY = "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
DISK = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
MACHINE = 8


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine with eight processors, all of which the process may use."""
    monkeypatch.setattr(os, "cpu_count", lambda: MACHINE)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MACHINE)), raising=False)


@pytest.fixture
def system(tmp_path):
    """Draw what Linux shows: `system(groups, mounts, {file: content})` returns the root of it."""

    def draw(groups, mounts, files=()):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
        (tmp_path / "proc/self/mountinfo").write_text(DISK + mounts)
        for name, content in dict(files).items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return draw


def quota_v1(name, quota, period=100_000):
    return {f"{name}/cpu.cfs_quota_us": f"{quota}\n", f"{name}/cpu.cfs_period_us": f"{period}\n"}


V2_CASES = {
    "a container of its own": ("0::/\n", "/", {"cpu.max": "150000 100000\n"}, 2),
    "exactly one": ("0::/\n", "/", {"cpu.max": "100000 100000\n"}, 1),
    "less than one": ("0::/\n", "/", {"cpu.max": "10000 100000\n"}, 1),
    "no limit": ("0::/\n", "/", {"cpu.max": "max 100000\n"}, MACHINE),
    "more than the machine": ("0::/\n", "/", {"cpu.max": "6400000 100000\n"}, MACHINE),
    "the root of the machine has no file": ("0::/\n", "/", {}, MACHINE),
    "a service of systemd": ("0::/system.slice/a.service\n", "/", {"system.slice/a.service/cpu.max": "3 1\n"}, 3),
    "the group above allows less": (
        "0::/pod/a\n",
        "/",
        {"cpu.max": "7 1", "pod/cpu.max": "2 1\n", "pod/a/cpu.max": "max 1\n"},
        2,
    ),
    "a group that is mounted as the root": ("0::/docker/17\n", "/docker/17", {"cpu.max": "4 1\n"}, 4),
    "a group outside of what is seen": ("0::/../17\n", "/", {"cpu.max": "5 1\n"}, 5),
    "a file that says nothing": ("0::/\n", "/", {"cpu.max": "\n"}, MACHINE),
}


@pytest.mark.parametrize("case", V2_CASES)
def test_quota_of_control_groups_version_2(system, case):
    groups, top, files, expected = V2_CASES[case]
    assert usable_cpus(system(groups, V2.format(top=top), files)) == expected


@pytest.mark.parametrize("name", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize(("quota", "expected"), [(-1, MACHINE), (250_000, 3), (100_000, 1), (0, MACHINE)])
def test_quota_of_control_groups_version_1(system, name, quota, expected):
    mounts = V1.format(top="/docker/17", name=name) + MEMORY.format(top="/docker/17")
    groups = f"7:memory:/docker/17\n4:{name}:/docker/17\n1:name=systemd:/docker/17\n"
    assert usable_cpus(system(groups, mounts, quota_v1(name, quota))) == expected


def test_both_versions_at_once(system):
    mounts = V1.format(top="/", name="cpu") + V2.format(top="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files = {**quota_v1("cpu", -1), **quota_v1("cpu/a", 300_000), "unified/cpu.max": "max 100000\n"}
    assert usable_cpus(system("1:cpu:/a\n0::/\n", mounts, files)) == 3


def test_affinity_counts_where_it_allows_less(system, monkeypatch):
    root = system("0::/\n", V2.format(top="/"), {"cpu.max": "4 1\n"})
    assert usable_cpus(root) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cpus(root) == 2


def test_system_without_control_groups_and_affinity_has_its_processors(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cpus(tmp_path) == MACHINE


@pytest.mark.parametrize(("threads", "cpus", "expected"), [(0, 2, 2), (3, 2, 3), (0, MACHINE, 0)])
def test_onnx_runtime_gets_as_many_threads_as_may_run(monkeypatch, threads, cpus, expected):
    monkeypatch.setattr(onnx, "usable_cpus", lambda: cpus)
    assert onnx._session_options(threads).intra_op_num_threads == expected


def test_processes_share_what_may_be_used(monkeypatch):
    class NotRun:
        def __init__(self, config, sockets):
            sockets[0].close()

        def run(self):
            assert os.environ["MARROWSCOPE_THREADS"] == "3"

    monkeypatch.setenv("MARROWSCOPE_THREADS", "0")
    monkeypatch.setenv("MARROWSCOPE_PORT", "0")
    monkeypatch.setattr(server, "usable_cpus", lambda: 6)
    monkeypatch.setattr(server, "Supervisor", NotRun)
    server.serve(Settings(), 2)


def test_nothing_else_counts_the_processors():
    counting = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("app", "bench", "training")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        if any(word in path.read_text("utf-8") for word in ("cpu_count", "CPU_COUNT", "sched_getaffinity"))
    ]
    assert counting == ["app/cpus.py", "app/pipeline/networks/onnx.py"]
