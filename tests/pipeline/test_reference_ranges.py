import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from app.pipeline.fit.reference_fit import ReferenceCells, fit_reference_ranges
from app.pipeline.reference_ranges import ReferenceRanges, compare, distance_from, locate

T_975_OF_4 = 2.776445
"""Student's t with 4 degrees of freedom has this 97.5% percentile, as any table says."""
T_975_OF_2 = 4.302653


def reference(counts, patients=None):
    """Ranges of tiles with these counts, (T, K)."""
    counts = np.asarray(counts)
    return fit_reference_ranges(
        ReferenceCells(
            clusters=np.concatenate([np.repeat(np.arange(len(row)), row) for row in counts]),
            tile_index=np.repeat(np.arange(len(counts)), counts.sum(axis=1)),
            n_clusters=counts.shape[1],
            patients=None if patients is None else np.asarray(patients),
        ),
        "drawn tiles",
    )


def reference_of_values(values, unit="od", patients=None, *, cells=1, cellularity=None):
    """Ranges of tiles of which each cell has the same value of the one measurement."""
    n = len(values)
    return fit_reference_ranges(
        ReferenceCells(
            clusters=np.zeros(n * cells, np.int64),
            tile_index=np.repeat(np.arange(n), cells),
            n_clusters=2,
            names=("density",),
            units=(unit,),
            measurements=np.repeat(np.asarray(values, float), cells)[:, None],
            cellularity=cellularity,
            patients=None if patients is None else np.asarray(patients),
        ),
        "drawn tiles",
    )


def drawn(random, n, n_cells, k=5, sd=0.3):
    """Counts of n tiles, (n, k), whose log-ratios are normal around a composition that is not even."""
    logs = np.log(np.arange(1, k + 1)) + sd * random.standard_normal((n, k)) * np.linspace(0.5, 1.5, k)
    shares = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    return np.array([random.multinomial(n_cells, row) for row in shares])


def test_a_range_is_the_prediction_interval_of_five_numbers():
    limits = reference_of_values([-2, -1, 0, 1, 2]).medians[0]
    half = T_975_OF_4 * 2.5**0.5 * (1 + 1 / 5) ** 0.5
    compared = compare(limits, 1.0, 1)
    assert (limits.scale, limits.centre) == ("plain", 0)
    assert (compared.low, compared.high) == pytest.approx((-half, half), rel=1e-5)
    assert compared.low_interval[0] < compared.low < compared.low_interval[1] < 0
    assert compared.high_interval == pytest.approx([-end for end in reversed(compared.low_interval)])
    assert (compared.n_tiles, compared.n_patients, compared.indicative) == (5, None, True)
    assert [compare(limits, value, 1).flag for value in (-5, -4.8, 0, 4.8, 5, None)] == [
        "low",
        "within",
        "within",
        "within",
        "high",
        None,
    ]


def test_the_interval_of_a_limit_holds_the_true_percentile_nine_times_of_ten():
    random = np.random.default_rng(2)
    low = [reference_of_values(random.standard_normal(6)).medians[0].low_interval for _ in range(400)]
    assert np.mean([first < -1.96 < last for first, last in low]) == pytest.approx(0.9, abs=0.03)


def test_positive_values_are_taken_by_their_logarithms():
    limits = reference_of_values(np.exp([-0.2, -0.1, 0, 0.1, 0.2])).medians[0]
    compared = compare(limits, None, 1)
    half = T_975_OF_4 * (0.1**2 * 3) ** 0.5
    assert (compared.low, compared.high) == pytest.approx((np.exp(-half), np.exp(half)), rel=1e-5)
    # A density of about 0 has no sensible logarithm.
    assert reference_of_values([1e-6, 0.1, 0.2, 0.1, 0.3]).medians[0].scale == "plain"
    # In another unit, a range is as many times as large.
    assert compare(limits, None, 1, factor=16).high == pytest.approx(16 * np.exp(half), rel=1e-5)


def test_tiles_of_a_patient_are_not_taken_for_patients():
    limits = reference_of_values([0, 2, 4, 6, 8, -10], patients=[7, 7, 3, 3, 5, 5]).medians[0]
    # Means 1, 5, −1: variance 28/3. Within patients, (1 + 1 + 1 + 1 + 81 + 81) / 3; half of it is in the means already.
    total, of_mean = 28 / 3 + 166 / 3 / 2, 28 / 9
    half = T_975_OF_2 * (total + of_mean) ** 0.5
    assert (limits.centre, limits.high) == pytest.approx((5 / 3, 5 / 3 + half), rel=1e-5)
    assert (limits.n_tiles, limits.n_patients) == (6, 3)


