"""From cells to the report, by the commands, with systems that take no time."""

import json
import sys
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.processes import ran
from tests.training.study.drawn_cells import ByGrey, labelled, unlabelled
from training import __main__ as command_line
from training.representation.pretrain import EncoderTrainer
from training.study.commands import clusters
from training.study.labelled_tiles import LabelledTiles, split_into_blocks
from training.study.protocols import teach
from training.study.systems import cell_systems

GREY = cell_systems.LazySystem("by grey", "tests.training.study.drawn_cells", "ByGrey")
POSITIVE = np.repeat([1, 0], 16)


@pytest.fixture
def results(tmp_path, monkeypatch):
    for entries in (cell_systems.CLUSTERERS, cell_systems.DESCRIBERS):
        monkeypatch.setitem(entries, "ours", GREY)
    labelled().save(tmp_path / "drawn")
    cells, _ = unlabelled(32, np.where(POSITIVE, 0.67, 0.33))
    blocks = split_into_blocks(np.tile(np.arange(16), 2), POSITIVE)
    LabelledTiles(cells, POSITIVE, blocks, tuple(map(str, range(32)))).save(tmp_path / "tiles")
    return tmp_path / "results"


@pytest.fixture
def run(monkeypatch):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        return ended.value.code

    return command


def test_what_the_commands_measure_is_reported(results, run, tmp_path, shipped_bundle):
    of_ours = ("--system", "ours", "--seeds", 2)
    for name in ("clustering", "n-clusters", "classification"):
        assert run("evaluate", name, tmp_path / "drawn", results, *of_ours) == 0
    assert run("evaluate", "image-label", tmp_path / "tiles", results, "--clusters", 2, *of_ours) == 0
    records = json.loads((results / "clustering.json").read_text())
    assert [(record["n_clusters"], record["seed"]) for record in records] == [(k, s) for k in (4, 5, 6) for s in (0, 1)]

    document = tmp_path / "results.md"
    assert run("report", results, document, "--bundle", shipped_bundle) == 0
    text = document.read_text(encoding="utf-8")
    assert "| by grey | – | 0.000 ± 0.000 | 1.000 ± 0.000 |" in text
    assert "| `drawn` | by grey | 1.000 ± 0.000 | 1.000 ± 0.000 | 1.000 ± 0.000 |" in text
    assert "| by grey | SVM on proportions | 2 | **1.000** ± 0.000 |" in text
    assert "](figures/classification-drawn.png)" in text
    assert (tmp_path / "figures" / "classification-drawn.png").is_file()


