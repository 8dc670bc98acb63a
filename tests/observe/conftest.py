"""The service, and what it tells about itself."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from tests.api.conftest import open_client


@pytest.fixture
def serve() -> Callable[..., TestClient]:
    """Start a service: its numbers begin at 0."""
    with ExitStack() as stack:
        yield lambda **settings: open_client(stack, **settings)


@pytest.fixture
def client(serve) -> TestClient:
    return serve()
