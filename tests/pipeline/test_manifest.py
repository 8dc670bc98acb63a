import hashlib
import json

import numpy as np
import pytest

from app.pipeline.bundle.load import read_manifest
from app.pipeline.errors import InvalidBundle
from app.pipeline.fit.reference_fit import ReferenceCells, fit_reference_ranges
from app.pipeline.manifest import Manifest
from app.pipeline.presets import DEFAULT, LevelParams
from tests.descriptors import AREA, with_area

NAME = {"cluster": 0, "name": "round", "by": "somebody", "when": "2026-01-01", "cells": 60}

PLATT = {"slope": 1.0, "intercept": 0.0, "tiles": {"normal": 20, "abnormal": 20}}
Q_CALIBRATION = {
    "temperature": 1.2,
    "cells": 4000,
    "tiles": 11,
    "folds": 4,
    "held_out": "tiles",
    "agreement": 0.85,
    "error_before": 0.05,
    "error_after": 0.02,
}
AGREEMENT = {
    "tiles": 4,
    "cells": 1866,
    "clusters": 0.997,
    "outliers": 0.998,
    "proportion_change": 0.002,
    "worst_tile_proportion_change": 0.005,
}
FAST = {"kind": "int8", "fitted_cells": 2934, "agreement": AGREEMENT, "tolerance": 0.05}


def written(directory, values):
    (directory / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    return directory


def changed(values, path, value):
    """Set values["a"]["b"] for path "a.b"; a list index is a number."""
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        values = values[part]
    values[last] = value


def test_manifest_is_read_with_the_digest_of_its_bytes(tmp_path, manifest_values, manifest):
    found, sha256 = read_manifest(written(tmp_path, manifest_values))
    assert found == manifest
    assert sha256 == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 1),
        ("name", "../etc"),
        ("name", "Marrow"),
        ("name", ""),
        ("n_clusters", 1),
        ("latent_size", 0),
        ("mpp", 0),
        ("mpp", float("nan")),
        ("mpp", float("inf")),
        ("architecture.channels", 0),
        ("architecture.code_scale", 0),
        ("segmentation.engine", "other"),
        ("segmentation.preset", "other"),
        ("segmentation.threshold", 0),
        ("segmentation.threshold", 256),
        ("segmentation.min_area_px", 0),
        ("segmentation.compaction", 0),
        ("segmentation.opening_px", 0),
        ("segmentation.stain.target_sd.1", 0),
        ("segmentation.stain.target_sd.1", float("inf")),
        ("segmentation.stain.target_mean.1", float("nan")),
        ("segmentation.stain.min_magnitude", -1),
        ("segmentation.stain.angle_percentiles", [1, 101]),
        ("segmentation.stain.angle_percentiles", [-1, 99]),
        ("segmentation.stain.angle_percentiles", [99, 1]),
        ("quality.stain_matrix.0", [0, 0, 0]),
        ("quality.stain_centre", [0.0] * 11),
        ("quality.stain_scale", [1.0] * 13),
        ("quality.stain_scale.5", 0),
        ("quality.max_stain_distance", 0),
        ("quality.max_stain_distance", float("nan")),
        ("quality.hue_range_deg", [170, 45]),
        ("quality.hue_range_deg", [-10, 45]),
        ("quality.min_he_share", 1.1),
        ("quality.min_focus", 0),
        ("quality.max_blockiness", 0),
        ("quality.min_tissue_fraction", -0.1),
        ("quality.max_clipped", 1.1),
        ("quality.nuclear_radius_range_px", [400, 200]),
        ("quality.nuclear_radius_range_px", [0, 200]),
        ("quality.radius_over_focus_range_px", [20, 10]),
        ("quality.min_nuclei", 0),
        ("cluster_names", ["one", "two"]),
        ("cluster_names", {"version": 0, "clusters": []}),
        ("cluster_names", {"version": 1, "clusters": [NAME | {"cluster": 5}]}),
        ("cluster_names", {"version": 1, "clusters": [NAME, NAME]}),
        ("cluster_names", {"version": 1, "clusters": [NAME | {"cells": 0}]}),
        ("image_level.reference.mean", [0.2]),
        ("image_level.reference.groups.0.proportions", [[1.0]]),
        ("image_level.descriptor", "measurements"),
        ("image_level.descriptor", "proportions+measurements"),  # but none is named
        ("image_level.measurements", [AREA.model_dump()]),  # but the descriptor is of proportions
        ("image_level.conformal.coverage", 90),
        ("image_level.conformal.coverage", 1),
        ("image_level.conformal.units", "patients"),  # without the SVMs of its limits
        ("image_level.conformal.without_a_normal", [{"weights": [1.0], "bias": 0.0}]),
        ("image_level.calibration", PLATT | {"slope": -1.0}),
        ("image_level.calibration", PLATT | {"slope": 0.0}),
        ("q_calibration", {"temperature": 1.0}),
        ("q_calibration", Q_CALIBRATION | {"temperature": 0}),
        ("q_calibration", Q_CALIBRATION | {"error_after": 1.5}),
        ("outliers.max_share", 1.5),
        ("image_level.min_cells", 0),
        ("image_level.label_basis", ""),
        ("image_level.svm.bias", float("inf")),
        ("image_level.svm.weights", [1.0, 2.0]),
        ("image_level.kmeans.centres.1", [1.0]),
        ("image_level.kmeans.labels", ["normal", "odd"]),
        ("metrics.clusters", []),
        ("metrics.clusters.0.share", 1.5),
        ("files", {}),
        ("fast", {"kind": "int8"}),
        ("fast", FAST),
        ("fast", FAST | {"kind": "float16"}),
        ("fast", FAST | {"tolerance": 0}),
        ("files.q.onnx", "short"),
    ],
)
def test_impossible_value_is_refused_by_name(tmp_path, manifest_values, path, value):
    if path == "files.q.onnx":
        manifest_values["files"]["q.onnx"] = value
    else:
        changed(manifest_values, path, value)
    with pytest.raises(InvalidBundle, match="malformed") as error:
        read_manifest(written(tmp_path, manifest_values))
    assert str(tmp_path) not in str(error.value)