def test_from_120_patients_on_the_limits_are_the_ranks_of_ep28():
    values = np.random.default_rng(0).permutation(np.arange(120) - 60.0)
    limits = reference_of_values(values, patients=np.arange(120)).medians[0]
    # Rank 3.025 of 120; its 90% interval reaches from the 1st to the 7th.
    assert (limits.low, limits.high) == pytest.approx((-57.975, 56.975))
    assert (limits.low_interval, limits.high_interval) == ((-60, -54), (53, 59))
    assert not compare(limits, 0.0, 1).indicative
    # A patient with many tiles weighs no more than the others.
    many = reference_of_values([*values, *[59.0] * 500], patients=[*range(120), *[int(values.argmax())] * 500])
    assert many.medians[0].low == pytest.approx(limits.low)
    # Tiles of unknown patients may be of few.
    assert compare(reference_of_values(values).medians[0], 0.0, 1).indicative


def test_two_clusters_have_the_region_of_one_log_ratio():
    counts = np.array([[10, 90], [20, 80], [15, 85], [30, 70], [12, 88]])
    ranges = reference(counts)
    assert ranges.region.threshold == pytest.approx(T_975_OF_4 * (1 + 1 / 5) ** 0.5, rel=1e-5)
    assert ranges.region.shrinkage == 0
    odds = np.log(counts[:, 0] + 0.5) - np.log(counts[:, 1] + 0.5)
    new = np.log(50.5 / 50.5)
    within = locate(ranges.region, np.array([50, 50]))
    assert within.distance == pytest.approx(abs(new - odds.mean()) / odds.std(ddof=1))
    assert (within.value, within.n_tiles) == (within.distance <= within.threshold, 5)
    assert locate(ranges.region, np.zeros(2, np.int64)) is None


def test_the_region_sees_what_no_single_range_sees():
    """Two clusters that rise and fall together: each proportion is usual, and both together are not."""
    random = np.random.default_rng(1)
    share = np.exp(0.4 * random.standard_normal(40))
    counts = np.array([np.rint(600 * np.array([s, s, 4]) / (2 * s + 4)).astype(int) for s in share])
    ranges = reference(counts)
    new = np.array([80, 140, 380])
    assert {compare(limits, n / 600, 600).flag for limits, n in zip(ranges.proportions, new, strict=True)} == {"within"}
    assert not locate(ranges.region, new).value


def test_fewer_than_five_tiles_flag_nothing_and_one_gives_no_range():
    four = reference(drawn(np.random.default_rng(0), 4, 100))
    assert four.region is None
    assert {compare(limits, 1.0, 100).flag for limits in four.proportions} == {None}
    five = reference(drawn(np.random.default_rng(0), 5, 100))
    assert {compare(limits, 1.0, 100).flag for limits in five.proportions} == {"high"}
    assert reference([[10, 20]]) is None
    assert reference([[10, 20], [5, 30], [7, 7]], patients=[1, 1, 1]) is None


def test_a_tile_of_fewer_cells_has_wider_ranges_and_a_slide_has_those_of_tiles():
    ranges = reference(drawn(np.random.default_rng(0), 11, 600))
    for limits in ranges.proportions:
        few, alike, many = (compare(limits, None, n) for n in (60, 600, 100_000))
        assert few.low < alike.low < alike.high < few.high
        assert (many.low, many.high) == pytest.approx((alike.low, alike.high), abs=1e-3)
    composition = drawn(np.random.default_rng(1), 1, 60)[0]
    assert locate(ranges.region, composition).distance < locate(ranges.region, 10 * composition).distance


def test_a_value_that_no_tile_has_is_left_out_of_its_range():
    ranges = reference_of_values([1, 2, np.nan, 3, 2, 1], cellularity=np.array([0.3, np.nan, 0.5, np.nan, 0.6, 0.4]))
    assert [tile.medians[0] for tile in ranges.tiles] == [1, 2, None, 3, 2, 1]
    assert ranges.medians[0].n_tiles == 5
    assert ranges.cellularity.n_tiles == 4
    assert ranges.tiles[1].cellularity is None
    nothing = reference_of_values([np.nan, np.nan, 1])
    assert (nothing.medians[0], nothing.cellularity) == (None, None)


def test_tiles_that_are_all_alike_do_not_show_how_others_differ():
    alike = reference_of_values([3] * 6, cells=20)
    assert compare(alike.medians[0], 4.0, 20).flag is None
    assert alike.region is None
    # A cluster that no reference tile has may have a few cells in another tile, and not many.
    never = reference([[50, 450, 0]] * 6)
    limits = never.proportions[2]
    assert compare(limits, 1 / 500, 500).flag == "within"
    assert compare(limits, 50 / 500, 500).flag == "high"


def test_shares_keep_to_0_and_1():
    ranges = reference_of_values([0.1] * 5, cellularity=np.array([1, 1, 0.9, 0.95, 1]))
    compared = compare(ranges.cellularity, 1.0, 0)
    assert compared.high == 1
    assert compared.flag == "within"
    assert compare(ranges.cellularity, 0.2, 0).flag == "low"


