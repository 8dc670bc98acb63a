"""Results that several tests of the batch read."""

import pytest

from app.pipeline.bundle.load import load_bundle
from tests.batch.made_summary import make


@pytest.fixture(scope="session")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle, threads=1)


@pytest.fixture(scope="session")
def made(sample, bundle):
    """What is told of the sample tile."""
    return make(sample, bundle)