def test_few_named_cells_and_the_tile_are_measured_and_reported(results, run, tmp_path, shipped_bundle):
    cells = labelled()
    larger = replace(cells.unlabelled, tile_index=cells.unlabelled.tile_index // 2)
    replace(cells, unlabelled=larger).save(tmp_path / "drawn")
    assert run("evaluate", "few-labels", tmp_path / "drawn", results, "--system", "ours", "--splits", 2) == 0
    assert run("evaluate", "site", tmp_path / "drawn", results, "--system", "ours", "--seeds", 1) == 0
    document = tmp_path / "results.md"
    assert run("report", results, document, "--bundle", shipped_bundle) == 0
    text = document.read_text(encoding="utf-8")
    assert "| by grey | 1.000 ± 0.000 | 1.000 ± 0.000 |" in text
    assert "120 cells of 5 tiles and 2 types: chance is 0.200 and 0.500." in text


def test_naming_is_measured_and_reported(results, run, tmp_path, shipped_bundle, monkeypatch):
    monkeypatch.setattr(teach, "ACTIONS", (5, 20))
    assert run("evaluate", "teach", tmp_path / "drawn", results, "--system", "ours", "--splits", 2) == 0
    document = tmp_path / "results.md"
    assert run("report", results, document, "--bundle", shipped_bundle) == 0
    text = document.read_text(encoding="utf-8")
    assert "| by grey | by groups | 1.000 ± 0.000 | 1.000 ± 0.000 | 1.000 ± 0.000 |" in text
    assert "| by grey | by groups | 5 (5 to 5) |" in text


def test_number_of_clusters_is_chosen_by_how_stable_they_are(
    results, run, tmp_path, shipped_bundle, encoder_config, monkeypatch
):
    keys = "\n".join(f"{name} = {value}" for name, value in asdict(encoder_config).items())
    head = 'base = "smoke"\n[train.encoder]\n'
    (tmp_path / "tiny.toml").write_text(head + keys)
    trained, train = [], EncoderTrainer.train_epoch
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(EncoderTrainer, "train_epoch", lambda own: trained.append(own.run_config.seed) or train(own))
    of_three = ("--config", tmp_path / "tiny.toml", "--clusters", 2, "--clusters", 3, "--seeds", 2)
    assert run("evaluate", "stability", tmp_path / "drawn", results, *of_three) == 0
    assert trained == [0] * encoder_config.epochs + [1] * encoder_config.epochs
    records = json.loads((results / "stability.json").read_text())
    ari = {record["n_clusters"]: record["ari"] for record in records if "ari" in record}
    assert sorted(ari) == [2, 3]
    document = tmp_path / "results.md"
    assert run("report", results, document, "--bundle", shipped_bundle) == 0
    text = document.read_text(encoding="utf-8")
    assert "### `drawn`, 120 cells, configuration `tiny`" in text
    assert f"| {ari[3]:.3f} |" in next(line for line in text.splitlines() if line.startswith("| 3 |"))


@pytest.mark.parametrize("command", ["clustering", "classification", "few-labels", "teach", "site"])
def test_unknown_system_is_an_error_before_anything_is_run(results, run, tmp_path, command, capsys):
    assert run("evaluate", command, tmp_path / "drawn", results, "--system", "ours", "--system", "theirs") == 1
    assert "'theirs'" in " ".join(capsys.readouterr().err.split())
    assert not results.exists()


def test_ablation_takes_over_what_was_measured_of_ours(results, run, tmp_path, monkeypatch):
    made = []

    def create(name, n_clusters, seed):
        made.append(name)
        return ByGrey(n_clusters, seed)

    variants = {name: partial(create, name) for name in ("ours", "without a part")}
    monkeypatch.setattr(clusters, "VARIANTS", SimpleNamespace(load=lambda: lambda: variants))
    assert run("evaluate", "clustering", tmp_path / "drawn", results, "--system", "ours", "--seeds", 1) == 0
    assert run("evaluate", "ablation", tmp_path / "drawn", results, "--seeds", 1) == 0
    assert made == ["without a part"]
    records = json.loads((results / "ablation.json").read_text())
    assert [record["system"] for record in records] == ["ours", "without a part"]


def test_purity_is_scored_while_the_gan_learns_and_the_figure_says_of_what(results, run, tmp_path):
    assert run("evaluate", "purity", tmp_path / "drawn", tmp_path / "run", "--config", "smoke", "--every", 3) == 0
    scores = [json.loads(line) for line in (tmp_path / "run" / "purity.jsonl").read_text().splitlines()]
    assert [score["iteration"] for score in scores] == [3, 6]
    assert all(0.5 <= score["purity"] <= 1 for score in scores)
    assert run("evaluate", "figure", "curves", tmp_path / "run", results) == 0
    about = json.loads((results / "figures.json").read_text())["curves"]
    assert (about["set"], about["channels"], about["seed"]) == ("drawn", 8, 0)
    assert (tmp_path / "figures" / "curves.png").is_file()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("training.study.commands", {"torch", "sklearn", "matplotlib", "scipy"}),
        ("training.study.report", {"torch", "sklearn", "matplotlib"}),
    ],
)
def test_help_and_report_do_not_load_what_they_do_not_need(module, heavy):
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    found = ran(command, cwd=REPOSITORY)
    assert found.returncode == 0, found.stderr
    assert not heavy & set(found.stdout.split())
