"""Every command shows its help at once: what takes time to import is imported when the command does its work."""

import sys

import pytest

from app.__main__ import cli
from tests.conftest import REPOSITORY
from tests.processes import ran

SLOW = {"cv2", "fastapi", "numpy", "onnxruntime", "PIL", "scipy", "skimage", "sqlalchemy", "starlette", "uvicorn"}
SHOW = """
import sys
from app.__main__ import main
try:
    main()
finally:
    print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def commands(group, *above):
    """The words of every command and group."""
    yield above
    for command in group.registered_commands:
        yield (*above, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, *above, inner.name)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_help_imports_nothing_that_takes_time(words):
    found = ran([sys.executable, "-c", SHOW, *words, "--help"], cwd=REPOSITORY)
    assert "Usage:" in found.stdout, found.stderr
    assert "typer" in found.stderr
    assert {name for name in SLOW if f"'{name}'" in found.stderr} == set()
