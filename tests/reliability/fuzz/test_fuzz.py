import pytest

from app.pipeline.decode import decode
from app.pipeline.errors import PipelineError
from reliability.fuzz.corpus import FOLDER, drawn
from reliability.fuzz.experiment import QUICK_CASES, measure


def outcome(data):
    """Pixels, or why there are none."""
    try:
        return decode(data, max_pixels=10_000).pixels.tolist()
    except PipelineError as error:
        return str(error)


def test_corpus_is_what_is_drawn():
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    new = dict(drawn())
    assert files.keys() == new.keys()
    # Another version of zlib packs the same pixels into other bytes.
    assert {name: outcome(data) for name, data in files.items()} == {name: outcome(data) for name, data in new.items()}
    assert sum(map(len, files.values())) < 200_000


@pytest.mark.slow
def test_no_input_brings_the_service_down_or_to_an_answer_that_is_not_declared():
    found = measure(quick=True)
    assert found["cases"] >= QUICK_CASES
    assert found["faults"] == 0, found["what"]
    (over_http,), (inside,) = found["over_http"], found["in_process"]
    # Some of the damage leaves a tile: all of the pipeline was met.
    assert over_http["file"]["200"] > 0
    assert inside["outcomes"]["tile"] > 0
