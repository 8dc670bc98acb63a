import pytest

from app.cohort.naming import Ambiguous
from app.cohort.regions import regions_in_folder
from tests.cohort.slides import slides_at


@pytest.fixture
def found(tmp_path):
    """Return the file of each slide in a folder that has these files, and the warnings."""

    def found(files, *slides):
        for name in files:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        of_slide, warnings = regions_in_folder(tmp_path, slides_at(*slides))
        return {slide: path.relative_to(tmp_path).as_posix() for slide, path in of_slide.items()}, warnings

    return found


@pytest.mark.parametrize(
    "name",
    [
        "p1--a.geojson",
        "a.svs.geojson",
        "a.geojson",
        "a.json",
        "a.GeoJSON.gz",
        "p1--a.geojson.gz",
        "p1/a.geojson",
        "p1/a.svs.geojson",
    ],
)
def test_file_is_named_as_the_slide_is(found, name):
    of_slide, warnings = found([name], "p1/a.svs", "p2/b.svs")
    assert of_slide == {"p1--a": name, "p2--b": "b.geojson"}
    assert warnings == []


def test_file_that_may_belong_to_several_slides_is_refused(found):
    with pytest.raises(Ambiguous) as refused:
        found(["slide1.geojson"], "p1/slide1.svs", "p2/slide1.svs")
    assert str(refused.value) == (
        "'slide1' in the names of regions may mean any of 2 slides: p1/slide1.svs, p2/slide1.svs. "
        "Name the file p1/slide1.svs.geojson, with the folders that the slide lies in."
    )


def test_folders_like_those_of_the_slides_settle_it(found):
    files = ["p1/slide1.geojson", "p2/slide1.geojson"]
    assert found(files, "p2/slide1.svs", "p1/slide1.svs")[0] == {"p2--slide1": files[1], "p1--slide1": files[0]}


def test_several_files_of_one_slide_are_refused(found):
    with pytest.raises(Ambiguous, match=r"^a\.svs has several files of regions: a\.geojson, a\.svs\.json\. Keep one"):
        found(["a.geojson", "a.svs.json"], "p1/a.svs")


def test_file_without_a_slide_is_said_and_a_slide_without_a_file_gets_the_name_that_it_may_have(found):
    of_slide, warnings = found(
        ["b.geojson", "slied.json", "p2/.a.geojson", "notes.txt"], "p1/a.svs", "p2/a.svs", "b.svs"
    )
    assert of_slide == {"p1--a": "p1/a.geojson", "p2--a": "p2/a.geojson", "b": "b.geojson"}
    assert warnings == ["These files of regions belong to no slide: slied.json."]
    assert found([], "p1/a.svs", "p2/c.svs")[0] == {"p1--a": "a.geojson", "p2--c": "c.geojson"}
