import errno
import hashlib
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save as save_weights

from app.pipeline.bundle.load import load_bundle
from app.pipeline.errors import InvalidBundle
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.presets import PRESETS
from app.pipeline.run import analyse
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.processes import ran
from training.__main__ import main
from training.cells.extract import Cells
from training.cells.tile_labels import TileLabels
from training.config import write_config
from training.gan.loop import training_loop
from training.label.image_level import write_image_level
from training.tracking import MetricsLog

pytestmark = pytest.mark.usefixtures("quick_head")
LIMIT_S = 120
"""For one command on a busy machine; most of it is the import of PyTorch."""


def run(*arguments):
    """Run `python -m training …` in a process of its own, and return what it prints."""
    ended = ran([sys.executable, "-m", "training", *arguments], LIMIT_S, cwd=REPOSITORY)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def tiles(tmp_path):
    directory = tmp_path / "tiles"
    directory.mkdir()
    shape = (320, 320)
    for name, radius in (("one", 10), ("two", 12)):
        tile = draw_tile(grid_of_centres(shape), shape=shape, radius=radius, seed=radius)
        Image.fromarray(tile).save(directory / f"{name}.png")
    return directory


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_from_tiles_to_a_bundle_that_is_served(tiles, tmp_path, succeed, fail):
    """What has to survive the end of a process runs in processes of its own."""
    cells, work, bundle = tmp_path / "cells", tmp_path / "run", tmp_path / "models" / "tiny"
    n = 2 * len(grid_of_centres((320, 320)))
    assert f"{n} cells of 2 tiles" in succeed("cells", tiles, cells)
    assert len(Cells.load(cells)) == n

    paused = run("train", cells, work, "--config", "smoke", "--stop-after", 4, "--threads", 1)
    assert "4 iterations" in paused
    assert "6 iterations" in run("train", cells, work, "--config", "smoke", "--threads", 1)
    fail("train", cells, work, "--config", "smoke", "--seed", 5)

    assert json.loads(succeed("fit", work, "--threads", 1))["training_tiles"] == 2
    assert "not learned enough" in fail("export", work, bundle, "--bundle-version", "2")
    assert not bundle.exists()
    run("export", work, bundle, "--bundle-version", "2", "--unfit", "--threads", 1)
    loaded = load_bundle(bundle, threads=1)
    assert loaded.manifest.version == "2"
    assert len(analyse((tiles / "one.png").read_bytes(), loaded, max_pixels=10**6).cells.areas_px) == n // 2
    assert loaded.manifest.q_calibration.cells == n

    assert "another one" in fail("refit", bundle, cells, "--bundle-version", "2")
    succeed("refit", bundle, cells, "--bundle-version", "3")
    refitted = load_bundle(bundle, threads=1).manifest
    assert refitted.version == "3"
    # The features of the run and of the bundle, from which the heads learn, may differ by rounding.
    again, before = (manifest.q_calibration.model_dump() for manifest in (refitted, loaded.manifest))
    assert again.pop("held_out") == before.pop("held_out") == "tiles"
    assert again == pytest.approx(before, rel=1e-2)
    assert refitted.outliers.tile_surprise.tiles == loaded.manifest.outliers.tile_surprise.tiles
    assert refitted.outliers.tile_surprise.mean == pytest.approx(loaded.manifest.outliers.tile_surprise.mean, rel=1e-3)
    assert refitted.files == loaded.manifest.files
    assert len(refitted.descriptions.clusters) == len(loaded.manifest.descriptions.clusters)
    assert refitted.schema_version == 3
    assert len(refitted.reference_ranges.tiles) == len(loaded.manifest.reference_ranges.tiles)

    detection = tmp_path / "results" / "detection.json"
    detection.parent.mkdir()
    detection.write_text("{}", encoding="utf-8")
    succeed("report", detection.parent, tmp_path / "results.md", "--bundle", bundle)
    assert "The shipped bundle `tiny`\n\nVersion 3" in (tmp_path / "results.md").read_text(encoding="utf-8")


