import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from app.batch.summary import FailedSlide
from app.batch.write.cohort_plot import cohort_plot
from app.batch.write.report import cohort_report, slide_report
from app.pipeline.descriptions import ClusterDescription
from tests.batch.sample_slide import summary_of, summary_with_reference, summary_without_reference

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
def page(example):
    return Page(slide_report(example.summary, example.pictures, FILES))


@pytest.fixture(scope="module")
def reference(bundle):
    return bundle.manifest.image_level.reference


def test_report_says_what_it_may_be_used_for_and_that_abnormal_is_simulated(page, example):
    assert example.summary.notice in page.text
    assert example.summary.label.basis in page.text
    assert "simulated" in page.text


def test_report_has_the_label_and_its_reason_and_every_flag(page, example):
    assert example.summary.label.reason in page.text
    assert example.summary.quality.flags
    for flag in example.summary.quality.flags:
        assert flag.message in page.text


def test_report_has_each_cluster_with_its_proportion(page, example):
    for cluster in example.summary.clusters:
        low, high = cluster.interval
        row = (
            f"Cluster {cluster.cluster}{cluster.count}{100 * cluster.proportion:.1f}%{100 * low:.1f}–{100 * high:.1f}%"
        )
        assert row in re.sub(r"\s", "", page.text).replace(f"Cluster{cluster.cluster}", f"Cluster {cluster.cluster}")


def test_report_puts_slide_beside_the_reference(example):
    summary = summary_with_reference(example)
    text = " ".join(Page(slide_report(summary, example.pictures, FILES)).text.split())
    assert "▲ high 2.0–5.0%" in text
    assert "indicative: 11 reference tiles" in text
    assert "outside the region of the reference tiles: their distance is 4.50, and the region ends at 3.25" in text
    assert slide_report(summary, example.pictures, FILES).count(b'class="band"') == 1
    without = Page(slide_report(summary_without_reference(example), example.pictures, FILES)).text
    assert "indicative" not in without
    assert "▲" not in without


def test_report_has_the_tissue_with_its_picture_and_legend(example):
    page = Page(slide_report(example.summary, replace(example.pictures, tissue=b"png"), FILES))
    text, tissue = " ".join(page.text.split()), example.summary.tissue
    assert f"Cellularity: {100 * tissue.cellularity:.1f}%" in text
    assert f"Bone and stroma {100 * tissue.bone_and_stroma:.1f}%" in text
    assert len(page.sources) == 1 + 1 + 5 + sum(map(len, example.pictures.cells))
    unknown = Page(slide_report(summary_of(example, "a", tissue=None, regions=[]), example.pictures, FILES))
    assert "Cellularity" not in unknown.text


def test_report_has_measurements_with_their_units(page, example):
    text = " ".join(page.text.split())
    area = next(one for one in example.summary.measurements if one.measurement == "area_um2")
    assert f"Nuclear area{area.n}{area.median:.3f}" in text.replace(" ", " ").replace("Nuclear area ", "Nuclear area")
    assert f"All {len(example.summary.measurements)} measurements" in text
    assert text.count("µm²") >= 2


def test_report_shows_candidates_and_says_that_they_are_not_validated(example):
    pictures = replace(example.pictures, large=[b"jpg"] * 3, large_um=48.0)
    page = Page(slide_report(summary_with_reference(example), pictures, FILES))
    assert "megakaryocyte candidates" in page.text
    assert "3, or 1.5 per mm² of tissue" in page.text
    assert "not compared" in page.text
    assert "48 µm" in page.text
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 1 + 3


def test_report_says_what_each_cluster_is_like(example):
    described_as = ClusterDescription(sentence="large, pale, open chromatin", n_cells=9, measurements=())
    described = example.summary.clusters[1].model_copy(update={"description": described_as})
    summary = summary_of(example, "a", clusters=[example.summary.clusters[0], described, *example.summary.clusters[2:]])
    assert "large, pale, open chromatin" in Page(slide_report(summary, example.pictures, [])).text


def test_report_has_all_distances(page, example):
    for pair in example.summary.neighbours:
        assert f"{pair.median_um:.1f}" in page.text
        assert pair.ratio is None or f"({pair.ratio:.2f})" in page.text


def test_report_needs_nothing_but_itself(page):
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.links == ["cells.parquet", "a%20file%20%26%20more.json"]


