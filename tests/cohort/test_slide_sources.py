import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cohort.sources import NoSuchTile, find_slides


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "t/p1/a.svs",
        "t/p1/b.ndpi",
        "t/p2/a.tif",
        "t/p2/notes.txt",
        "t/p2/a.overlay.png",
        "t/dicom/2.dcm",
        "t/dicom/10.dcm",
        "t/c.png",
        "u/c.png",
        "u/C.jpeg",
        "v/m.mrxs",
        "v/m/Data0000.dat",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(*given_names):
    return [found.slide for found in find_slides(given_names)]


def test_folder_stands_for_the_slides_and_tiles_beneath_it_named_by_their_sub_folders(tree):
    assert ids("t") == ["c", "dicom--2", "p1--a", "p1--b", "p2--a"]
    assert [found.path for found in find_slides(["t/p1"])] == [tree / "t/p1/a.svs", tree / "t/p1/b.ndpi"]


def test_levels_of_a_dicom_slide_are_one_slide_unless_they_are_named(tree):
    assert ids("t/dicom") == ["2"]
    assert ids("t/dicom/*.dcm") == ["2"]
    assert ids("t/dicom/2.dcm", "t/dicom/10.dcm") == ["2", "10"]


def test_folder_beside_an_mrxs_is_part_of_it(tree):
    assert ids("v") == ["m"]


def test_slides_of_one_name_are_told_apart_by_suffix_then_number(tree):
    assert ids("t/p1/a.svs", "t/p2/a.tif") == ["a.svs", "a.tif"]
    assert ids("t/c.png", "u/c.png") == ["c.png", "c.png-2"]
    # Case alone tells two folders apart on some file systems, and not on others.
    assert ids("u/c.png", "u/C.jpeg") == ["c.png", "C.jpeg"]


def test_slide_that_is_named_twice_is_taken_once(tree):
    assert ids("t/p1/a.svs", "t/p1", str(tree / "t" / "p1" / "a.svs")) == ["a", "b"]


def test_folder_without_a_slide_is_refused(tree):
    (tree / "none").mkdir()
    with pytest.raises(NoSuchTile, match=r"there is no slide or tile in the folder none\."):
        find_slides(["none"])


def test_number_does_not_take_another_slides_name(tree):
    (tree / "c.png-2.tif").touch()
    assert ids("t/c.png", "u/c.png", "c.png-2.tif") == ["c.png", "c.png-3", "c.png-2"]


@given(st.lists(st.sampled_from(["a", "A", "a.png", "a.png-2", "A.PNG-2", "a.png-3", "b"]), max_size=8))
def test_no_two_slides_have_one_id_even_where_case_does_not_count(stems):
    # Files need not be there to be named.
    slides = ids(*[f"folder{i}/{stem}.png" for i, stem in enumerate(stems)])
    assert len({slide.casefold() for slide in slides}) == len(stems)


def test_ids_are_valid_text_of_a_length_that_every_disk_takes(tree):
    for name in ("a" * 251 + ".svs", "ä" * 120 + "1.svs", "ä" * 120 + "2.svs", "b\udcff.svs"):
        (tree / "u" / name).touch()
    found = ids("u/*.svs")
    assert len(set(found)) == 4
    assert "b\\udcff" in found
    assert all(len(one.encode()) <= 200 for one in found)
    assert found == ids("u/*.svs")
