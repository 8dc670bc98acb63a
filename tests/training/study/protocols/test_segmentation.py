import hashlib
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from app.pipeline.errors import InvalidBundle
from app.pipeline.networks.architecture import Segmenter
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import PAPER, PRESETS
from app.pipeline.stain.unmix import unmix
from tests.drawing import disc, discs, draw_tile, grid_of_centres
from training import __main__ as command_line
from training.bundle.onnx_export import write_segmenter
from training.errors import DataError
from training.segmenter.lessons import Tile, save_tiles
from training.study.protocols.segmentation import evaluate_detection, evaluate_segmentation
from training.study.systems import segmentation_systems as systems_module
from training.study.systems.segmentation_systems import LearnedSystem, segmentation_systems

N = len(grid_of_centres())
RADIUS = 11


def by_paper(pixels):
    return segment(unmix(pixels, PAPER.stain, PAPER.engine), PAPER)


def by_nothing(pixels):
    return measure(np.zeros(pixels.shape[:2], np.int32))


@pytest.fixture
def bm_graz(tmp_path):
    """One tile of each split. Kainz's dots and the complete ones name each nucleus, but for one that Kainz's leave out.

    On the test tile there are dots without a nucleus: one among the complete dots, one unclear one among Kainz's.
    """
    (tmp_path / "tiles").mkdir()
    centres = grid_of_centres()
    complete, kainz = ["tile,x,y"], ["tile,x,y,code"]
    for name in ("BM_GRAZ_HE_0007_01", "other"):
        Image.fromarray(draw_tile(centres)).save(tmp_path / "tiles" / f"{name}.png")
        complete += [f"{name},{x},{y}" for x, y in centres.tolist()]
        kainz += [f"{name},{x},{y},1" for x, y in centres.tolist()[1:]]
    complete.append("BM_GRAZ_HE_0007_01,2,2")
    kainz.append("BM_GRAZ_HE_0007_01,237,2,3")
    for name, rows in (("cells_mbm.csv", complete), ("cells.csv", kainz)):
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_detection_is_scored_for_each_split(bm_graz):
    """A nucleus that only the complete dots have is no error; Kainz's dots count for recall alone."""
    scores = evaluate_detection(bm_graz, {"paper": by_paper})["paper"]
    assert scores["tune"].pop("seconds") > 0
    assert scores["test"].pop("seconds") > 0
    kainz = {"kainz_recall": 1, "kainz_recall_code_1": 1}
    assert scores["tune"] == {"precision": 1, "recall": 1, "f1": 1, "found": N, "truth": N, "tiles": 1, **kainz}
    assert scores["test"] == pytest.approx(
        {
            "precision": 1.0,
            "recall": N / (N + 1),
            "f1": 2 * N / (2 * N + 1),
            "found": N,
            "truth": N + 1,
            "kainz_recall": (N - 1) / N,
            "kainz_recall_code_1": 1,
            "tiles": 1,
        }
    )


def test_systems_are_scored_side_by_side(bm_graz):
    scores = evaluate_detection(bm_graz, {"paper": by_paper, "nothing": by_nothing})
    assert list(scores) == ["paper", "nothing"]
    assert scores["nothing"]["tune"]["found"] == 0
    assert scores["nothing"]["tune"]["f1"] == 0


def test_split_without_a_tile_is_left_out(bm_graz):
    (bm_graz / "tiles" / "other.png").unlink()
    assert list(evaluate_detection(bm_graz, {"paper": by_paper})["paper"]) == ["test"]


@pytest.mark.parametrize("name", ["cells.csv", "cells_mbm.csv"])
def test_detection_without_dots_is_an_error(bm_graz, name):
    (bm_graz / name).unlink()
    with pytest.raises(DataError, match=name):
        evaluate_detection(bm_graz, {})


@pytest.fixture
def run_on(tmp_path):
    """Return a function that makes a run whose network has learned from some files, and was checked on others."""

    def make(name, learned_from, checked_on=()):
        directory = tmp_path / "runs" / name
        directory.mkdir(parents=True)
        write_segmenter(Segmenter(4).eval(), directory)
        files = [(path, False) for path in learned_from] + [(path, True) for path in checked_on]
        pixels = np.zeros((8, 8, 3), np.uint8)
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path, _ in files]
        tiles = [
            Tile(f"x/{i}", 0, digest, pixels, held_out)
            for i, (digest, (_, held_out)) in enumerate(zip(digests, files, strict=True))
        ]
        save_tiles(tiles, directory)
        return directory

    return make


def tile_file(directory, name, value):
    path = directory / name
    Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(path)
    return path


