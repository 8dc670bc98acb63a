import pytest

from app.pipeline.manifest import Manifest
from tests.descriptions import describe_by_hand


def test_manifest_describes_every_cluster_or_none(manifest_values):
    assert Manifest.model_validate(manifest_values).descriptions is None
    manifest_values["descriptions"] = describe_by_hand(5).model_dump(mode="json")
    assert Manifest.model_validate(manifest_values).descriptions == describe_by_hand(5)
    manifest_values["descriptions"] = describe_by_hand(4).model_dump(mode="json")
    with pytest.raises(ValueError, match="n_clusters = 5 numbers, found 4"):
        Manifest.model_validate(manifest_values)


@pytest.mark.parametrize(("field", "value"), [("effect", 1.1), ("median", float("nan")), ("n", -1), ("title", "")])
def test_number_that_no_cluster_can_have_is_refused(manifest_values, field, value):
    manifest_values["descriptions"] = describe_by_hand().model_dump(mode="json")
    manifest_values["descriptions"]["clusters"][1]["measurements"][0][field] = value
    with pytest.raises(ValueError, match=rf"measurements\.0\.{field}"):
        Manifest.model_validate(manifest_values)