def test_file_outside_the_bundle_is_refused(tmp_path, manifest_values):
    manifest_values["files"]["../secret"] = "0" * 64
    with pytest.raises(InvalidBundle, match="files"):
        read_manifest(written(tmp_path, manifest_values))


def test_fast_network_comes_with_its_file(tmp_path, manifest_values):
    manifest_values |= {"fast": FAST, "files": manifest_values["files"] | {"q_fast.onnx": "0" * 64}}
    assert read_manifest(written(tmp_path, manifest_values))[0].fast.agreement.cells == 1866
    manifest_values["fast"] = None
    with pytest.raises(InvalidBundle, match="files"):
        read_manifest(written(tmp_path, manifest_values))


def test_calibration_of_q_is_read(tmp_path, manifest_values):
    manifest_values["q_calibration"] = Q_CALIBRATION
    assert read_manifest(written(tmp_path, manifest_values))[0].q_calibration.temperature == 1.2


@pytest.mark.parametrize("where", ["", "segmentation", "segmentation.stain", "quality", "image_level.svm"])
def test_unknown_key_is_refused(tmp_path, manifest_values, where):
    changed(manifest_values, f"{where}.surprise".lstrip("."), 1)
    with pytest.raises(InvalidBundle, match="surprise"):
        read_manifest(written(tmp_path, manifest_values))


def test_missing_key_is_refused(tmp_path, manifest_values):
    del manifest_values["segmentation"]["threshold"]
    with pytest.raises(InvalidBundle, match=r"segmentation\.paper\.threshold"):
        read_manifest(written(tmp_path, manifest_values))


def test_bundles_of_the_version_before_load_and_have_no_reference_ranges(tmp_path, manifest_values):
    found, _ = read_manifest(written(tmp_path, manifest_values | {"schema_version": 2}))
    assert found.reference_ranges is None
    assert read_manifest(written(tmp_path, manifest_values | {"schema_version": 3}))[0].schema_version == 3


def test_reference_ranges_are_of_as_many_clusters(tmp_path, manifest_values):
    ranges = fit_reference_ranges(ReferenceCells(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), 2), "two tiles")
    values = manifest_values | {"reference_ranges": ranges.model_dump(mode="json")}
    with pytest.raises(
        InvalidBundle, match=r"reference_ranges\.proportions must have n_clusters = \d+ numbers, found 2"
    ):
        read_manifest(written(tmp_path, values))


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"null", b'{"schema_version": 1', b"\xff\xfe\0"])
def test_what_is_not_a_json_object_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InvalidBundle, match="malformed"):
        read_manifest(tmp_path)


def test_missing_manifest_is_refused(tmp_path):
    with pytest.raises(InvalidBundle, match="cannot be read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"levels": (1.0, 0.5)}, {"levels": (0.5, 0.5)}, {"nuclear_density_range": (60, 20)}, {"max_area_px": 40}],
)
def test_levels_that_could_find_nothing_are_refused(changes):
    with pytest.raises(ValueError, match="must"):
        LevelParams.model_validate({**DEFAULT.model_dump(), **changes})


def test_svms_have_a_weight_for_each_number_of_the_descriptor(manifest):
    svm = manifest.image_level.svm
    limits = manifest.image_level.conformal.model_copy(update={"without_a_normal": (svm,)})
    known = with_area(manifest.image_level.model_copy(update={"conformal": limits}), 0.5)

    def validated(level):
        return Manifest.model_validate(manifest.model_copy(update={"image_level": level}).model_dump())

    assert validated(known).image_level == known
    with pytest.raises(ValueError, match=r"svm\.weights must have .* = 5 numbers, and one for each of the 1"):
        validated(known.model_copy(update={"svm": svm}))
    with pytest.raises(ValueError, match=r"SVM 0 of image_level\.conformal must .* = 5 numbers, and one for"):
        validated(known.model_copy(update={"conformal": limits}))
