import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cohort.sources import NoSuchTile, find_tiles, natural_order


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of two patients, and what lies about in such folders."""
    for name in (
        "t/p1/a.png",
        "t/p1/b 2.JPG",
        "t/p1/notes.txt",
        "t/p1/a.overlay.png",
        "t/p1/a.LABELS.png",
        "t/p1/a.stages.png",
        "t/p10/a.tiff",
        "t/p2/.cache/a.png",
        "t/p2/._a.png",
        "t/p2/a.b.tif",
        "t/[x].jpeg",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*given):
    return [source.path.as_posix() for source in find_tiles(given)]


def stems(*given):
    return [source.stem.as_posix() for source in find_tiles(given)]


def test_folder_stands_for_every_picture_beneath_it_innatural_order_order(tree):
    assert paths("t") == ["t/[x].jpeg", "t/p1/a.png", "t/p1/b 2.JPG", "t/p2/a.b.tif", "t/p10/a.tiff"]


def test_answers_of_a_folder_keep_its_sub_folders_and_others_lie_flat(tree):
    assert stems("t") == ["[x]", "p1/a", "p1/b 2", "p2/a.b", "p10/a"]
    assert stems(str(tree / "t" / "p2") + os.sep) == ["a.b"]
    assert stems("t/p1/a.png", "t/p*/a.b.*") == ["a", "a.b"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("t/*/a*", ["t/p1/a.png", "t/p2/a.b.tif", "t/p10/a.tiff"]),
        ("t/**/*.[jt]*", ["t/[x].jpeg", "t/p2/a.b.tif", "t/p10/a.tiff"]),
        ("t/**", ["t/[x].jpeg", "t/p1/a.png", "t/p1/b 2.JPG", "t/p2/a.b.tif", "t/p10/a.tiff"]),
        ("t/p?/*.png", ["t/p1/a.png"]),
    ],
)
def test_pattern_stands_for_the_pictures_that_match_it(tree, pattern, expected):
    assert paths(pattern) == expected


def test_file_whose_name_looks_like_a_pattern_is_that_file(tree):
    assert paths("t/[x].jpeg") == ["t/[x].jpeg"]


@pytest.mark.parametrize("name", ["t/p1/notes.txt", "t/p1/a.overlay.png", "t/p2/._a.png", "t/absent.png"])
def test_file_that_is_named_is_taken_whatever_it_is(tree, name):
    assert paths(name) == [name]


def test_tile_that_is_named_twice_is_taken_once_where_it_was_named_first(tree):
    assert paths("t/p2/a.b.tif", "t/./p2/../p2/a.b.tif", "t/p2", "t/**/*.tif", "t/p1/a.png") == [
        "t/p2/a.b.tif",
        "t/p1/a.png",
    ]


def test_links_to_folders_are_followed_but_not_in_a_circle(tree):
    outside = tree / "elsewhere"
    outside.mkdir()
    (outside / "far.png").touch()
    try:
        (tree / "t" / "p1" / "far").symlink_to(outside)
        (tree / "t" / "p1" / "up").symlink_to(tree / "t")
    except OSError:
        pytest.skip("Links cannot be made here.")
    assert stems("t/p1") == ["a", "b 2", "far/far", "up/[x]", "up/p2/a.b", "up/p10/a"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t/*.png", "no PNG, JPEG or TIFF matches the pattern t/*.png."),
        ("t/p1/*.txt", "no PNG, JPEG or TIFF matches the pattern t/p1/*.txt."),
        ("t/p1/*.overlay.png", "no PNG, JPEG or TIFF matches"),
        ("none", "there is no PNG, JPEG or TIFF in the folder none."),
        ("", "a tile's name is empty."),
    ],
)
def test_what_stands_for_no_tile_is_refused(tree, name, message):
    (tree / "none").mkdir()
    with pytest.raises(NoSuchTile) as refused:
        find_tiles(["t", name])
    assert message in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every folder")
def test_folder_that_cannot_be_read_is_not_passed_over(tree):
    (tree / "t" / "p2").chmod(0)
    try:
        with pytest.raises(PermissionError):
            find_tiles(["t"])
    finally:
        (tree / "t" / "p2").chmod(0o700)


@given(st.lists(st.integers(0, 10**6), unique=True), st.text("ab_ -", max_size=3))
def test_numbers_in_names_are_sorted_as_numbers(numbers, prefix):
    names = [Path(f"{prefix}{number}.png") for number in numbers]
    assert sorted(names, key=natural_order) == [Path(f"{prefix}{number}.png") for number in sorted(numbers)]


@given(st.permutations(["a", "A", "a1", "a01", "a1b", "1", "١", "²", "-", "a/1", "a/b", "b/a"]))
def test_order_does_not_depend_on_how_the_names_came(names):
    found = sorted(map(Path, names), key=natural_order)
    assert found == sorted(sorted(map(Path, names)), key=natural_order)
    assert found.index(Path("A")) < found.index(Path("a")) < found.index(Path("a01")) < found.index(Path("a1"))
