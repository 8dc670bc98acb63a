import re
from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.label.decide import decide_label
from app.pipeline.manifest import ImageLevel
from training.cells.tile_labels import TileLabels
from training.errors import DataError
from training.label.image_level import fit_image_level, read_image_level, remove_image_level, write_image_level
from training.label.simulated_bags import blast_like


@pytest.fixture(scope="module")
def fit_config(smoke):
    return smoke.fit


@pytest.fixture(scope="module")
def clusters(cells):
    return np.arange(len(cells)) % 5


def labelled(cells, abnormal, patients=None):
    """The cells dealt out to as many tiles, of these labels, with 10 cells each."""
    n = len(abnormal)
    few = np.arange(10 * n) % len(cells)
    return replace(
        cells,
        crops=cells.crops[few],
        tile_index=np.arange(10 * n) // 10,
        areas_px=cells.areas_px[few],
        measurements=cells.measurements[few],
        tiles=tuple(f"t{i}" for i in range(n)),
        cellularity=np.full(n, 0.5),
        labels=TileLabels(np.array(abnormal), None if patients is None else np.array(patients)),
    )


def clusters_of(cells, shares):
    """Clusters of cells, (N,): of the ten cells of each tile, this many are in cluster 1, and the rest in 0."""
    return (np.arange(len(cells)) % 10 < np.array(shares)[cells.tile_index]).astype(np.int64)


def one_tile(cells):
    own = cells.tile_index == 0
    return replace(
        cells,
        crops=cells.crops[own],
        tile_index=cells.tile_index[own],
        areas_px=cells.areas_px[own],
        measurements=cells.measurements[own],
        tiles=cells.tiles[:1],
        stain_matrices=cells.stain_matrices[:1],
        cellularity=cells.cellularity[:1],
    )


def test_models_separate_simulated_bags(cells, fit_config):
    # Healthy cells of every tile are in cluster 0 here, so that a tile left out is like the others.
    clusters = blast_like(cells.crops, cells.areas_px).astype(np.int64)
    result = fit_image_level(cells, clusters, 5, replace(fit_config, blast_share=(0.6, 0.8)))
    model = ImageLevel.model_validate(result["model"])
    assert result["metrics"]["f1"] > 0.9
    assert result["metrics"]["training_tiles"] == 3
    assert model.min_cells == fit_config.min_cells
    assert "imulated" in model.label_basis
    assert max(model.svm.weights) == model.svm.weights[1]
    assert set(model.kmeans.labels) == {"normal", "abnormal"}
    full = decide_label(np.array([0.1, 0.9, 0, 0, 0]), 300, model)
    none = decide_label(np.array([1.0, 0, 0, 0, 0]), 300, model)
    assert full.evidence.score > 0 > none.evidence.score
    assert (full.evidence.kmeans, none.evidence.kmeans) == ("abnormal", "normal")
    # Bags of three tiles do not show what scores those of other tiles have.
    assert full.value == "indeterminate"
    assert "needs 9 tiles of each label" in full.reason
    # Of simulated tiles no probability is offered.
    assert model.calibration is None
    assert [group.is_simulated for group in model.reference.groups] == [False, True]
    assert len(model.reference.groups[0].proportions) == 3


def test_fit_is_the_same_again(cells, clusters, fit_config):
    assert fit_image_level(cells, clusters, 5, fit_config) == fit_image_level(cells, clusters, 5, fit_config)


def test_collapsed_q_still_gives_a_model(cells, fit_config):
    result = fit_image_level(cells, np.zeros(len(cells), np.int64), 5, fit_config)
    ImageLevel.model_validate(result["model"])


def test_one_tile_is_too_few_and_the_error_says_so(cells, fit_config):
    """Figures of tiles left out of the fit need two of them."""
    single = one_tile(cells)
    with pytest.raises(DataError, match="tile"):
        fit_image_level(single, np.arange(len(single)) % 5, 5, fit_config)


def test_labelled_tiles_that_differ_are_separated(cells, fit_config):
    found = labelled(cells, [0, 1] * 4)
    result = fit_image_level(found, clusters_of(found, [1, 8, 2, 9, 1, 7, 2, 8]), 5, fit_config)
    model, metrics = ImageLevel.model_validate(result["model"]), result["metrics"]
    assert "Not simulated" in model.label_basis
    assert metrics["f1"] == metrics["auc"] == metrics["kmeans"]["f1"] == 1
    assert metrics["called"] == {"normal": {"normal": 4, "abnormal": 0}, "abnormal": {"normal": 0, "abnormal": 4}}
    assert (metrics["tiles"], metrics["patients"], metrics["folds"]) == ({"normal": 4, "abnormal": 4}, None, 4)
    for proportions, side in (([0.2, 0.8, 0, 0, 0], 1), ([0.8, 0.2, 0, 0, 0], -1)):
        label = decide_label(np.array(proportions), 300, model)
        assert label.evidence.score * side > 0
        # Four tiles of a label are too few to say what scores it can have.
        assert (label.value, label.evidence.probability) == ("indeterminate", None)
    assert [group.name for group in model.reference.groups] == ["normal training tiles", "abnormal training tiles"]


