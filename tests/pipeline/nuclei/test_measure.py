import numpy as np

from app.pipeline.nuclei.measure import measure, measure_runs, select_nuclei
from app.pipeline.nuclei.run_lengths import RunLengths, encode_ranks
from tests.drawing import discs


def check_same(found, wanted):
    for name in ("label_image", "centroids", "bboxes", "areas_px", "touches_border"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        assert getattr(found, name).dtype == getattr(wanted, name).dtype


def drawn():
    """Label image of nuclei inside, at each border, touching each other, and one of a single pixel."""
    labels = np.zeros((60, 90), np.int32)
    for i, centre in enumerate([(0, 10), (45, 0), (30, 30), (45, 30), (89, 40), (60, 59)], start=1):
        labels[discs(labels.shape, [centre], 8) & (labels == 0)] = i
    labels[50, 5] = 7
    return labels


def test_measures_are_those_of_the_drawing():
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 10:20] = 1
    labels[10:15, 0:3] = 2
    nuclei = measure(labels)
    assert nuclei.centroids.tolist() == [[14.5, 3.5], [1.0, 12.0]]
    assert nuclei.bboxes.tolist() == [[10, 2, 20, 6], [0, 10, 3, 15]]
    assert nuclei.areas_px.tolist() == [40, 15]


def test_tile_of_one_label_is_measured_row_by_row():
    nuclei = measure(np.ones((3, 4), np.int32))
    assert (nuclei.areas_px.tolist(), nuclei.bboxes.tolist()) == ([12], [[0, 0, 4, 3]])
    assert nuclei.centroids.tolist() == [[1.5, 1.0]]


def test_run_lengths_give_what_their_label_image_gives():
    labels = drawn()
    # A frame of background ends every run at its row's end; places are then moved from the framed tile to the tile.
    encoded = [encode_ranks(np.pad(labels == i, 1).astype(np.uint8)) for i in range(1, 8)]
    rows, columns = np.divmod(np.concatenate([rle.starts for rle in encoded]) % (62 * 92), 92)
    starts = (rows - 1) * 90 + columns - 1
    rle = RunLengths(starts, starts + np.concatenate([rle.lengths for rle in encoded]))
    owners = np.repeat(np.arange(7), [len(e) for e in encoded])
    check_same(measure_runs(rle, owners, labels.shape), measure(labels))


def test_selected_nuclei_are_as_if_only_they_had_been_measured():
    labels = drawn()
    kept = np.array([True, False, True, True, False, False, True])
    alone = np.zeros_like(labels)
    for new, old in enumerate(np.flatnonzero(kept) + 1, start=1):
        alone[labels == old] = new
    check_same(select_nuclei(measure(labels), kept), measure(alone))


def test_selecting_all_or_none():
    nuclei = measure(drawn())
    assert select_nuclei(nuclei, np.ones(7, bool)) is nuclei
    check_same(select_nuclei(nuclei, np.zeros(7, bool)), measure(np.zeros((60, 90), np.int32)))
