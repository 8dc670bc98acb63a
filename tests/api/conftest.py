"""The service as a client sees it."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.api.answers import check_answer, post_tile


def open_client(stack: ExitStack, **settings) -> TestClient:
    """A client of a new service, its lifespan entered; every answer is checked by `check_answer`."""
    app = create_app(Settings(**{"threads": 1, **settings}))
    options = {"raise_server_exceptions": False, "follow_redirects": False, "base_url": "http://127.0.0.1:8000"}
    client = stack.enter_context(TestClient(app, **options))
    client.event_hooks["response"].append(check_answer)
    return client


@pytest.fixture(scope="session")
def client():
    """The service as it is shipped."""
    with ExitStack() as stack:
        yield open_client(stack)


@pytest.fixture
def serve() -> Callable[..., TestClient]:
    """Start a service with other settings than the shipped ones."""
    with ExitStack() as stack:
        yield lambda **settings: open_client(stack, **settings)


@pytest.fixture(scope="session")
def sample_answer(client, sample) -> dict:
    response = post_tile(client, sample)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="session")
def real_answer(client, real_upload) -> dict:
    response = post_tile(client, real_upload)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="session")
def card(client) -> dict:
    """GET /bundles/marrow."""
    return client.get("/bundles/marrow").json()
