import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import REPOSITORY

FLOORS = {"python-multipart": "0.0.32", "starlette": "1.3.1", "pillow": "12.3"}
"""What reads uploads: the first releases without a known vulnerability. The others are looked up by `make audit`."""


def version(text):
    return tuple(int(part) for part in text.split("."))


def locked(name):
    """Package → every version that the file has of it."""
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found = {}
    for package, number in re.findall(r"(?m)^([\w.-]+)(?:\[[\w,-]+\])?==(\d+(?:\.\d+)*)", text):
        found.setdefault(package.lower(), set()).add(version(number))
    return found


@pytest.mark.parametrize("name", ["serve", "batch", "exchange", "gpu", "test"])
@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_what_reads_uploads_is_locked_without_known_vulnerabilities(name, package, floor):
    assert min(locked(name)[package]) >= version(floor)


@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_product_asks_for_no_older_ones(package, floor):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [text for text in project["dependencies"] if re.match(rf"{package}\b", text)]
    assert version(re.search(r">=([\d.]+)", wanted)[1]) >= version(floor)


@pytest.mark.parametrize("name", ["serve", "batch", "exchange", "gpu", "test"])
def test_every_package_is_locked_with_its_hashes(name):
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^(?=[\w.-]+(?:\[[\w,-]+\])?==)", text)[1:]
    assert len(blocks) > 20
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.split()[0]


def test_batches_run_on_the_very_packages_that_the_service_runs_on():
    served, batch = locked("serve"), locked("batch")
    assert {package: batch.get(package) for package in served} == served


def test_tests_run_on_the_very_packages_that_batches_run_on():
    batch, exchange, tests = locked("batch"), locked("exchange"), locked("test")
    assert {package: exchange.get(package) for package in batch} == batch
    assert {package: tests.get(package) for package in exchange} == exchange


def test_nothing_served_or_run_on_slides_needs_pytorch():
    assert "torch" not in locked("serve") | locked("batch") | locked("exchange")


OPTIONAL = {
    "app/pipeline/networks/architecture.py",
    "app/pipeline/networks/pytorch.py",
    "app/pipeline/stain/histomicstk.py",
}
"""What the service imports only where PyTorch or HistomicsTK is installed."""


def packages_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def test_service_starts_on_the_packages_that_make_run_installs():
    known = packages_distributions()
    # Names of packages may be written in several ways.
    served = {
        module
        for module, names in known.items()
        if any(re.sub(r"[-_.]+", "-", name.lower()) in locked("serve") for name in names)
    }
    served |= {*sys.stdlib_module_names, "app", "marrowscope"}
    for path in sorted((REPOSITORY / "app").rglob("*.py")):
        name = path.relative_to(REPOSITORY).as_posix()
        if not name.startswith("app/batch/") and name not in OPTIONAL:
            assert set(packages_imported_by(path)) <= served, name
