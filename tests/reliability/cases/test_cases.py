import pytest

from bench.server import serving
from reliability.cases.experiment import SETTINGS, row_of
from reliability.cases.inputs import draw_inputs
from reliability.cases.table import CASES, Case, has

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    draw_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def server():
    with serving(**SETTINGS) as server:
        yield server


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.is_drawn], ids=lambda case: f"{case.input}, {case.how}"
)
def test_case_is_right(case, inputs, server):
    row = row_of(case, inputs, server)
    assert row["outcome"] == "right", row


def test_wrong_answer_and_missing_input_are_noticed(tmp_path):
    (tmp_path / "tile.png").touch()
    case = Case("tile.png", "POST", lambda *_: {"status": 200, "tile": {"mpp": 0.25}}, {"status": 200, "tile.mpp": 0.5})
    assert row_of(case, tmp_path, None)["came"] == {"status": 200, "tile.mpp": 0.25}
    assert row_of(case, tmp_path, None)["outcome"] == "wrong"
    silent = Case("tile.png", "POST", lambda *_: {"status": 200}, {"detail": has("scale")})
    assert row_of(silent, tmp_path, None)["outcome"] == "wrong"
    assert row_of(case, tmp_path / "elsewhere", None)["outcome"] == "missing"
