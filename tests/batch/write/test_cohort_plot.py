import io

import numpy as np
import pytest
from PIL import Image

from app.batch.write.cohort_plot import LABELS, MAX_NAMED, cohort_plot
from tests.batch.sample_slide import summary_of


@pytest.fixture(scope="module")
def reference(bundle):
    return bundle.manifest.image_level.reference


def pixels(png) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert "Software" not in image.info
        return np.asarray(image.convert("RGB")).astype(int)


def at(example, slide, x, y, label="normal"):
    here = example.summary.label.reference.model_copy(update={"position": (x, y)})
    return summary_of(
        example, slide, label=example.summary.label.model_copy(update={"reference": here, "value": label})
    )


def places_of(shown, label) -> np.ndarray:
    """(N, 2) x, y of the pixels of a label's colour, but for the legend below."""
    color = [int(LABELS[label][i : i + 2], 16) for i in (1, 3, 5)]
    y, x = np.nonzero((np.abs(shown - color) < 4).all(axis=2))
    return np.column_stack([x, y])[y < 0.85 * len(shown)]


def test_slides_stand_where_their_proportions_place_them(example, reference):
    summaries = [
        at(example, "a", -0.2, 0.1),
        at(example, "b", 0.2, 0.1, "abnormal"),
        at(example, "c", 0.0, -0.1, "indeterminate"),
    ]
    shown = pixels(cohort_plot(summaries, reference))
    normal, abnormal, grey = (np.median(places_of(shown, label), axis=0) for label in LABELS)
    assert normal[0] < grey[0] < abnormal[0]
    np.testing.assert_allclose(normal[1], abnormal[1], atol=6)
    assert grey[1] > normal[1] + 20
    # One scale for both axes.
    assert abnormal[0] - normal[0] == pytest.approx(2 * (grey[1] - normal[1]), rel=0.05)


def test_ids_are_written_beside_few_slides_only(example, reference):
    def ink(n, name):
        return (
            (pixels(cohort_plot([at(example, f"{name}{i}", 0, 0) for i in range(n)], reference)) < 60).all(axis=2).sum()
        )

    assert ink(1, "a rather long name of a slide") > ink(1, "") + 100
    assert ink(MAX_NAMED + 1, "a rather long name of a slide") == ink(MAX_NAMED + 1, "")


@pytest.mark.parametrize("slide", ["$x^$", "a_b^c", "100%", "größe {0}"])
def test_any_id_can_be_written(example, reference, slide):
    pixels(cohort_plot([at(example, slide, 0, 0)], reference))


def test_slide_without_a_counted_cell_has_no_place(example, reference):
    nowhere = summary_of(example, "a", label=example.summary.label.model_copy(update={"reference": None}))
    assert cohort_plot([nowhere], reference) == cohort_plot([], reference)


def test_a_long_name_leaves_room_for_the_plot(example, reference):
    places = [
        places_of(pixels(cohort_plot([at(example, name, 0.2, 0.1)], reference)), "normal") for name in ("a", "a" * 200)
    ]
    assert len(places[0]) > 0
    assert len(places[1]) > 0.8 * len(places[0])
