"""What every command does: it shows its help at once and in any encoding, and so are its messages."""

import os
import shutil
import sys

import pytest

from app.__main__ import cli
from app.pipeline.bundle.names import name_cluster
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


def in_encoding(name, **more):
    """The environment of a program whose output has another encoding than UTF-8."""
    return {**os.environ, "PYTHONIOENCODING": name, "PYTHONUTF8": "0", "MARROWSCOPE_THREADS": "1", **more}


def marrowscope(*arguments, encoding, cwd, **environment):
    """Run a command, and return its exit status and the bytes of stdout and stderr."""
    done = ran(
        [sys.executable, "-m", "app", *arguments],
        cwd=cwd,
        env=in_encoding(encoding, PYTHONPATH=str(REPOSITORY), **environment),
        text=False,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_help_imports_nothing_that_takes_time(words):
    """An encoding that lacks even µ is no obstacle."""
    found = ran([sys.executable, "-c", SHOW, *words, "--help"], cwd=REPOSITORY, env=in_encoding("ascii"))
    assert found.returncode == 0, found.stderr
    assert "Usage:" in found.stdout, found.stderr
    assert "typer" in found.stderr
    assert {name for name in SLOW if f"'{name}'" in found.stderr} == set()


@pytest.mark.parametrize(
    ("encoding", "micron"), [("ascii", "um"), ("cp932", "um"), ("latin-1", "\xb5m"), ("utf-8", "\xb5m")]
)
def test_help_is_readable_in_any_encoding(encoding, micron, tmp_path):
    status, out, _ = marrowscope("analyze", "--help", encoding=encoding, cwd=tmp_path)
    assert status == 0
    assert f"{micron} per pixel of the tiles" in " ".join(out.decode(encoding).split())


@pytest.mark.parametrize("program", ["training", "bench", "reliability"])
def test_other_programs_show_their_help_too(program):
    done = ran([sys.executable, "-m", program, "--help"], cwd=REPOSITORY, env=in_encoding("ascii"))
    assert (done.returncode, "Usage:" in done.stdout) == (0, True), done.stderr


@pytest.fixture
def named_bundle(shipped_bundle, tmp_path):
    """A folder of bundles, with a cluster whose name few encodings have."""
    directory = shutil.copytree(shipped_bundle, tmp_path / "models" / "marrow")
    name_cluster(directory, 4, "gro\xdf, \u7d30\u80de", by="A. Smith", cells=None)
    return directory.parent


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_answers_are_utf_8_and_messages_do_not_fail_in_any_encoding(encoding, named_bundle, tmp_path):
    (tmp_path / "\u7d30\u80de \xe9.png").write_bytes((named_bundle / "marrow" / "sample.png").read_bytes())
    (tmp_path / "\u7d30\u80de \xe9.tif").write_bytes(b"no picture")
    tile, broken = sorted(path.name for path in tmp_path.glob("*.*"))

    def run(*arguments, encoding=encoding):
        return marrowscope(*arguments, encoding=encoding, cwd=tmp_path, MARROWSCOPE_BUNDLES_DIR=str(named_bundle))

    answer = run("analyze", tile, "-f", "csv")
    assert answer == run("analyze", tile, "-f", "csv", encoding="utf-8")
    assert "gro\xdf, \u7d30\u80de" in answer[1].decode("utf-8")
    status, out, err = run("analyze", broken)
    assert (status, out, b"not a PNG" in err) == (1, b"", True)
    status, out, err = run("prototypes", "0", "--n", "1", "--out", "\u7d30\u80de.png")
    assert (status, out.decode("utf-8").strip()) == (0, "\u7d30\u80de.png")
    assert run("bundle", "name", "1", "\u7d30\u80de", "--by", "\xdf")[0] == 0
