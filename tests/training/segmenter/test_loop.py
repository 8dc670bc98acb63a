import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from app.pipeline.networks.open import open_segmenter
from app.pipeline.nuclei.network import predict_maps
from tests.drawing import draw_tile, grid_of_centres
from training.bundle import segmenter_export
from training.bundle.onnx_export import write_segmenter
from training.errors import DataError, DivergedError
from training.segmenter.agreement import as_map_network, find_nuclei, self_agreement
from training.segmenter.lessons import load_tiles
from training.segmenter.loop import segmenter_loop
from training.segmenter.trainer import SegmenterTrainer, map_losses

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of drawn tiles, of sizes that are no multiples of anything."""
    directory = tmp_path_factory.mktemp("tiles")
    paths = [directory / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(draw_tile(grid_of_centres(), shape=(201, 243), seed=i)).save(path)
    return [paths[:2], paths[2:]]


@pytest.fixture(scope="module")
def finished(folders, segmenter_config, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return run, segmenter_loop(segmenter_config, folders, run, CPU)


def test_the_network_learns_nuclei_without_any_annotation(finished):
    run, trainer = finished
    tile = next(tile for tile in load_tiles(run) if tile.held_out)
    found = find_nuclei(tile.pixels, as_map_network(trainer.average, CPU))
    # Each drawn nucleus is found once.
    assert sorted(found[y // 2, x // 2] for x, y in grid_of_centres()) == list(range(1, len(grid_of_centres()) + 1))
    assert found.max() == len(grid_of_centres())


def test_a_run_writes_what_its_user_looks_at(finished, segmenter_config):
    run, trainer = finished
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == sorted(row["round"] for row in rows)
    assert {row["round"] for row in rows} == set(range(segmenter_config.rounds))
    checks = [row["checks"] for row in rows if "checks" in row]
    assert checks[-1]["agreement"] > 0.6
    assert trainer.best["score"] == pytest.approx(
        max(row["checks"]["agreement"] for row in rows if "checks" in row and row["round"] == trainer.round), abs=1e-6
    )
    for number in range(segmenter_config.rounds):
        with Image.open(run / "pictures" / f"round-{number}.png") as picture:
            assert picture.width == 3 * 320


@pytest.mark.parametrize("pause_at", [7, 80, 81])
def test_a_resumed_run_equals_an_uninterrupted_one(finished, folders, segmenter_config, tmp_path, pause_at):
    run, whole = finished
    segmenter_loop(segmenter_config, folders, tmp_path, CPU, stop_after=pause_at)
    resumed = segmenter_loop(segmenter_config, folders, tmp_path, CPU)
    assert resumed.iteration == whole.iteration
    for name, weights in whole.average.state_dict().items():
        assert torch.equal(weights, resumed.average.state_dict()[name]), name
    assert (tmp_path / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()


def test_a_run_goes_on_with_its_own_tiles_only(finished, folders, segmenter_config, tmp_path):
    run, _ = finished
    other = tmp_path / "other.png"
    Image.fromarray(draw_tile(grid_of_centres(), seed=9)).save(other)
    with pytest.raises(DataError, match="run on other tiles"):
        segmenter_loop(segmenter_config, [folders[0], [other]], run, CPU)


def test_the_same_picture_is_not_both_learned_and_held_out(folders, segmenter_config, tmp_path):
    twin = tmp_path / "twin.png"
    twin.write_bytes(folders[0][0].read_bytes())
    with pytest.raises(DataError, match="the same picture"):
        segmenter_loop(segmenter_config, [[*folders[0], twin]], tmp_path / "run", CPU)


def test_one_tile_is_too_few(folders, segmenter_config, tmp_path):
    with pytest.raises(DataError, match="at least two tiles"):
        segmenter_loop(segmenter_config, [folders[0][:1]], tmp_path / "run", CPU)


def test_tiles_without_a_nucleus_teach_nothing(segmenter_config, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((64, 64 + i, 3), 255, np.uint8)).save(path)
    with pytest.raises(DataError, match="no nucleus was found"):
        segmenter_loop(segmenter_config, [paths], tmp_path / "run", CPU)


def test_a_round_ends_when_its_checks_are_no_better_for_long(segmenter_config):
    trainer = SegmenterTrainer(replace(segmenter_config, patience=2), CPU)
    for score, is_over in ((0.5, False), (0.4, False), (0.6, False), (0.5, False), (0.55, True)):
        trainer.keep_if_best(score)
        assert trainer.round_is_over == is_over
    assert trainer.best["score"] == 0.6


def test_the_best_weights_of_a_round_are_kept_as_they_were(segmenter_config):
    trainer = SegmenterTrainer(segmenter_config, CPU)
    trainer.keep_if_best(0.5)
    before = trainer.average.head.bias.clone()
    with torch.no_grad():
        trainer.average.head.bias += 1
    trainer.take_best()
    assert torch.equal(trainer.average.head.bias, before)


def test_a_later_round_goes_half_of_the_way(segmenter_config):
    trainer = SegmenterTrainer(segmenter_config, CPU)
    before = trainer.average.head.bias.clone()
    trainer.begin_round(1)
    with torch.no_grad():
        trainer.average.head.bias += 1
    trainer.keep_if_best(0.5)
    trainer.take_best()
    torch.testing.assert_close(trainer.average.head.bias, before + 0.5)
    torch.testing.assert_close(trainer.net.head.bias, before + 0.5)


def test_uncertain_pixels_do_not_count_in_the_loss():
    labels = torch.zeros(1, 4, 2, 2)
    labels[0, 2, 0] = 1
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, :, 0] = 50
    # The other pixels have a probability of ½ each: their cross entropy is ln 2.
    assert {name: loss.item() for name, loss in map_losses(logits, labels).items()} == pytest.approx(
        {"loss_nucleus": np.log(2), "loss_depth": np.log(2)}
    )


def test_only_the_depth_is_unknown_of_what_may_be_several_nuclei():
    labels = torch.zeros(1, 4, 2, 2)
    labels[0, 0, 0] = labels[0, 3, 0] = 1
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 1, 0] = 50
    assert {name: loss.item() for name, loss in map_losses(logits, labels).items()} == pytest.approx(
        {"loss_nucleus": np.log(2), "loss_depth": np.log(2)}
    )


def test_a_network_that_finds_nothing_does_not_agree_with_itself():
    tile = draw_tile(grid_of_centres())
    nothing = self_agreement([tile], lambda pixels: np.zeros((2, *pixels.shape[:2]), np.float32))
    assert nothing == {"agreement": 0, "nuclei": 0}


def test_a_network_that_takes_the_tile_for_one_nucleus_does_not_agree_with_itself():
    tile = draw_tile(grid_of_centres())
    everything = self_agreement([tile], lambda pixels: np.ones((2, *pixels.shape[:2]), np.float32))
    assert everything == {"agreement": 0, "nuclei": 0}


def test_an_infinite_loss_stops_the_run(folders, segmenter_config, tmp_path):
    with pytest.raises(DivergedError, match="diverged at iteration"):
        segmenter_loop(replace(segmenter_config, learning_rate=1e30), folders, tmp_path, CPU)


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def test_it_is_exported_in_8_bit_integers_only_where_that_changes_no_nuclei(finished, tmp_path, monkeypatch):
    run, trainer = finished
    tiles = [tile.pixels for tile in load_tiles(run)]
    agreement = segmenter_export.export_segmenter(trainer.average, tiles, tmp_path)
    assert agreement >= segmenter_export.MIN_AGREEMENT
    assert "QLinearConv" in operators(tmp_path / "segmenter.onnx")
    exact, rounded = open_segmenter(run_of(trainer, tmp_path / "exact")), open_segmenter(tmp_path)
    for pixels in tiles:
        np.testing.assert_allclose(predict_maps(pixels, rounded), predict_maps(pixels, exact), atol=0.25)
    monkeypatch.setattr(segmenter_export, "MIN_AGREEMENT", 1.1)
    segmenter_export.export_segmenter(trainer.average, tiles, tmp_path)
    assert "QLinearConv" not in operators(tmp_path / "segmenter.onnx")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "segmenter.onnx",
        "segmenter.safetensors",
    ]


def run_of(trainer, directory):
    directory.mkdir()
    write_segmenter(trainer.average, directory)
    return directory
