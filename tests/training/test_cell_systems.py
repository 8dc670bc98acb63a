import pytest

from training.cell_systems import CLUSTERERS, DESCRIBERS, Entry, MissingSystemError, clusterer, describer
from training.data import DataError


@pytest.mark.parametrize("find", [clusterer, describer])
def test_unknown_system_is_told_the_known_ones(find):
    with pytest.raises(DataError, match="ours"):
        find("theirs")


def test_system_whose_module_is_missing_says_what_is_missing():
    with pytest.raises(MissingSystemError, match="'a name' cannot be run here: No module"):
        Entry("a name", "training.nowhere", "Nothing").load()


def test_arguments_that_do_not_vary_come_first():
    assert Entry("a name", "fractions", "Fraction", (3,)).load()(4) * 4 == 3


def test_systems_of_the_papers_tables_are_all_there():
    assert list(DESCRIBERS) == ["mf", "cnn", "ours"]
    assert {"mf-kmeans", "cnn-kmeans", "hog-dec", "catgan", "infogan", "gmvae", "paper-recipe", "ours"} == set(
        CLUSTERERS
    )
