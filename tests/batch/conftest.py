"""What several tests of batches read: the shipped bundle, and the results of a slide."""

import pytest

from app.pipeline.bundle.load import load_bundle
from tests.batch.sample_slide import analysed_sample


@pytest.fixture(scope="session")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle, threads=1)


@pytest.fixture(scope="session")
def example(sample, bundle):
    """The sample tile, taken for a slide."""
    return analysed_sample(sample, bundle)
