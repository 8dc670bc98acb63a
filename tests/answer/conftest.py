"""Results that several formats are made of."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.networks.encode import encode
from app.pipeline.run import analyse_stages
from tests.answer.rendering import analysed
from tests.cell_classifiers import typed
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
    tile = encoded(sample_pixels[30:330])
    crops = analyse_stages(tile, bundle, max_pixels=9_000_000)[1].crops
    limit = float(np.quantile(encode(crops, bundle.backend, bundle.manifest.n_clusters).surprise, 0.9))
    outliers = bundle.manifest.outliers.model_copy(update={"threshold": limit})
    strict = replace(bundle, manifest=bundle.manifest.model_copy(update={"outliers": outliers}))
    result = analysed(tile, strict)
    assert 0 < result.analysis.proportions.outlier.mean() < 1
    assert result.analysis.cells.touches_border.any()
    return result


@pytest.fixture(scope="session")
def typed_result(result):
    """The same, but its bundle has a classifier of two types."""
    return typed(result)


@pytest.fixture(scope="session")
def empty_result(bundle):
    """Of a tile without cells."""
    result = analysed(encoded(draw_tile(np.zeros((0, 2)), shape=(50, 60))), bundle)
    assert len(result.analysis.cells.nuclei) == 0
    return result