OWN_CONFIG = """
base = "smoke"

[data]
name = "marrow_2"
description = "drawn by a test"
source = "our laboratory"
licence = "marrow_2"
mpp = 0.25
mpp_basis = "drawn"
"""


@pytest.fixture
def labelled_tiles(bm_graz, tmp_path):
    """Two crops of each of four real tiles: what they are called is made up, and so are the patients."""
    directory = tmp_path / "tiles"
    directory.mkdir()
    rows = ["tile;label;patient"]
    for i, path in enumerate(sorted((bm_graz / "tiles").glob("*.png"))[:4]):
        with Image.open(path) as image:
            for j in range(2):
                left = 600 * j + 100
                image.convert("RGB").crop((left, 300, left + 400, 700)).save(directory / f"{i}{j}.png")
                rows.append(f"{i}{j};{'Abnormal' if j else 'normal'};p{i}")
    (directory / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return directory


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_from_labelled_tiles_to_an_answer_that_says_so(labelled_tiles, tmp_path, succeed):
    cells, work, bundle, config = (tmp_path / name for name in ("cells", "run", "marrow_2", "mine.toml"))
    config.write_text(OWN_CONFIG, encoding="utf-8")
    assert "4 normal, 4 abnormal, of 4 patients" in succeed("cells", labelled_tiles, cells)
    succeed("train", cells, work, "--config", config, "--threads", 1)
    metrics = json.loads(succeed("fit", work))
    assert (metrics["tiles"], metrics["patients"]) == ({"normal": 4, "abnormal": 4}, 4)
    succeed("export", work, bundle, "--unfit")

    loaded = load_bundle(bundle, threads=1)
    answer = analyse((labelled_tiles / "01.png").read_bytes(), loaded, max_pixels=10**6).label
    assert loaded.manifest.image_level.label_basis.startswith("Not simulated: the label rests on 8 tiles of 4 patients")
    # Four tiles of a label are too few for any.
    assert answer.value == "indeterminate"
    assert loaded.manifest.training.data[0].name == "marrow_2"
    assert "bm_graz" not in loaded.manifest.model_dump_json()


@pytest.fixture
def fail(monkeypatch, capsys):
    """Run a command that must fail, and return its message."""

    def attempt(*arguments):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        message = capsys.readouterr().err
        assert "Traceback" not in message
        return " ".join(message.split())

    return attempt


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_segmenter_learns_in_two_sittings_and_becomes_part_of_a_bundle(tiles, tmp_path, succeed, fail):
    nuclei, cells, work, bundle = (tmp_path / name for name in ("nuclei", "cells", "run", "tiny"))
    assert "3 steps in 1 rounds" in succeed(
        "segmenter", tiles, nuclei, "--config", "smoke", "--threads", 1, "--stop-after", 3
    )
    assert "segmenter.onnx is missing" in fail("cells", tiles, cells, "--segmenter", nuclei)
    succeed("segmenter", tiles, nuclei, "--config", "smoke", "--threads", 1)
    assert "run on other tiles" in fail("segmenter", tiles, tiles, nuclei, "--config", "smoke")
    assert "another configuration" in fail("segmenter", tiles, nuclei, "--config", "smoke", "--seed", 5)

    # What has learned for seconds misses some of the nuclei.
    n_drawn = len(grid_of_centres((320, 320)))
    n_cut = int(re.search(r"(\d+) cells of 2 tiles", succeed("cells", tiles, cells, "--segmenter", nuclei))[1])
    assert 0.7 * 2 * n_drawn < n_cut <= 2 * n_drawn
    assert "is for 'default'" in fail("train", cells, work, "--config", "smoke")
    config = tmp_path / "learned.toml"
    config.write_text('base = "smoke"\npreset = "learned"\n', encoding="utf-8")
    succeed("train", cells, work, "--config", config, "--threads", 1)
    succeed("fit", work)
    succeed("export", work, bundle, "--unfit")

    tile = (tiles / "one.png").read_bytes()
    loaded = load_bundle(bundle, threads=1)
    assert loaded.warnings == ()
    n = len(analyse(tile, loaded, max_pixels=10**6).cells.areas_px)
    assert 0.7 * n_drawn < n <= n_drawn
    (bundle / "segmenter.onnx").unlink()
    by_torch = load_bundle(bundle)
    assert by_torch.warnings == ("segmenter.onnx is missing; PyTorch finds the nuclei.",)
    assert len(analyse(tile, by_torch, max_pixels=10**6).cells.areas_px) == n
    change_weights(bundle)
    with pytest.raises(InvalidBundle, match="segmenter does not reproduce its golden pair"):
        load_bundle(bundle)


def change_weights(bundle):
    """Put a network that learned nothing into a bundle, with its checksum."""
    torch.manual_seed(1)
    weights = save_weights(Segmenter(8).state_dict())
    (bundle / "segmenter.safetensors").write_bytes(weights)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["segmenter.safetensors"] = hashlib.sha256(weights).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_directory_without_tiles_ends_with_one_line(fail, tmp_path):
    assert "holds no PNG" in fail("cells", tmp_path, tmp_path / "cells")
    assert not (tmp_path / "cells").exists()


def test_damaged_tile_ends_with_one_line(fail, tmp_path):
    data = encoded(draw_tile(grid_of_centres()))
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    error = fail("cells", tmp_path, tmp_path / "cells")
    assert "half.png" in error
    assert "damaged or truncated" in error


def test_labels_are_read_before_the_work_begins(fail, tiles, tmp_path):
    (tiles / "labels.csv").write_text("tile,label\none,sick\n", encoding="utf-8")
    assert "labels.csv, row 2" in fail("cells", tiles, tmp_path / "cells")
    assert "cannot be read" in fail("cells", tiles, tmp_path / "cells", "--labels", tmp_path / "other.csv")
    assert not (tmp_path / "cells").exists()


def test_full_disk_ends_with_one_line(fail, tiles, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", refuse)
    error = fail("cells", tiles, tmp_path / "[cells]")
    assert error.endswith("[cells]/cells.npz: No space left on device")
    assert list((tmp_path / "[cells]").iterdir()) == []


def test_message_about_an_unknown_preset_names_the_known_ones(fail, tmp_path):
    assert "paper" in fail("cells", tmp_path, tmp_path / "cells", "--preset", "other")


def test_training_without_cells_says_how_to_get_them(fail, tmp_path):
    assert "training cells" in fail("train", tmp_path, tmp_path / "run", "--config", "smoke")
    assert not (tmp_path / "run").exists()


def test_unknown_configuration_ends_with_one_line(fail, tmp_path):
    assert "ConfigError" in fail("train", tmp_path, tmp_path / "run", "--config", "nowhere")


@pytest.mark.parametrize("command", ["fit", "export"])
def test_directory_without_a_run_ends_with_one_line(fail, tmp_path, command):
    assert "config.json" in fail(command, tmp_path, *([tmp_path / "bundle"] if command == "export" else []))


def test_run_without_a_checkpoint_ends_with_one_line(fail, tmp_path, smoke, kept_cells):
    write_config(smoke, tmp_path)
    kept_cells.save(tmp_path)
    assert "no checkpoint" in fail("fit", tmp_path)


def test_export_before_fit_says_what_to_do(fail, tmp_path, tiny_paper, kept_cells):
    write_config(tiny_paper, tmp_path)
    kept_cells.save(tmp_path)
    training_loop(tiny_paper.train, kept_cells.unlabelled, tmp_path, torch.device("cpu"), stop_after=1)
    assert "training fit" in fail("export", tmp_path, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("name", "message"), [("Not A Name", "lower-case letters"), ("taken", "is not a bundle")])
def test_export_to_a_wrong_directory_is_refused_before_anything_is_measured(
    fail, tmp_path, tiny_paper, kept_cells, name, message
):
    run_directory = tmp_path / "run"
    write_config(tiny_paper, run_directory)
    kept_cells.save(run_directory)
    training_loop(tiny_paper.train, kept_cells.unlabelled, run_directory, torch.device("cpu"), stop_after=1)
    (tmp_path / "taken").mkdir()
    assert message in fail("export", run_directory, tmp_path / name)


def test_run_is_not_resumed_with_other_cells(fail, tmp_path, smoke, kept_cells):
    """The run keeps the cells that it began with, and `fit` and `export` use those."""
    run_directory = tmp_path / "run"
    write_config(smoke, run_directory)
    kept_cells.save(run_directory)
    replace(kept_cells, crops=255 - kept_cells.crops).save(tmp_path / "other cells")
    fail("train", tmp_path / "other cells", run_directory, "--config", "smoke", "--stop-after", "1")


@pytest.fixture
def succeed(monkeypatch, capsys):
    """Run a command in this process, and return what it prints."""

    def attempt(*arguments):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        return printed.out

    return attempt


def test_labels_that_change_cost_no_new_training(succeed, fail, tmp_path, smoke, kept_cells):
    """Run again, `train` takes them over; what was fitted to the old ones is not exported."""
    run_directory = tmp_path / "run"
    arguments = ("train", tmp_path / "cells", run_directory, "--config", "smoke", "--stop-after", "1")
    cut = replace(kept_cells, segmentation=PRESETS[smoke.preset])
    cut.save(tmp_path / "cells")
    succeed(*arguments)
    write_image_level({"model": {}, "metrics": {}}, run_directory)
    replace(cut, labels=TileLabels(np.array([0, 1, 0]), None)).save(tmp_path / "cells")
    assert "1 iterations" in succeed(*arguments)
    assert Cells.load(run_directory).labels.abnormal.tolist() == [0, 1, 0]
    assert "training fit" in fail("export", run_directory, tmp_path / "bundle")


def test_encoder_learns_in_two_sittings_in_the_run_that_train_takes(succeed, fail, tmp_path, smoke, kept_cells):
    directory, run_directory = tmp_path / "cells", tmp_path / "run"
    cut = replace(kept_cells, segmentation=PRESETS[smoke.preset])
    cut.save(directory)
    arguments = (directory, run_directory, "--config", "smoke")
    assert "1 of 2 epochs" in succeed("pretrain", *arguments, "--stop-after", 1, "--threads", 1)
    assert "2 of 2 epochs" in succeed("pretrain", *arguments, "--threads", 1)
    assert [row["epoch"] for row in MetricsLog.read(run_directory / "encoder.jsonl")] == [1, 2]
    assert "another configuration" in fail("pretrain", *arguments, "--seed", 5)
    replace(cut, crops=255 - cut.crops).save(tmp_path / "other cells")
    assert "other cells" in fail("pretrain", tmp_path / "other cells", *arguments[1:])

    learned = (run_directory / "encoder.pt").read_bytes()
    assert "1 iterations" in succeed("train", *arguments, "--stop-after", 1, "--threads", 1)
    assert (run_directory / "encoder.pt").read_bytes() == learned


def test_configuration_without_an_encoder_begins_no_run(fail, tmp_path, tiny_paper, kept_cells):
    replace(kept_cells, segmentation=PRESETS[tiny_paper.preset]).save(tmp_path / "cells")
    error = fail("pretrain", tmp_path / "cells", tmp_path / "run", "--config", "paper")
    assert "paper has no encoder; describe one in its section [train.encoder]" in error
    assert not (tmp_path / "run").exists()


def test_evaluation_without_dots_ends_with_one_line(fail, tmp_path):
    assert "cells_mbm.csv" in fail("evaluate", "detection", tmp_path, tmp_path / "results")


def test_evaluation_without_masks_ends_with_one_line(fail, tmp_path):
    assert "monuseg, consep" in fail("evaluate", "segmentation", tmp_path, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_report_before_evaluation_says_what_to_do(fail, tmp_path):
    assert "training evaluate" in fail("report", tmp_path, tmp_path / "results.md")
