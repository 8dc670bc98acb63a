import pytest
import shapely

from reliability.cases.overlay import measure, share_found


@pytest.mark.slow
def test_nuclei_lie_where_qupath_shows_them_in_every_kind_of_slide():
    svs, ome, scn = measure(figure=None)["slides"]
    assert [row["mpp_source"] for row in (svs, ome)] == ["aperio", "ome_xml"]
    assert (scn["frame"]["name"], scn["frame"]["x"], scn["frame"]["y"]) == ("bounds", 900, 600)
    assert svs["nuclei"] > 30
    # Half of the pixels give a few other nuclei than all of them do.
    assert ome["on_those_of_the_first"] > 0.9
    assert scn["on_those_of_the_first"] > 0.97


def test_nuclei_that_are_shifted_by_their_own_width_are_not_found():
    nuclei = [shapely.box(x, 0, x + 10, 10) for x in (0, 100)]
    assert share_found(nuclei, nuclei) == 1
    assert share_found(nuclei, [shapely.box(10, 0, 20, 10), shapely.box(101, 0, 111, 10)]) == 0.5
    assert share_found(nuclei, []) == 0
