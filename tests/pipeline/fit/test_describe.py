import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.pipeline.fit.describe import (
    ALIKE,
    TOO_FEW,
    WORDS,
    choose_foremost,
    cliffs_delta,
    describe,
    make_sentence,
    rank_correlation,
)
from app.pipeline.measure.table import MEASUREMENTS

NAMES = [measurement.name for measurement in MEASUREMENTS]
COLUMNS = [measurement.column(scale_known=True) for measurement in MEASUREMENTS]
CELL_TYPES = re.compile(
    "blast|lymph|plasma|erythro|myelo|granulo|megakaryo|mast|neutrophil|eosinophil|basophil|monocyt|macrophag|histiocyt"
    "|stroma|endothel|osteo|adipo|band|progenitor|precursor|stem|tumou?r|neoplas|malign|benign|normal|leuk|mitos|apopto"
)

values_of_cells = arrays(np.float64, st.integers(1, 12), elements=st.integers(-4, 4).map(float))


def table(n=400, seed=0, **columns):
    """Measurements of n cells, (n, M): noise, but for the given ones."""
    values = np.random.default_rng(seed).normal(10, 1, (n, len(NAMES)))
    for name, column in columns.items():
        values[:, NAMES.index(name)] = column
    return values


@pytest.mark.parametrize(
    ("own", "others", "delta"),
    [
        ([3], [1, 2], 1),
        ([0], [1, 2], -1),
        ([1, 2], [1, 2], 0),
        # Of six pairs, (2, 1), (3, 1) and (3, 2) are greater, (1, 2) is less, and two are ties.
        ([1, 2, 3], [1, 2], 1 / 3),
        # Of eight pairs, five are greater and one is less.
        ([2, 2, 4, 4], [2, 3], (4 - 2) / 8),
        ([7, 7], [7], 0),
        ([], [1], None),
        ([1], [], None),
    ],
)
def test_cliffs_delta_is_that_counted_by_hand(own, others, delta):
    found = cliffs_delta(np.array(own, float), np.array(others, float))
    assert found is delta is None or found == pytest.approx(delta)


@given(values_of_cells, values_of_cells)
def test_delta_is_the_share_of_pairs_above_less_that_below(own, others):
    pairs = np.sign(own[:, None] - others[None, :])
    assert cliffs_delta(own, others) == pytest.approx(pairs.mean())


@given(values_of_cells, values_of_cells)
def test_delta_changes_its_sign_with_the_sides_and_not_with_the_scale(own, others):
    delta = cliffs_delta(own, others)
    assert cliffs_delta(others, own) == -delta
    for rising in (np.exp, np.cbrt, lambda x: 2 * x - 7):
        assert cliffs_delta(rising(own), rising(others)) == pytest.approx(delta)
    assert cliffs_delta(-own, -others) == -delta


def test_large_pale_cluster_is_called_so():
    random = np.random.default_rng(1)
    clusters = np.arange(400) % 2
    area, density = random.normal(30 + 30 * clusters, 3), random.normal(0.8 - 0.4 * clusters, 0.05)
    found = describe(table(area=area, haematoxylin_od_mean=density), clusters, 2)
    assert found.clusters[1].sentence.startswith("Markedly large, markedly pale nuclei")
    assert found.clusters[0].sentence.startswith("Markedly small, markedly dark nuclei")
    first, second, _, *others = found.clusters[1].measurements
    assert (first.measurement, second.measurement) == ("area_um2", "haematoxylin_od_mean")
    eta = {known.measurement: known.eta_squared for known in found.measurements}
    assert eta["area_um2"] > 0.9 > 0.1 > eta["eccentricity"]
    assert (first.title, first.unit, first.n, first.effect) == ("Nuclear area", "um2", 200, 1)
    low, high = np.quantile(area[clusters == 1], [0.25, 0.75])
    assert first.quartiles == pytest.approx((low, high), rel=1e-4)
    assert first.median == pytest.approx(np.median(area[clusters == 1]), rel=1e-4)
    assert {one.measurement for one in found.clusters[1].measurements} == set(COLUMNS)
    sizes = [abs(one.effect) for one in others]
    assert sizes == sorted(sizes, reverse=True)