def test_detection_says_which_tiles_of_a_split_a_network_has_seen(bm_graz, run_on, tmp_path):
    """A copy under another name is the same tile."""
    shutil.copy(bm_graz / "tiles" / "other.png", tmp_path / "a copy.png")
    elsewhere = tile_file(tmp_path, "elsewhere.png", 90)
    test_tile = bm_graz / "tiles" / "BM_GRAZ_HE_0007_01.png"
    Image.fromarray(draw_tile(grid_of_centres(), seed=1)).save(test_tile)
    system = LearnedSystem(run_on("run", [tmp_path / "a copy.png", elsewhere], [test_tile]))
    scores = evaluate_detection(bm_graz, {"learned": system, "paper": by_paper})
    seen = {
        split: [of_split[name] for name in ("learned_from", "checked_on", "other_tiles", "tiles")]
        for split, of_split in scores["learned"].items()
    }
    assert seen == {"tune": [1, 0, 2, 1], "test": [0, 1, 2, 1]}
    assert "learned_from" not in scores["paper"]["test"]


def test_a_network_that_does_not_record_its_tiles_is_no_network_without_tiles(bm_graz, tmp_path):
    write_segmenter(Segmenter(4).eval(), tmp_path)
    scores = evaluate_detection(bm_graz, {"learned": LearnedSystem(tmp_path)})["learned"]
    assert scores["test"]["learned_from"] is scores["test"]["other_tiles"] is None


@pytest.fixture
def mask_sets(tmp_path):
    """Per set two tiles, a PNG and a JPEG, with labels of 16 bits; the second has a nucleus more than can be seen."""
    centres = grid_of_centres()
    masks = ndimage.label(discs((200, 240), centres, RADIUS))[0].astype(np.uint16) * 300
    more = masks.copy()
    more[disc(masks.shape, (236, 196), 3)] = 7
    for name in ("monuseg", "consep"):
        for folder in ("tiles", "labels"):
            (tmp_path / name / folder).mkdir(parents=True)
        for tile, labels in (("one.png", masks), ("two.jpg", more)):
            Image.fromarray(draw_tile(centres, radius=RADIUS)).save(tmp_path / name / "tiles" / tile, quality=95)
            Image.fromarray(labels).save(tmp_path / name / "labels" / f"{tile[:3]}.png")
    return tmp_path


def test_masks_are_scored_for_each_set(mask_sets):
    result = evaluate_segmentation(mask_sets, {"paper": by_paper, "nothing": by_nothing})
    assert list(result) == ["monuseg", "consep"]
    for systems in result.values():
        scores = systems["paper"]
        assert (scores["tiles"], scores["found"], scores["matched"], scores["truth"]) == (2, 2 * N, 2 * N, 2 * N + 1)
        for score in ("iou", "f1", "dice", "aji", "pq"):
            assert 0.8 < scores[score] < 1
            assert systems["nothing"][score] == 0
        assert scores["seconds"] > 0


def test_a_network_is_scored_beside_one_that_has_not_seen_the_set(mask_sets, run_on):
    """Each set has its own; what either has seen of the set stands in its row."""
    paths = {name: sorted((mask_sets / name / "tiles").iterdir()) for name in ("monuseg", "consep")}
    for i, path in enumerate(paths["consep"]):
        Image.fromarray(draw_tile(grid_of_centres(), radius=RADIUS, seed=i + 2)).save(path)
    everything = LearnedSystem(run_on("all", paths["monuseg"], paths["consep"]))
    held_out = {"monuseg": LearnedSystem(run_on("other", paths["consep"]))}
    result = evaluate_segmentation(mask_sets, {"learned": everything}, held_out)
    assert {name: list(systems) for name, systems in result.items()} == {
        "monuseg": ["learned", "learned, held out"],
        "consep": ["learned"],
    }
    rows = [result["monuseg"]["learned"], result["monuseg"]["learned, held out"], result["consep"]["learned"]]
    seen = [[row[name] for name in ("learned_from", "checked_on", "other_tiles", "tiles")] for row in rows]
    assert seen == [[2, 0, 2, 2], [0, 0, 2, 2], [0, 2, 2, 2]]


def test_a_network_is_not_held_out_of_a_set_if_it_has_seen_one_of_its_tiles(mask_sets, run_on):
    """The run is refused before any tile is analysed, whether it learned from the tile or was only checked on it."""
    first, second = sorted((mask_sets / "monuseg" / "tiles").iterdir())
    for name, learned, checked, message in (
        ("a", [first], [], r"/a is not held out of monuseg: it has learned from 1 of its 2 tiles, one\.png"),
        ("b", [], [second], r"/b is not held out of monuseg: it was checked on 1 of its 2 tiles, two\.jpg"),
    ):
        run = LearnedSystem(run_on(name, learned, checked))
        with pytest.raises(DataError, match=message):
            evaluate_segmentation(mask_sets, {"x": pytest.fail}, {"monuseg": run})


def test_a_network_that_does_not_record_its_tiles_cannot_be_held_out(mask_sets, tmp_path):
    write_segmenter(Segmenter(4).eval(), tmp_path)
    with pytest.raises(DataError, match="does not record which tiles"):
        evaluate_segmentation(mask_sets, {}, {"monuseg": LearnedSystem(tmp_path)})


