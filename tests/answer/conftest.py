"""Results that several formats are made of."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.cell_types import classify
from tests.answer.rendering import analysed
from tests.cell_classifiers import taught
from tests.drawing import draw_tile, encoded


@pytest.fixture(scope="session")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle, threads=1)


@pytest.fixture(scope="session")
def sample_pixels(sample) -> np.ndarray:
    """(512, 512, 3) uint8."""
    with Image.open(io.BytesIO(sample)) as image:
        return np.asarray(image)


@pytest.fixture(scope="session")
def sample_result(sample, bundle):
    return analysed(sample, bundle)


@pytest.fixture(scope="session")
def result(sample_pixels, bundle):
    """Of a tile that is not square, with nuclei at its border, and outliers: the limit is one that many cells pass."""
    outliers = bundle.manifest.outliers.model_copy(update={"threshold": 20.0})
    strict = replace(bundle, manifest=bundle.manifest.model_copy(update={"outliers": outliers}))
    result = analysed(encoded(sample_pixels[30:330]), strict)
    assert 0 < result.analysis.proportions.outlier.mean() < 1
    assert result.analysis.cells.touches_border.any()
    return result


@pytest.fixture(scope="session")
def typed_result(result):
    """The same, but its bundle has a classifier of two types. Every fifth cell has no type."""
    classifier = taught(threshold=0.7)
    n = len(result.analysis.cells)
    features = np.zeros((n, 8), np.float32)
    features[:, 0] = np.resize([1, -1, 2, -0.5, 0.1], n)
    types = classify(features, np.zeros((n, 0)), result.analysis.cells.centroids, classifier)
    manifest = result.bundle.manifest.model_copy(update={"cell_classifier": classifier})
    analysis = replace(result.analysis, types=types)
    return replace(result, bundle=replace(result.bundle, manifest=manifest), analysis=analysis)


@pytest.fixture(scope="session")
def empty_result(bundle):
    """Of a tile without cells."""
    result = analysed(encoded(draw_tile(np.zeros((0, 2)), shape=(50, 60))), bundle)
    assert len(result.analysis.cells.nuclei) == 0
    return result
