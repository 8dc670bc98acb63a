import pytest

from app.pipeline.cell_classifier import CellClassifier
from app.pipeline.manifest import Manifest
from tests.cell_classifiers import taught, taught_values


def changed(values, path, value):
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        values = values[part]
    values[last] = value


@pytest.fixture
def with_encoder(manifest_values):
    """The values of a manifest whose bundle has 8 features of a cell."""
    manifest_values["architecture"]["encoder_width"] = 1
    return manifest_values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("types", [{"name": "only one", "color": "#000000"}]),
        ("types.0.name", ""),
        ("types.0.name", " "),
        ("types.0.name", "space at its end "),
        ("types.0.name", "two\nlines"),
        ("types.0.name", "x" * 61),
        ("types.0.name", "pale large"),
        ("types.0.color", "red"),
        ("types.0.color", "#12345G"),
        ("types.0.lineage", "lymphoid"),
        ("measurements", ["area"]),
        ("mean", []),
        ("mean.0", float("nan")),
        ("deviation.0", 0),
        ("deviation", [1.0]),
        ("weights.1", [1.0]),
        ("weights", [[1.0] * 8]),
        ("bias", [0.0]),
        ("temperature", 0),
        ("threshold", 1.1),
        ("neighbours", None),
        ("validation.held_out", "cells"),
        ("validation.confusion", [[18, 1], [2, 16]]),
        ("validation.confusion.0.1", -1),
        ("validation.types", [{"n": 1, "precision": None, "recall": 1, "f": 0}]),
        ("validation.types.0.f", 2),
        ("source.bundle_sha256", "abc"),
        ("source.somebody", "else"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(with_encoder, path, value):
    with_encoder["cell_classifier"] = taught_values()
    changed(with_encoder["cell_classifier"], path, value)
    with pytest.raises(ValueError, match="cell_classifier"):
        Manifest.model_validate(with_encoder)


def test_manifest_without_a_classifier_has_none(manifest):
    assert manifest.cell_classifier is None


@pytest.mark.parametrize(
    ("values", "d"), [({}, 8), ({"neighbours": True}, 16), ({"neighbours": True, "measurements": ["area"]}, 17)]
)
def test_classifier_has_as_many_numbers_as_are_known_of_a_cell(with_encoder, values, d):
    with_encoder["cell_classifier"] = taught_values(**values)
    classifier = Manifest.model_validate(with_encoder).cell_classifier
    assert len(classifier.mean) == classifier.numbers_of(8) == d
    with_encoder["cell_classifier"] = taught_values(7, **values)
    with pytest.raises(ValueError, match=f"cell_classifier.mean must have {d} numbers"):
        Manifest.model_validate(with_encoder)


def test_bundle_without_features_cannot_have_a_classifier(manifest_values):
    manifest_values["cell_classifier"] = taught_values()
    with pytest.raises(ValueError, match="the bundle has no encoder"):
        Manifest.model_validate(manifest_values)


def test_types_and_measurements_are_named_once():
    values = taught_values(measurements=["area", "area"])
    with pytest.raises(ValueError, match="measurements must have distinct names, found 'area' twice"):
        CellClassifier.model_validate(values)


def test_classifier_is_the_same_after_it_was_written_and_read():
    classifier = taught(neighbours=True, measurements=["area", "circularity"])
    assert CellClassifier.model_validate_json(classifier.model_dump_json()) == classifier
