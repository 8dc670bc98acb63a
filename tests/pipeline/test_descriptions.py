import pytest

from app.pipeline.descriptions import Descriptions
from app.pipeline.manifest import Manifest
from tests.descriptions import describe_by_hand


def test_what_matters_most_comes_first_and_the_rest_by_its_size():
    names = [known.measurement for known, _ in describe_by_hand().of(2)]
    assert names == ["area_um2", "eccentricity", "dark_clumps"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"foremost": ["perimeter_um"]}, "cluster 1 names perimeter_um"),
        ({"measurements": []}, "cluster 1 needs 3 measurements, found 0"),
        ({"foremost": ["area_um2"] * 4}, "at most 3"),
        ({"sentence": ""}, "at least 1 character"),
    ],
)
def test_description_that_does_not_fit_its_measurements_is_refused(change, said):
    values = describe_by_hand().model_dump(mode="json")
    values["clusters"][1] |= change
    with pytest.raises(ValueError, match=said):
        Descriptions.model_validate(values)


def test_manifest_describes_every_cluster_or_none(manifest_values):
    assert Manifest.model_validate(manifest_values).descriptions is None
    manifest_values["descriptions"] = describe_by_hand(4).model_dump(mode="json")
    with pytest.raises(ValueError, match="n_clusters = 5 numbers, found 4"):
        Manifest.model_validate(manifest_values)
