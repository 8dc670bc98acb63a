import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from training import __main__ as command_line
from training.config import load_config
from training.study.protocols.training_speed import (
    OURS,
    PLAIN,
    ROUNDS,
    SCHEDULE,
    at_paper_recipe,
    compare,
    keep_rows,
    measure_training_speed,
)
from training.study.report import SECTIONS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rows(train_config, cells):
    return measure_training_speed(train_config, cells.crops, CPU, 1)


def test_both_loops_are_measured_at_the_same_size(rows, train_config):
    assert [row["name"] for row in rows] == [OURS, PLAIN]
    for row in rows:
        assert row["channels"] == train_config.channels
        assert row["batch"] == train_config.batch_size
        assert row["critic_steps"] == train_config.critic_steps
        assert (row["device"], row["threads"], row["iterations_per_round"]) == ("cpu", torch.get_num_threads(), 1)
        assert len(row["rounds"]) == ROUNDS
        assert min(row["rounds"]) > 0
    json.dumps(rows, allow_nan=False)


def test_ratio_is_the_quotient_of_the_speeds(rows):
    ours, plain = rows
    assert ours["ratio"] == ours["iterations_per_second"] / plain["iterations_per_second"]
    assert plain["ratio"] == 1


def test_figures_are_of_the_median_round():
    figures = compare([1.0, 40.0, 4.0], [0.5, 2.0, 90.0])
    assert (figures["iterations_per_second"], figures["ratio"]) == (4, 2)
    assert figures["schedule_seconds"] == SCHEDULE / 4


def test_recipe_is_the_papers_at_another_size(smoke):
    recipe, paper = at_paper_recipe(smoke.train), load_config(Path("paper")).train
    size = {"channels", "latent_size", "batch_size", "critic_steps", "precision"}
    assert {name for name, value in asdict(recipe).items() if value != asdict(paper)[name]} == size
    assert recipe.channels == smoke.train.channels


def row(name, channels, speed):
    return {
        "name": name,
        "channels": channels,
        "batch": 64,
        "critic_steps": 5,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "date": "2025-01-02",
        **compare([speed / 2, speed, 2 * speed], [1.0]),
    }


def test_rows_of_the_same_size_take_the_place_of_the_old(tmp_path):
    path = tmp_path / "results" / "training_speed.json"
    keep_rows(path, [row(OURS, 32, 2.0), row(PLAIN, 32, 1.0)])
    keep_rows(path, [row(OURS, 128, 0.2), row(PLAIN, 128, 0.1)])
    keep_rows(path, [row(OURS, 32, 3.0), row(PLAIN, 32, 1.5)])
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert [(one["channels"], one["iterations_per_second"]) for one in kept] == [
        (128, 0.2),
        (128, 0.1),
        (32, 3.0),
        (32, 1.5),
    ]


def test_report_says_what_is_extrapolated():
    text = SECTIONS["training_speed"]([row(OURS, 32, 2.0), row(PLAIN, 32, 1.0)])
    assert "| ours | 32 | 64 | 5 | float32 | 2 (1–4) | 2.00 | 562 | cpu | 1 | 2025-01-02 |" in text
    assert "| plain eager loop | 32 | 64 | 5 | float32 | 1 (0.5–2) | 1.00 | 1,125 | cpu | 1 | 2025-01-02 |" in text
    assert "s for 1,125 iterations (extrapolated)" in text
    assert "`python -m training evaluate training-speed" in text


def test_command_writes_what_the_report_reads(kept_cells, tmp_path, monkeypatch, capsys):
    kept_cells.save(tmp_path / "cells")
    arguments = ["evaluate", "training-speed", tmp_path / "cells", tmp_path, "--config", "smoke", "--iterations", 1]
    monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 0
    rows = json.loads((tmp_path / "training_speed.json").read_text(encoding="utf-8"))
    assert rows == json.loads(capsys.readouterr().out)
    assert SECTIONS["training_speed"](rows).count("| 8 | 8 | 2 | float32 |") == 2