def test_a_network_that_is_held_out_of_a_set_that_is_not_there_is_an_error(mask_sets, run_on):
    with pytest.raises(DataError, match="kumar"):
        evaluate_segmentation(
            mask_sets, {}, {"kumar": LearnedSystem(run_on("run", [mask_sets / "monuseg" / "tiles" / "one.png"]))}
        )


def test_the_option_of_a_held_out_network_must_name_set_and_run(mask_sets, tmp_path, monkeypatch, capsys):
    arguments = ["training", "evaluate", "segmentation", tmp_path, tmp_path / "results", "--held-out", "monuseg"]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit):
        command_line.main()
    assert "SET=RUN" in capsys.readouterr().err


def test_sets_that_are_not_there_are_left_out(mask_sets):
    shutil.rmtree(mask_sets / "monuseg")
    assert list(evaluate_segmentation(mask_sets, {"paper": by_paper})) == ["consep"]


def test_directory_without_a_set_of_masks_is_an_error(tmp_path):
    with pytest.raises(DataError, match="monuseg, consep"):
        evaluate_segmentation(tmp_path, {})


def test_tile_without_labels_is_an_error(mask_sets):
    (mask_sets / "consep" / "labels" / "two.png").unlink()
    with pytest.raises(DataError, match=r"two\.jpg has no labels"):
        evaluate_segmentation(mask_sets, {})


def test_labels_of_another_size_are_an_error(mask_sets):
    Image.fromarray(np.zeros((240, 200), np.uint16)).save(mask_sets / "monuseg" / "labels" / "one.png")
    with pytest.raises(DataError, match=r"\(200, 240\), found \(240, 200\)"):
        evaluate_segmentation(mask_sets, {})


def test_damaged_tile_is_named(mask_sets):
    (mask_sets / "consep" / "tiles" / "two.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"two\.jpg"):
        evaluate_segmentation(mask_sets, {})


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_command_writes_what_the_report_reads(task, bm_graz, mask_sets, tmp_path, monkeypatch, shipped_bundle, capsys):
    """Both data sets lie in the same directory here."""
    monkeypatch.setattr(systems_module, "segmentation_systems", lambda segmenter: {"by the paper": by_paper})
    results, document = tmp_path / "results", tmp_path / "results.md"
    for arguments in (
        ["evaluate", task, tmp_path, results],
        ["report", results, document, "--bundle", shipped_bundle],
    ):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 0
    assert [path.name for path in results.iterdir()] == [f"{task}.json"]
    written = (results / f"{task}.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith(written)
    assert json.loads(written)
    assert "| by the paper |" in document.read_text(encoding="utf-8")


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_rivals_need_not_be_run_again(task, bm_graz, mask_sets, tmp_path, monkeypatch):
    """Their recorded rows stay; that of another preset, which is not measured now, does not."""
    monkeypatch.setattr(systems_module, "preset_systems", lambda segmenter: {"paper": by_paper})
    rows = {name: {"recorded": 1} for name in ("HistomicsTK, its own seeds", "learned", "paper")}
    results = tmp_path / "results"
    results.mkdir()
    recorded = rows if task == "detection" else {"monuseg": rows}
    (results / f"{task}.json").write_text(json.dumps(recorded), encoding="utf-8")
    arguments = ["training", "evaluate", task, tmp_path, results, "--no-rivals"]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 0
    written = json.loads((results / f"{task}.json").read_text(encoding="utf-8"))
    kept = written if task == "detection" else written["monuseg"]
    assert list(kept) == ["paper", "HistomicsTK, its own seeds"]
    assert kept["HistomicsTK, its own seeds"] == {"recorded": 1}
    assert "recorded" not in kept["paper"]
    if task == "segmentation":
        assert list(written["consep"]) == ["paper"]


def test_every_preset_is_evaluated_beside_histomicstk():
    pytest.importorskip("histomicstk")
    names = list(segmentation_systems())
    assert names[: len(PRESETS)] == list(PRESETS)
    assert tuple(names[len(PRESETS) :]) == systems_module.RIVALS


def test_a_segmenter_is_evaluated_after_the_presets_that_need_none(tmp_path):
    pytest.importorskip("histomicstk")
    write_segmenter(Segmenter(4).eval(), tmp_path)
    systems = segmentation_systems(tmp_path)
    assert list(systems)[len(PRESETS)] == "learned"
    assert systems["learned"](draw_tile(grid_of_centres())).label_image.shape == (200, 240)
    with pytest.raises(InvalidBundle, match="is missing"):
        segmentation_systems(tmp_path / "nowhere")


def test_every_system_finds_nuclei_that_are_easy():
    pytest.importorskip("histomicstk")
    centres = grid_of_centres()
    tile = draw_tile(centres, radius=RADIUS)
    for name, system in segmentation_systems().items():
        nuclei = system(tile)
        distances = np.linalg.norm(nuclei.centroids[:, None] - centres, axis=2)
        assert nuclei.label_image.dtype == np.int32, name
        assert nuclei.label_image.max() == len(nuclei), name
        assert len(nuclei) == N, name
        assert (distances.min(axis=0) < 3).all(), name
