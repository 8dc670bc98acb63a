"""Every command shows its help at once: what takes time to import is imported when the command does its work."""

import subprocess
import sys

import pytest

from app.__main__ import cli
from tests.conftest import REPOSITORY

SLOW = {"cv2", "fastapi", "numpy", "onnxruntime", "PIL", "scipy", "skimage", "sqlalchemy", "starlette", "uvicorn"}
SHOW = """
import sys
from app.__main__ import main
try:
    main()
finally:
    print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
PATIENCE_S = 60


def commands(group, *above):
    """The words of every command and group."""
    yield above
    for command in group.registered_commands:
        yield (*above, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, *above, inner.name)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_help_imports_nothing_that_takes_time(words):
    ran = subprocess.run(
        [sys.executable, "-c", SHOW, *words, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert "Usage:" in ran.stdout
    assert "typer" in ran.stderr
    assert {name for name in SLOW if f"'{name}'" in ran.stderr} == set()