def test_report_shows_overview_maps_and_cells(page, example):
    shown = sum(map(len, example.pictures.cells))
    assert len(page.sources) == 1 + 5 + shown


def test_names_from_outside_are_text(example):
    evil = "<script>alert(1)</script>"
    summary = summary_of(example, evil, patient=evil, file=evil)
    assert Page(slide_report(summary, example.pictures, [])).text.count(evil) >= 3
    assert evil in Page(cohort_report([summary], [FailedSlide(evil, evil, evil, evil)], b"", [])).text


def test_scale_that_was_assumed_is_marked(example):
    assert (
        "assumed"
        in Page(slide_report(summary_of(example, "a", mpp=None, mpp_source="bundle"), example.pictures, [])).text
    )
    assert "assumed" not in Page(slide_report(example.summary, example.pictures, [])).text


def test_slide_without_cells_has_a_report(example):
    nothing = {"count": 0, "proportion": None, "interval": None, "contribution": None}
    nowhere = {"score": None, "conformal_set": None, "kmeans": None, "reference": None, "value": "indeterminate"}
    summary = summary_of(
        example,
        "empty",
        cells=0,
        tissue_mm2=0.0,
        clusters=[cluster.model_copy(update=nothing) for cluster in example.summary.clusters],
        outliers=example.summary.outliers.model_copy(update={"count": 0, "share": None}),
        label=example.summary.label.model_copy(update=nowhere),
        neighbours=[pair.model_copy(update={"median_um": None, "ratio": None}) for pair in example.summary.neighbours],
        islands=[island.model_copy(update={"share": None}) for island in example.summary.islands],
    )
    pictures = replace(example.pictures, cells=[np.zeros((0, 48, 48, 3), np.uint8)] * 5, density_top=0.0)
    assert "indeterminate" in Page(slide_report(summary, pictures, [])).text


def test_colour_is_for_distances_of_many_cells_only(example):
    pairs = [pair.model_copy(update={"ratio": 0.5}) for pair in example.summary.neighbours]
    many = [cluster.model_copy(update={"count": 100}) for cluster in example.summary.clusters]
    few = [cluster.model_copy(update={"count": 99}) for cluster in example.summary.clusters]
    near = [
        slide_report(summary_of(example, "a", neighbours=pairs, clusters=clusters), example.pictures, []).count(
            b'"value near"'
        )
        for clusters in (many, few)
    ]
    assert near == [25, 0]


def test_index_links_to_every_slide_and_gives_the_reason_of_failures(example, reference):
    summaries = [summary_of(example, "a b"), summary_of(example, "c")]
    plot = cohort_plot(summaries, reference)
    page = Page(
        cohort_report(summaries, [FailedSlide("d", "d.svs", "P", "It is not a picture.")], plot, ["slides.csv"])
    )
    assert page.links == ["slides/a%20b/report.html", "slides/c/report.html", "slides.csv"]
    assert "It is not a picture." in page.text
    assert example.summary.notice in page.text
    assert example.summary.label.basis in page.text


def test_index_puts_each_slide_beside_the_reference(example, reference):
    summaries = [summary_with_reference(example), summary_without_reference(example)]
    text = " ".join(Page(cohort_report(summaries, [], cohort_plot(summaries, reference), [])).text.split())
    assert "outside the reference▲ high Cluster 0" in text
    assert text.count("▲") == 1
    assert f"{100 * example.summary.tissue.cellularity:.1f}%" in text
    assert "1.5" in text


def test_index_says_what_was_drawn_and_is_no_region(example, reference):
    sentence = "Skipped 'a <dot>': points have no area."
    summaries = [summary_of(example, "a"), summary_of(example, "b", regions_skipped=[sentence])]
    plot = cohort_plot(summaries, reference)
    assert f"b: {sentence}" in Page(cohort_report(summaries, [], plot, [])).text
    assert "is a region" not in Page(cohort_report(summaries[:1], [], plot, [])).text


def test_index_of_failures_alone_has_no_table_of_slides(reference):
    page = Page(
        cohort_report([], [FailedSlide("d", "d.svs", None, "It is not a picture.")], cohort_plot([], reference), [])
    )
    assert "0 slides" in page.text


def test_the_same_results_are_the_same_pages(example, reference):
    assert slide_report(example.summary, example.pictures, FILES) == slide_report(
        example.summary, example.pictures, FILES
    )
    assert cohort_plot([example.summary], reference) == cohort_plot([example.summary], reference)
