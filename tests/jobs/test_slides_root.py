import pytest

from app.jobs.slides_root import NotUnderRoot, find_under


@pytest.fixture
def root(tmp_path):
    """Slides, in a folder whose own name looks like a pattern, and something beside it."""
    root = tmp_path / "slides [1]"
    (root / "study" / "p1").mkdir(parents=True)
    (root / "study" / "p1" / "a.svs").write_bytes(b"")
    (root / "study" / "[x].tif").write_bytes(b"")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.svs").write_bytes(b"")
    return root


@pytest.mark.parametrize("wanted", ["study", "study/p1/a.svs", "study/[x].tif", ".", "study//p1/"])
def test_what_is_there_is_found_as_it_is(root, wanted):
    assert find_under(root, wanted) == str(root / wanted)


@pytest.mark.parametrize("wanted", ["study/p1/*.svs", "**/*.svs", "study/p?/[ab].svs"])
def test_pattern_stays_a_pattern_below_the_root(root, wanted):
    import glob

    assert glob.glob(find_under(root, wanted), recursive=True) == [str(root / "study" / "p1" / "a.svs")]


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        ("/etc/passwd", "relative"),
        ("study\\p1", "relative"),
        ("study/\0", "relative"),
        ("../secret", r"'\.\.'"),
        ("study/../../secret/*", r"'\.\.'"),
        ("study/..", r"'\.\.'"),
        ("nothing", "no such path"),
        ("no*thing", "no such path"),
        ("a" * 900, "no such path"),
        ("~root", "no such path"),
    ],
)
def test_what_leads_elsewhere_is_refused_with_the_rule(root, wanted, rule):
    with pytest.raises(NotUnderRoot, match=rule) as refused:
        find_under(root, wanted)
    assert "secret" not in str(refused.value), "nothing is told of what is outside"


@pytest.mark.parametrize("wanted", ["study/link", "study/link/b.svs", "study", "study/*", "**", "study/link.svs"])
def test_link_out_of_the_root_is_refused(root, wanted):
    (root / "study" / "link").symlink_to(root.parent / "secret")
    (root / "study" / "link.svs").symlink_to(root.parent / "secret" / "b.svs")
    with pytest.raises(NotUnderRoot, match="link"):
        find_under(root, wanted)


def test_links_within_the_root_are_followed_even_in_a_circle(root):
    (root / "study" / "again").symlink_to(root)
    (root / "mine").symlink_to(root / "study" / "p1")
    assert find_under(root, "mine") == str(root / "mine")
    assert find_under(root, "study") == str(root / "study")


def test_link_that_is_reached_by_a_link_is_refused_too(root):
    (root / "mine").mkdir()
    (root / "mine" / "study").symlink_to(root / "study")
    (root / "study" / "p1" / "out").symlink_to(root.parent / "secret")
    with pytest.raises(NotUnderRoot, match="link"):
        find_under(root, "mine")