def test_a_tile_unlike_the_others_is_outside_when_it_is_left_out():
    ranges = reference([[50, 50], [52, 48], [49, 51], [51, 49], [48, 52], [10, 90]])
    assert [limits.left_out_within for limits in ranges.proportions] == [pytest.approx(5 / 6)] * 2
    assert ranges.left_out_within == ranges.region.left_out_within == pytest.approx(5 / 6)
    # With its patient's other tile out as well, it is outside, too; and its patient's other tile is.
    pair = reference([[50, 50], [52, 48], [49, 51], [51, 49], [10, 90], [11, 89]], patients=[0, 1, 2, 3, 4, 4])
    assert pair.left_out_within == pytest.approx(4 / 6)


COUNTS = arrays(np.int64, st.tuples(st.integers(2, 9), st.integers(2, 6)), elements=st.integers(0, 200)).filter(
    lambda counts: (counts.sum(axis=1) > 0).all()
)


@settings(deadline=None, max_examples=40)
@given(COUNTS, st.randoms(use_true_random=False), st.integers(0, 500))
def test_ranges_hold_for_any_counts(counts, random, more):
    """They are in order, finite and within 0 and 1, and the order of the clusters does not matter."""
    ranges = reference(counts)
    assert ReferenceRanges.model_validate_json(ranges.model_dump_json()) == ranges
    order = list(range(counts.shape[1]))
    random.shuffle(order)
    shuffled = reference(counts[:, order])
    new = np.array([more, *counts[0, 1:]])
    n = int(new.sum())
    for place, k in enumerate(order):
        compared = compare(ranges.proportions[k], None if n == 0 else new[k] / n, n)
        same = compare(shuffled.proportions[place], None if n == 0 else new[k] / n, n)
        assert (compared.low, compared.high, compared.flag) == (
            pytest.approx(same.low),
            pytest.approx(same.high),
            same.flag,
        )
        ends = (*compared.low_interval, *compared.high_interval)
        assert np.isfinite([compared.low, compared.high, *ends]).all()
        assert 0 <= ends[0] <= compared.low <= ends[1] <= 1
        assert 0 <= ends[2] <= compared.high <= ends[3] <= 1
    if ranges.region is not None and n > 0:
        within, same = locate(ranges.region, new), locate(shuffled.region, new[order])
        assert np.isfinite([within.distance, within.threshold]).all()
        assert (within.distance, within.threshold) == pytest.approx((same.distance, same.threshold), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("n_cells", "n_patients"), [(600, None), (80, None), (600, 12)])
def test_95_percent_of_further_tiles_lie_within(n_cells, n_patients):
    """Ranges of 600 cells a tile hold tiles of as many cells and of fewer, and tiles of further patients."""
    random = np.random.default_rng(5)
    in_range, in_region, left_out = [], [], []
    for _ in range(20):
        own = drawn(random, 12, 600)
        ranges = reference(own, None if n_patients is None else np.arange(12))
        left_out.append((ranges.left_out_within, ranges.region.left_out_within))
        for counts in drawn(random, 60, n_cells):
            flags = [
                compare(limits, n / n_cells, n_cells).flag for limits, n in zip(ranges.proportions, counts, strict=True)
            ]
            in_range.append(np.mean([flag == "within" for flag in flags]))
            in_region.append(locate(ranges.region, counts).value)
    assert 0.93 <= np.mean(in_range) <= 0.975
    assert 0.93 <= np.mean(in_region) <= 0.985
    assert np.mean(left_out, axis=0) == pytest.approx([0.95, 0.95], abs=0.025)


def test_members_of_another_length_are_refused():
    values = reference([[10, 20, 5], [12, 18, 6], [9, 22, 4]]).model_dump(mode="json")
    for changed in ({"medians": [None]}, {"tiles": [{**values["tiles"][0], "counts": [1, 2]}] * 2}):
        with pytest.raises(ValidationError, match="must have"):
            ReferenceRanges.model_validate(values | changed)


def test_distance_of_medians_is_in_half_ranges():
    ranges = reference_of_values([-2, -1, 0, 1, 2])
    (name,) = ranges.measurements
    half = T_975_OF_4 * 2.5**0.5 * (1 + 1 / 5) ** 0.5
    assert distance_from(ranges, [name], [(0, 9)]) == pytest.approx(0, abs=1e-9)
    assert distance_from(ranges, [name], [(-half, 9)]) == pytest.approx(1, rel=1e-5)
    assert distance_from(ranges, [name, name], [(half, 9), (-2 * half, 9)]) == pytest.approx(2.5**0.5, rel=1e-5)
    # What is not measured, or not known to the bundle, does not count.
    medians = [(half, 9), (9, 9), (np.nan, 0)]
    assert distance_from(ranges, [name, "no such", name], medians) == pytest.approx(1, rel=1e-5)
    assert distance_from(ranges, [name], [(np.nan, 0)]) is None
    # Four tiles do not show enough of how others differ.
    assert distance_from(reference_of_values([-1, 0, 1, 2]), [name], [(0, 9)]) is None
