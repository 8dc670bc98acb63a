import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from app.batch.write.cohort import Failure
from app.batch.write.cohort_plot import cohort_plot
from app.batch.write.report import cohort_report, slide_report
from tests.batch.made_summary import renamed

FILES = ["cells.parquet", "a file & more.json"]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a page shows; refuses one whose elements are not closed."""

    def __init__(self, page: bytes):
        super().__init__()
        self.text, self.sources, self.links, self.open = "", [], [], []
        self.feed(page.decode())
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.sources += [values["src"]] if "src" in values else []
        self.links += [values["href"]] if "href" in values else []
        assert tag != "script"
        assert not any(name.startswith("on") for name in values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def page(made):
    return Page(slide_report(made.summary, made.pictures, FILES))


@pytest.fixture(scope="module")
def reference(bundle):
    return bundle.manifest.image_level.reference


def test_report_says_what_it_may_be_used_for_and_that_abnormal_is_simulated(page, made):
    assert made.summary.notice in page.text
    assert made.summary.label.basis in page.text
    assert "simulated" in page.text


def test_report_has_the_label_and_its_reason_and_every_flag(page, made):
    assert made.summary.label.reason in page.text
    assert made.summary.quality.flags
    for flag in made.summary.quality.flags:
        assert flag.message in page.text


def test_report_has_each_cluster_with_its_proportion(page, made):
    for cluster in made.summary.clusters:
        low, high = cluster.interval
        row = (
            f"Cluster {cluster.cluster}{cluster.count}{100 * cluster.proportion:.1f}%{100 * low:.1f}–{100 * high:.1f}%"
        )
        assert row in re.sub(r"\s", "", page.text).replace(f"Cluster{cluster.cluster}", f"Cluster {cluster.cluster}")


def test_report_has_all_distances(page, made):
    for pair in made.summary.neighbours:
        assert f"{pair.median_um:.1f}" in page.text
        assert pair.ratio is None or f"({pair.ratio:.2f})" in page.text


def test_report_needs_nothing_but_itself(page):
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.links == ["cells.parquet", "a%20file%20%26%20more.json"]


def test_report_shows_overview_maps_and_cells(page, made):
    shown = sum(map(len, made.pictures.cells))
    assert len(page.sources) == 1 + 5 + shown


def test_names_from_outside_are_text(made):
    evil = "<script>alert(1)</script>"
    summary = renamed(made, evil, patient=evil, file=evil)
    assert Page(slide_report(summary, made.pictures, [])).text.count(evil) >= 3
    assert evil in Page(cohort_report([summary], [Failure(evil, evil, evil, evil)], b"", [])).text


def test_scale_that_was_assumed_is_told(made):
    assert "assumed" in Page(slide_report(renamed(made, "a", mpp=None), made.pictures, [])).text
    assert "assumed" not in Page(slide_report(made.summary, made.pictures, [])).text


def test_slide_without_cells_has_a_report(made):
    nothing = {"count": 0, "proportion": None, "interval": None, "contribution": None}
    nowhere = {"score": None, "conformal_set": None, "kmeans": None, "reference": None, "value": "indeterminate"}
    summary = renamed(
        made,
        "empty",
        cells=0,
        tissue_mm2=0.0,
        clusters=[cluster.model_copy(update=nothing) for cluster in made.summary.clusters],
        outliers=made.summary.outliers.model_copy(update={"count": 0, "share": None}),
        label=made.summary.label.model_copy(update=nowhere),
        neighbours=[pair.model_copy(update={"median_um": None, "ratio": None}) for pair in made.summary.neighbours],
        islands=[entry.model_copy(update={"share": None}) for entry in made.summary.islands],
    )
    pictures = replace(made.pictures, cells=[np.zeros((0, 48, 48, 3), np.uint8)] * 5, density_top=0.0)
    assert "indeterminate" in Page(slide_report(summary, pictures, [])).text


def test_colour_is_for_distances_of_many_cells_only(made):
    pairs = [pair.model_copy(update={"ratio": 0.5}) for pair in made.summary.neighbours]
    many = [cluster.model_copy(update={"count": 100}) for cluster in made.summary.clusters]
    few = [cluster.model_copy(update={"count": 99}) for cluster in made.summary.clusters]
    near = [
        slide_report(renamed(made, "a", neighbours=pairs, clusters=clusters), made.pictures, []).count(b'"value near"')
        for clusters in (many, few)
    ]
    assert near == [25, 0]


def test_index_links_to_every_slide_and_tells_why_others_failed(made, reference):
    summaries = [renamed(made, "a b"), renamed(made, "c")]
    plot = cohort_plot(summaries, reference)
    page = Page(cohort_report(summaries, [Failure("d", "d.svs", "P", "It is no picture.")], plot, ["slides.csv"]))
    assert page.links == ["slides/a%20b/report.html", "slides/c/report.html", "slides.csv"]
    assert "It is no picture." in page.text
    assert made.summary.notice in page.text
    assert made.summary.label.basis in page.text


def test_index_of_failures_alone_has_no_table_of_slides(reference):
    page = Page(cohort_report([], [Failure("d", "d.svs", None, "It is no picture.")], cohort_plot([], reference), []))
    assert "0 slides" in page.text


def test_the_same_results_are_the_same_pages(made, reference):
    assert slide_report(made.summary, made.pictures, FILES) == slide_report(made.summary, made.pictures, FILES)
    assert cohort_plot([made.summary], reference) == cohort_plot([made.summary], reference)
