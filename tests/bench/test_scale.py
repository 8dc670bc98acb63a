import json

from bench.scale import BENCH, OUT, SLIDES, document


def test_document_is_what_the_measured_figures_give():
    slides, bench = (json.loads(path.read_text(encoding="utf-8")) for path in (SLIDES, BENCH))
    assert OUT.read_text(encoding="utf-8") == document(slides, bench)