def test_forty_labelled_tiles_give_labels_and_probabilities(cells, fit_config):
    found = labelled(cells, [0, 1] * 20)
    result = fit_image_level(found, clusters_of(found, [1, 8, 2, 9] * 10), 5, fit_config)
    model, metrics = ImageLevel.model_validate(result["model"]), result["metrics"]
    assert model.conformal.examples.model_dump() == {"normal": 20, "abnormal": 20}
    assert model.calibration.tiles.model_dump() == {"normal": 20, "abnormal": 20}
    assert sum(row["tiles"] for row in metrics["reliability"]["table"]) == 40
    abnormal, normal = (decide_label(np.array(p), 300, model) for p in ([0.1, 0.9, 0, 0, 0], [0.9, 0.1, 0, 0, 0]))
    assert (abnormal.value, normal.value) == ("abnormal", "normal")
    assert abnormal.evidence.probability > 0.9 > 0.1 > normal.evidence.probability


def test_limits_are_of_patients_where_they_are_known(cells, fit_config):
    """Forty tiles of eight patients are not enough for limits: nine patients of each label are."""
    found = labelled(cells, [0, 1] * 20, patients=np.arange(40) % 8)
    conformal = fit_image_level(found, clusters_of(found, [1, 8, 2, 9] * 10), 5, fit_config)["model"]["conformal"]
    assert (conformal["units"], conformal["n_units"]) == ("patients", {"normal": 4, "abnormal": 4})
    assert (conformal["max_normal"], conformal["min_abnormal"]) == (None, None)


def test_labels_that_proportions_contradict_are_refused(cells, fit_config):
    """In each fold the labels of the tiles left out are the reverse of what the other tiles teach."""
    abnormal = np.array([0, 1] * 20)
    found = labelled(cells, abnormal, patients=np.arange(40) // 2)
    odd = np.random.default_rng(0).permutation(np.arange(40) // 2 % 4)
    shares = [1 + 2 * (label ^ int(block % 2)) for label, block in zip(abnormal, odd, strict=True)]
    with pytest.raises(DataError, match="do not score higher"):
        fit_image_level(found, clusters_of(found, shares), 5, fit_config)


def test_basis_says_on_what_the_label_rests(cells, fit_config):
    shares = [1, 8, 2, 9, 1, 7, 2, 8]
    with_patients = labelled(cells, [0, 1] * 4, patients=range(8))
    basis = fit_image_level(with_patients, clusters_of(with_patients, shares), 5, fit_config)["model"]["label_basis"]
    assert "rests on 8 tiles of 8 patients" in basis
    assert "4 normal, 4 abnormal" in basis
    assert "all other tiles of the same patient, and labelled by it: 8 of the 8" in basis
    without = labelled(cells, [0, 1] * 4)
    basis = fit_image_level(without, clusters_of(without, shares), 5, fit_config)["model"]["label_basis"]
    assert "unknown patients" in basis
    assert not re.search("^Simulated", basis)


def test_figures_are_of_tiles_whose_patient_was_left_out(cells, fit_config):
    """Each patient has a cluster of its own, so that tiles of one patient do not help to label those of another."""
    patients = np.array([*range(8), *range(4)])
    found = labelled(cells, patients % 2, patients)
    clusters = patients[found.tile_index]
    grouped = fit_image_level(found, clusters, 8, fit_config)["metrics"]
    assert grouped["patients"] == 8
    unknown = replace(found, labels=TileLabels(found.labels.abnormal, None))
    assert fit_image_level(unknown, clusters, 8, fit_config)["metrics"]["f1"] > grouped["f1"]


def test_rare_label_weighs_as_much_as_the_other(cells, fit_config):
    """Eight normal tiles against four: their number must not move the border beyond .5."""
    found = labelled(cells, [0] * 8 + [1] * 4)
    result = fit_image_level(found, clusters_of(found, [3] * 8 + [5] * 4), 5, fit_config)
    assert result["metrics"]["called"]["abnormal"] == {"normal": 0, "abnormal": 4}


def test_tile_without_cells_is_left_out(cells, fit_config):
    found = labelled(cells, [0, 1] * 4)
    clusters = clusters_of(found, [1, 8, 2, 9, 1, 7, 2, 8])
    whole = fit_image_level(found, clusters, 5, fit_config)
    shifted = replace(
        found,
        tile_index=found.tile_index + 1,
        tiles=("empty", *found.tiles),
        cellularity=np.append(np.nan, found.cellularity),
        labels=TileLabels(np.append(1, found.labels.abnormal), None),
    )
    assert fit_image_level(shifted, clusters, 5, fit_config) == whole


def test_result_is_written_read_and_removed(cells, clusters, fit_config, tmp_path):
    result = fit_image_level(cells, clusters, 5, fit_config) | {"q_calibration": None}
    write_image_level(result, tmp_path)
    assert read_image_level(tmp_path) == result
    remove_image_level(tmp_path)
    remove_image_level(tmp_path)
    with pytest.raises(DataError, match="training fit"):
        read_image_level(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"model": {}, "metrics": {}}', b"\xff"])
def test_damaged_result_is_refused_by_name(tmp_path, content):
    (tmp_path / "image_level.json").write_bytes(content)
    with pytest.raises(DataError, match=r"image_level\.json is damaged"):
        read_image_level(tmp_path)
