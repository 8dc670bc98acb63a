import os
import sys

from tests.conftest import REPOSITORY
from tests.processes import ran

LOAD = (
    "from pathlib import Path; from app.pipeline.bundle.load import load_bundle; load_bundle(Path('models/marrow'), 1)"
)


def test_loading_a_bundle_leaves_nothing_in_the_home_of_its_user(tmp_path):
    """ONNX Runtime queues what is for its maker's server under ~/.cache, unless it is told not to."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    }
    loaded = ran([sys.executable, "-c", LOAD], cwd=REPOSITORY, env={**inherited, "HOME": str(tmp_path)})
    assert loaded.returncode == 0, loaded.stderr
    assert list(tmp_path.rglob("*")) == []
