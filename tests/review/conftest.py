import pytest

from app.pipeline.run import analyse_stages
from app.review.reviews import Reviews
from app.review.store import Store, metadata
from tests.jobs.conftest import postgres_url  # noqa: F401 - a fixture
from tests.review.seeing import seeing_bundle, tile


@pytest.fixture
def bundle(manifest_values):
    return seeing_bundle(manifest_values)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'reviews.sqlite'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def store(url):
    """An empty store, in each kind of database."""
    opened = Store(url)
    metadata.drop_all(opened._engine)
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def file_reviews(tmp_path):
    opened = Store(f"sqlite:///{tmp_path / 'reviews.sqlite'}")
    opened.create()
    yield Reviews(opened)
    opened.close()


@pytest.fixture
def put_in(bundle):
    """`put_in(reviews, seed, …)` analyses a tile and puts it in; returns what `Reviews.add_tile` does."""

    def put(reviews, seed=0, used=bundle, name="", group=None):
        analysis, stages = analyse_stages(tile(seed), used, max_pixels=10**6, precision="full")
        return reviews.add_tile(analysis, stages, used, name, group, None)

    return put
