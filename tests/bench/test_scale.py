import json

from bench.scale import BENCH, OUT, SLIDES, document


def test_the_paper_exercise_is_that_of_the_measured_figures():
    slides, bench = (json.loads(path.read_text(encoding="utf-8")) for path in (SLIDES, BENCH))
    assert OUT.read_text(encoding="utf-8") == document(slides, bench)