def test_three_that_matter_are_not_three_names_for_one_thing():
    clusters = np.arange(400) % 2
    base = np.random.default_rng(2).normal(clusters * 5, 1)
    contrast = np.random.default_rng(3).normal(clusters * 1.0, 1)
    values = table(area=base, haematoxylin_od_mean=-np.exp(base), chromatin_contrast=contrast)
    effects = [cliffs_delta(column[clusters == 1], column[clusters == 0]) for column in values.T]
    chosen = [NAMES[i] for i in choose_foremost(values, effects)]
    assert chosen[:2] == ["area", "chromatin_contrast"]
    assert "haematoxylin_od_mean" not in chosen
    assert len(chosen) == 3


def test_measurement_that_was_not_made_is_left_out_and_null():
    clusters = np.arange(100) % 2
    values = table(100, area=np.where(clusters, 50.0, 20.0), cytoplasm_eosin_od_mean=np.nan)
    values[clusters == 1, NAMES.index("dark_clumps")] = np.nan
    values[:30, NAMES.index("area")] = np.nan
    found = describe(values, clusters, 2)
    other, of = ({one.measurement: one for one in cluster.measurements} for cluster in found.clusters)
    missing = of["cytoplasm_eosin_od_mean"]
    assert (missing.n, missing.median, missing.quartiles, missing.effect) == (0, None, None, None)
    assert of["dark_clumps"].n == 0
    assert (of["area_um2"].n, of["area_um2"].median, of["area_um2"].effect) == (35, 50, 1)
    assert (other["dark_clumps"].n, other["dark_clumps"].effect) == (50, None)
    assert {known.measurement: known.eta_squared for known in found.measurements}["cytoplasm_eosin_od_mean"] is None
    assert not re.search("pink|pale cytoplasm|clumps", found.clusters[1].sentence)


@pytest.mark.parametrize("n_other", [0, 1, 19])
def test_cluster_of_few_cells_is_not_put_into_words(n_other):
    clusters = np.r_[np.zeros(60, int), np.ones(n_other, int)]
    found = describe(table(60 + n_other), clusters, 2)
    assert (found.clusters[1].sentence, found.clusters[1].n_cells) == (TOO_FEW, n_other)
    if not n_other:
        assert {one.median for one in found.clusters[1].measurements} == {None}
        # There is nothing to compare the other one with.
        assert found.clusters[0].sentence == ALIKE
        assert {one.effect for one in found.clusters[0].measurements} == {None}


def test_cells_that_are_all_alike_have_no_effect():
    found = describe(np.ones((80, len(NAMES))), np.arange(80) % 2, 2)
    assert {cluster.sentence for cluster in found.clusters} == {ALIKE}
    assert {one.effect for one in found.clusters[0].measurements} == {0}


def test_words_are_graded_by_the_usual_limits():
    assert make_sentence([("area", 0.146), ("eccentricity", -0.1)]) == ALIKE
    assert make_sentence([("area", 0.147), ("haematoxylin_od_mean", -0.33)]) == "Somewhat large, pale nuclei."
    assert make_sentence([("chromatin_contrast", -0.474)]) == "Nuclei with markedly fine, even chromatin."
    effects = [("neighbours_within_25_um", -0.4), ("cytoplasm_eosin_od_mean", 0.9), ("solidity", -0.2)]
    assert make_sentence(effects) == (
        "Nuclei with markedly pink cytoplasm and a somewhat less smooth outline, standing apart."
    )


def test_every_measurement_has_words_or_is_left_out_by_name():
    assert set(WORDS) == set(NAMES)
    assert all(words.low != words.high for words in WORDS.values() if words)


def test_no_sentence_can_name_a_cell_type():
    sentences = {make_sentence([(name, sign * size)]) for name in NAMES for sign in (-1, 1) for size in (0.2, 0.4, 0.9)}
    for sentence in sentences | {TOO_FEW}:
        assert not CELL_TYPES.search(sentence.lower()), sentence
        assert re.fullmatch(r"[A-Z][a-z, ]+\.", sentence), sentence


def test_rank_correlation_is_of_the_cells_where_both_were_measured():
    first = np.array([1.0, 2, 3, np.nan, 9])
    assert rank_correlation(first, np.array([1.0, 4, 9, 0, np.nan])) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.ones(5)) == 0
    # Ranks 1, 2, 3 and 2, 1, 3: the sum of products of deviations is 1, and that of squares 2.
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([5.0, 4, 6])) == pytest.approx(0.5)
