import httpx
import pytest

from bench.server import serving
from tests.waiting import PATIENCE_S


@pytest.mark.slow
def test_server_is_ready_when_it_is_given_and_gone_afterwards():
    with serving() as server:
        assert server.ready_s > 0
        assert httpx.get(f"{server.url}/readyz", timeout=PATIENCE_S).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/readyz", timeout=PATIENCE_S)


def test_server_that_does_not_start_says_why():
    with pytest.raises(RuntimeError, match="MARROWSCOPE_WORKERS"), serving(MARROWSCOPE_WORKERS="none"):
        pass
