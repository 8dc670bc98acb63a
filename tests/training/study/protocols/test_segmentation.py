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
from training.study.protocols.segmentation import evaluate_detection, evaluate_segmentation
from training.study.systems import segmentation_systems as systems_module
from training.study.systems.segmentation_systems import segmentation_systems

N = len(grid_of_centres())
RADIUS = 11


def by_paper(pixels):
    return segment(unmix(pixels, PAPER.stain, PAPER.engine), PAPER)


def by_nothing(pixels):
    return measure(np.zeros(pixels.shape[:2], np.int32))


@pytest.fixture
def bm_graz(tmp_path):
    """One tile of each split, with a dot on each nucleus; on the test tile two dots more, of which one is unclear."""
    (tmp_path / "tiles").mkdir()
    centres = grid_of_centres()
    rows = ["tile,x,y,code"]
    for name, extra in (("BM_GRAZ_HE_0007_01", ["2,2,1", "237,2,3"]), ("other", [])):
        Image.fromarray(draw_tile(centres)).save(tmp_path / "tiles" / f"{name}.png")
        rows += [f"{name},{dot}" for dot in [*(f"{x},{y},1" for x, y in centres.tolist()), *extra]]
    (tmp_path / "cells.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_detection_is_scored_for_each_split(bm_graz):
    scores = evaluate_detection(bm_graz, {"paper": by_paper})["paper"]
    assert scores["tune"].pop("seconds") > 0
    assert scores["test"].pop("seconds") > 0
    perfect = {"precision": 1, "recall": 1, "f1": 1, "recall_code_1": 1, "found": N, "truth": N}
    assert scores["tune"] == perfect
    assert scores["test"] == pytest.approx(
        {
            "precision": 1.0,
            "recall": N / (N + 2),
            "f1": 2 * N / (2 * N + 2),
            "recall_code_1": N / (N + 1),
            "found": N,
            "truth": N + 2,
        }
    )


def test_detection_is_also_scored_on_the_complete_dots(bm_graz):
    """They name a nucleus more on one tile, and one that Kainz's dots have is not among them on the other."""
    x, y = grid_of_centres()[0]
    rows = [row.rsplit(",", 1)[0] for row in (bm_graz / "cells.csv").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row not in (f"other,{x},{y}", "BM_GRAZ_HE_0007_01,237,2")]
    (bm_graz / "cells_mbm.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    scores = evaluate_detection(bm_graz, {"paper": by_paper})["paper"]
    assert scores["tune"]["f1"] == 1
    assert scores["tune"]["mbm_precision"] == pytest.approx((N - 1) / N)
    assert scores["tune"]["mbm_recall"] == 1
    assert scores["tune"]["mbm_truth"] == N - 1
    assert scores["test"]["mbm_recall"] == pytest.approx(N / (N + 1))
    assert scores["test"]["truth"] == N + 2


def test_systems_are_scored_side_by_side(bm_graz):
    scores = evaluate_detection(bm_graz, {"paper": by_paper, "nothing": by_nothing})
    assert list(scores) == ["paper", "nothing"]
    assert scores["nothing"]["tune"]["found"] == 0
    assert scores["nothing"]["tune"]["f1"] == 0


def test_split_without_a_tile_is_left_out(bm_graz):
    (bm_graz / "tiles" / "other.png").unlink()
    assert list(evaluate_detection(bm_graz, {"paper": by_paper})["paper"]) == ["test"]


def test_detection_without_dots_is_an_error(bm_graz):
    (bm_graz / "cells.csv").unlink()
    with pytest.raises(DataError, match=r"cells\.csv"):
        evaluate_detection(bm_graz, {})


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


def test_every_preset_is_evaluated_beside_histomicstk():
    pytest.importorskip("histomicstk")
    names = list(segmentation_systems())
    assert names[: len(PRESETS)] == list(PRESETS)
    assert sum("HistomicsTK" in name for name in names) == 3


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
