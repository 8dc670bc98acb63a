import os

import pytest

from app.jobs import runner as runner_module
from app.jobs.runner import Runner
from app.jobs.store import Store
from tests.jobs.orders import stand_in_command
from tests.jobs.postgres import find_tools, postgres


@pytest.fixture(scope="session")
def postgres_url():
    tools = find_tools()
    if tools is None:
        assert "CI" not in os.environ, "PostgreSQL is not installed (initdb was not found)"
        pytest.skip("PostgreSQL is not installed (initdb was not found).")
    with postgres(tools) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return (
        f"sqlite:///{tmp_path / 'b.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )


@pytest.fixture
def store(url):
    """An empty store, in each kind of database."""
    from app.jobs.store import metadata

    opened = Store(url)
    metadata.drop_all(opened._engine)
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def file_store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path / 'batches.sqlite'}")
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def run_on(file_store, tmp_path, monkeypatch):
    """Start a runner on the store: `run_on()`; closed afterwards."""
    monkeypatch.setattr(runner_module, "TICK_S", 0.05)
    runners = []

    def start():
        runners.append(Runner(file_store, tmp_path, stand_in_command))
        runners[-1].start()
        return runners[-1]

    yield start
    for runner in runners:
        runner.close()
