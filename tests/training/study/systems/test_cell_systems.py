import pytest

from training.errors import DataError
from training.study.systems.cell_systems import (
    CLUSTERERS,
    DESCRIBERS,
    LazySystem,
    MissingSystemError,
    clusterer,
    describer,
)


@pytest.mark.parametrize("find", [clusterer, describer])
def test_error_of_an_unknown_system_names_the_known_ones(find):
    with pytest.raises(DataError, match="ours"):
        find("theirs")


def test_system_whose_module_is_missing_says_what_is_missing():
    with pytest.raises(MissingSystemError, match="'a name' cannot be run here: No module"):
        LazySystem("a name", "training.nowhere", "Nothing").load()


def test_arguments_that_do_not_vary_come_first():
    assert LazySystem("a name", "fractions", "Fraction", (3,)).load()(4) * 4 == 3


def test_systems_of_the_papers_tables_are_all_there():
    assert list(DESCRIBERS) == ["mf", "cnn", "cnn-surroundings", "resnet50", "ours", "ours-places"]
    of_the_paper = {"mf-kmeans", "cnn-kmeans", "resnet50-kmeans", "hog-dec", "catgan", "infogan", "gmvae"}
    assert set(CLUSTERERS) == of_the_paper | {"cnn-surroundings-kmeans", "paper-recipe", "ours", "ours-places"}


def test_resnet50_is_run_where_its_weights_are_given_and_passed_over_elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("RESNET50_WEIGHTS", raising=False)
    with pytest.raises(MissingSystemError, match="RESNET50_WEIGHTS names no file"):
        clusterer("resnet50-kmeans")
    monkeypatch.setenv("RESNET50_WEIGHTS", str(tmp_path / "resnet50.pth"))
    with pytest.raises(DataError, match=r"resnet50\.pth does not hold the weights"):
        describer("resnet50")(0)
