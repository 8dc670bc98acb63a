import errno
from pathlib import Path

import pytest
import torch

from training.checkpoint import NAME, load, save
from training.errors import CheckpointError

CPU = torch.device("cpu")


def test_state_comes_back(tmp_path):
    assert load(tmp_path, CPU) is None
    save(tmp_path, {"iteration": 3, "weights": torch.arange(4)})
    found = load(tmp_path, CPU)
    assert found["iteration"] == 3
    assert found["weights"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"no archive"])
def test_damaged_checkpoint_is_named(tmp_path, damage):
    save(tmp_path, {"weights": torch.arange(1000)})
    path = tmp_path / NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"{NAME} is damaged"):
        load(tmp_path, CPU)


def test_nothing_is_unpickled_freely(tmp_path):
    torch.save({"path": Path("x")}, tmp_path / NAME)
    with pytest.raises(CheckpointError):
        load(tmp_path, CPU)


def test_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    save(tmp_path, {"iteration": 1})

    def refuse(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match=NAME):
        save(tmp_path, {"iteration": 2})
    assert load(tmp_path, CPU) == {"iteration": 1}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
