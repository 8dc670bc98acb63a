import errno
import sys
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import batch_form
from app.api.batch_form import MAX_TILES, safe_names
from tests.api.answers import assert_problem
from tests.api.batch_client import post_path, post_tiles
from tests.api.conftest import open_client
from tests.api.exchange import Exchange
from tests.jobs.orders import stand_in_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches")


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "batches"


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr("app.jobs.command.batch_command", lambda _: stand_in_command)


@pytest.fixture
def serve_batches(serve, folders):
    return lambda **settings: serve(batches_dir=folders, **settings)


@pytest.fixture
def lab(serve_batches, tmp_path):
    (tmp_path / "slides" / "finish").mkdir(parents=True)
    return serve_batches(slides_dir=tmp_path / "slides")


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A service to which nothing right is sent, and the folder in which it keeps nothing."""
    place = tmp_path_factory.mktemp("strict")
    (place / "slides" / "finish").mkdir(parents=True)
    with ExitStack() as stack:
        yield open_client(stack, batches_dir=place / "batches", slides_dir=place / "slides"), place / "batches"


def kept(folders):
    """Names of what is in the folder of batches, but the database."""
    return [path.name for path in folders.iterdir() if path.name != "batches.sqlite"]


def in_folder(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_regions_and_patients_are_kept_by_the_ids_of_their_slides(lab, folders):
    """The client knows nothing of the names under which its files are stored."""
    files = [
        ("regions", ("b/a.geojson", b"of b")),
        ("regions", ("a/a.geojson", b"of a")),
        ("regions", ("ä b.GeoJSON.gz", b"zipped")),
        ("regions", ("other.json", b"of none")),
        ("patients", ("list.csv", "slide;patient\nä b;Müller\nb\\a;Smith\nc;Jones\n".encode())),
    ]
    batch = post_tiles(lab, "a/a.svs", "b/a.svs", "ä b.png", files=files).json()
    assert (batch["parameters"]["regions"], batch["parameters"]["patients"]) == (4, True)
    assert batch["warnings"] == [
        "patients.csv names slides that this batch does not have: 'c'.",
        "patients.csv has no patient for a/a.svs.",
        "These files of regions belong to no slide: other.json.",
    ]
    folder = folders / batch["id"]
    assert in_folder(folder / "tiles").keys() == {"a.svs", "a-2.svs", "ä_b.png"}
    assert in_folder(folder / "regions") == {
        "a.svs.geojson": b"of a",
        "a-2.svs.geojson": b"of b",
        "ä_b.png.GeoJSON.gz": b"zipped",
    }
    table = (folder / "patients.csv").read_text(encoding="utf-8")
    assert table.split() == ["slide,patient", "a-2.svs,Smith", "ä_b.png,Müller"]


def test_regions_of_slides_below_the_root_get_the_ids_of_the_slides(lab, folders, tmp_path):
    for name in ("p1/a.svs", "p2/a.svs"):
        (tmp_path / "slides" / "finish" / name).parent.mkdir()
        (tmp_path / "slides" / "finish" / name).touch()
    one = post_path(lab, "finish/p1", files=[("regions", ("whatever.json", b"1"))]).json()
    assert in_folder(folders / one["id"] / "regions") == {"a.json": b"1"}
    both = post_path(lab, "finish", files=[("regions", ("p2/a.geojson", b"2"))]).json()
    assert in_folder(folders / both["id"] / "regions") == {"p2--a.geojson": b"2"}


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (
            "may mean any of 2 slides: p1/slide1.svs, p2/slide1.svs",
            [("patients", ("p.csv", b"slide,patient\nslide1,S"))],
        ),
        ("may mean any of 2 slides: p1/slide1.svs, p2/slide1.svs", [("regions", ("slide1.geojson", b""))]),
        ("several patients", [("patients", ("p.csv", b"slide,patient\np1/slide1,A\np1/slide1.svs,B"))]),
        ("several files of regions", [("regions", ("p1/slide1.json", b"")), ("regions", ("p1/slide1.geojson", b""))]),
        ("columns slide and patient", [("patients", ("p.csv", b"slide,age\nslide1,80"))]),
    ],
)
def test_patients_and_regions_that_may_be_of_several_slides_are_refused(strict, words, files):
    client, folders = strict
    assert_problem(post_tiles(client, "p1/slide1.svs", "p2/slide1.svs", files=files), 422, words)
    assert kept(folders) == []


def test_field_in_which_no_file_was_chosen_is_as_good_as_none(lab, folders):
    """A browser sends it with an empty name."""
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n{file}\r\n'
        for name, file in [("tiles", "a.png"), ("regions", ""), ("patients", "")]
    )
    response = lab.post(
        "/batches", content=body + "--b--\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert response.status_code == 202
    assert response.json()["parameters"]["regions"] == 0
    assert {path.name for path in (folders / response.json()["id"]).iterdir()} <= {
        "tiles",
        "results",
        "stderr.txt",
        "starts.txt",
    }


@pytest.mark.parametrize(
    ("status", "words", "send"),
    [
        (422, "path", lambda client: post_tiles(client, "a.png", path="finish")),
        (422, "path", lambda client: client.post("/batches", files={"patients": ("p.csv", b"x")})),
        (422, "no such path", lambda client: post_path(client, "nothing")),
        (422, "'..'", lambda client: post_path(client, "../..")),
        (422, "relative", lambda client: post_path(client, "/etc")),
        (422, "path", lambda client: post_path(client, "")),
        (422, "mpp", lambda client: post_path(client, "finish", mpp="9")),
        (422, "mpp", lambda client: post_path(client, "finish", mpp="nan")),
        (422, "precision", lambda client: post_path(client, "finish", precision="half")),
        (422, "did you mean area?", lambda client: post_path(client, "finish", map="area_um2")),
        (422, "colour", lambda client: post_path(client, "finish", colour="red")),
        (404, "marrow", lambda client: post_path(client, "finish", bundle="another")),
        (422, "letter.doc", lambda client: post_tiles(client, "a.png", "letter.doc")),
        (422, "a.overlay.png", lambda client: post_tiles(client, "a.overlay.png")),
        (422, "regions", lambda client: post_tiles(client, "a.png", files=[("regions", ("r.xml", b""))])),
        (422, "1 files", lambda client: post_tiles(client, "a.png", files=[("patients", ("p.csv", b""))] * 2)),
        (422, "1000", lambda client: post_tiles(client, *["a.png"] * (MAX_TILES + 1))),
        (400, "tiles", lambda client: client.post("/batches", files={"tiles": (None, "text")})),
        (400, "mpp", lambda client: client.post("/batches", files={"mpp": ("mpp.png", b"x")})),
        (400, "once", lambda client: client.post("/batches", files=[("path", (None, "finish"))] * 2)),
        (400, "many", lambda client: client.post("/batches", files=[("path", (None, "finish"))] * 20)),
        (400, "4KB", lambda client: post_path(client, "a" * 5000)),
        (415, "multipart", lambda client: client.post("/batches", json={"path": "finish"})),
        (415, "multipart", lambda client: client.post("/batches")),
        (400, "boundary", lambda client: client.post("/batches", headers={"Content-Type": "multipart/form-data"})),
    ],
)  # fmt: skip
def test_wrong_form_is_refused_with_the_reason_and_nothing_is_kept(strict, status, words, send):
    client, folders = strict
    assert_problem(send(client), status, words)
    assert kept(folders) == []


def test_service_without_a_root_takes_uploads_only(serve_batches):
    client = serve_batches()
    assert_problem(post_path(client, "finish"), 422, "MARROWSCOPE_SLIDES_DIR")
    assert post_tiles(client, "a.png").status_code == 202


def test_batch_has_a_limit_of_its_own(serve_batches, folders):
    client = serve_batches(max_bytes=1000, batch_max_bytes=50_000)
    files = [("tiles", ("a.png", bytes(10_000)))]
    assert client.post("/batches", files=files * 4).status_code == 202
    assert_problem(client.post("/batches", files=files * 6), 413, "50000")
    assert_problem(client.post("/analyze", files={"tile": bytes(2000)}), 413, "1000")
    assert len(kept(folders)) == 1


FORM = {"Content-Type": "multipart/form-data; boundary=b"}
HEAD = b'--b\r\nContent-Disposition: form-data; name="tiles"; filename="a.png"\r\n\r\n'


def exchange(client, *messages, is_whole=False):
    found = Exchange(client.app, *messages, headers=FORM, is_whole=is_whole, path="/batches")
    client.portal.call(found.run)
    return found


def test_undeclared_length_is_counted_and_nothing_stays(serve_batches, folders):
    client = serve_batches(max_bytes=1000, batch_max_bytes=50_000)
    assert exchange(client, HEAD, *[bytes(10_000)] * 6).status == 413
    assert kept(folders) == []


def test_upload_that_stops_is_408_and_nothing_stays(serve_batches, folders):
    client = serve_batches(body_timeout_s=0.2)
    found = exchange(client, HEAD, bytes(10_000))
    assert (found.status, found.answered[b"connection"]) == (408, b"close")
    assert kept(folders) == []


def test_slow_upload_is_taken_and_one_that_drips_is_not(serve_batches):
    client = serve_batches(body_timeout_s=1, body_min_bytes_per_s=1000)
    body = [HEAD, *[bytes(10_000)] * 8, b"\r\n--b--\r\n"]
    slow = Exchange(client.app, *body, headers=FORM, is_whole=True, path="/batches", pause_s=0.15)
    client.portal.call(slow.run)
    assert slow.status == 202
    drop_by_drop = Exchange(client.app, HEAD, *[b"x"] * 50, headers=FORM, path="/batches", pause_s=0.1)
    client.portal.call(drop_by_drop.run)
    assert drop_by_drop.status == 408


def test_upload_is_not_held_in_memory(serve_batches):
    """Bytes of a batch do not count among those that are held: tiles are taken meanwhile."""
    client = serve_batches(max_bytes=2000, workers=1, queue=0)
    assert exchange(client, HEAD, *[bytes(60_000)] * 4, b"\r\n--b--\r\n", is_whole=True).status == 202


def test_full_disk_is_503_and_leaves_nothing_behind(lab, folders, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batch_form.FileOnDisk, "_append", full)
    assert_problem(post_tiles(lab, "a.png"), 503, "full")
    assert kept(folders) == []


@given(st.lists(st.text(max_size=300), max_size=20))
def test_safe_names_are_safe_and_differ(given):
    names = safe_names(given)
    assert len({name.casefold() for name in names}) == len(names) == len(given)
    for name in names:
        assert name not in {"", ".", ".."}
        assert not name.startswith((".", "-"))
        assert not set(name) & set('/\\\0*?[]:"<>| ')
        assert len(name.encode()) <= 255
    assert safe_names(["a.png", "A.PNG", "x/y\\a.png", "..png", "", "a", ".geojson.gz", "r.geojson.gz"]) == [
        "a.png", "A-2.PNG", "a-3.png", "png", "file", "a", "geojson.gz", "r.geojson.gz",
    ]  # fmt: skip
