"""Forms as older clients send them."""

import pytest

from app.api.http.forms import MAX_PREAMBLE_BYTES
from tests.api.answers import assert_problem
from tests.drawing import draw_tile, encoded, grid_of_centres

TILE = encoded(draw_tile(grid_of_centres()))
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
NAMED = b'filename="a.png"'


def form(disposition=NAMED, before=b"", field=b"tile", tile=TILE):
    head = b'--b\r\nContent-Disposition: form-data; name="%b"; %b\r\nContent-Type: image/png\r\n\r\n'
    return before + head % (field, disposition) + tile + b"\r\n--b--\r\n"


def post(client, body, path="/analyze"):
    return client.post(path, content=body, headers=MULTIPART)


EXTENDED = [
    b"filename*=UTF-8''K%C3%B6ln%20%E2%82%AC.png",
    b"filename*=utf-8'de'a.png",
    b"filename*=iso-8859-1''%A3.png",
    b"filename*=nonsense''a.png",
    b"filename*=UTF-8''%ff%fe%00%0d%0a%22%5c.png",
    b"filename*=\"UTF-8''a.png\"",
    b'filename*0="a"; filename*1=".png"',
    b"FILENAME*=UTF-8''a.png",
]


@pytest.mark.parametrize("disposition", EXTENDED)
def test_file_whose_name_is_in_extended_notation_alone_is_a_file(client, disposition):
    response = post(client, form(disposition))
    assert response.status_code == 200, response.text
    assert len(response.json()["cells"]) == len(grid_of_centres())


def test_plain_name_goes_before_the_extended_one(serve, tmp_path):
    both = form(b"filename=\"plain.png\"; filename*=UTF-8''extended.png", field=b"tiles")
    assert post(serve(batches_dir=tmp_path), both, "/batches").status_code == 202
    assert [path.name for path in tmp_path.glob("*/tiles/*")] == ["plain.png"]


@pytest.mark.parametrize(
    ("extended", "kept"),
    [
        (b"K%C3%B6ln.png", "Köln.png"),
        (b"..%2F..%2Fetc%2Fpasswd.png", "passwd.png"),
        (b"C%3A%5Cwork%5Ca%22%3B%20filename%3Db.png", "a___filename_b.png"),
        (b"%00%0d%0a%2e%2e.png", "___...png"),
    ],
)
def test_extended_name_of_a_batchs_file_is_made_as_safe_as_any(serve, tmp_path, extended, kept):
    response = post(serve(batches_dir=tmp_path), form(b"filename*=UTF-8''" + extended, field=b"tiles"), "/batches")
    assert response.status_code == 202, response.text
    (found,) = tmp_path.glob("*/tiles/*")
    assert found.name == kept


@pytest.mark.parametrize("text", [b"", b"name*=UTF-8''a", b"file*=UTF-8''a.png", b"filename*x=UTF-8''a.png"])
def test_part_without_any_file_name_is_text(client, text):
    assert_problem(post(client, form(text, tile=b"a")), 400, "text in the field `tile`")


PREAMBLES = [
    b"This is a multi-part message in MIME format.\r\n",
    b"\r\n",
    b"--\r\n-- b\r\n--c\r\n",
    b"x" * (MAX_PREAMBLE_BYTES - 10) + b"\r\n",
]


@pytest.mark.parametrize("preamble", PREAMBLES)
def test_preamble_is_passed_over_however_it_is_cut(client, preamble):
    body = form(before=preamble)
    assert post(client, body).status_code == 200
    n_pieces = len(preamble) + 20 if len(preamble) < 100 else 1
    pieces = [body[i : i + 1] for i in range(n_pieces)] + [body[n_pieces:]]
    assert post(client, iter(pieces)).status_code == 200


def test_preamble_is_bounded_and_a_tile_that_looks_like_a_part_stays_whole(client, sample):
    assert_problem(post(client, form(before=b"x" * (MAX_PREAMBLE_BYTES + 1) + b"\r\n")), 400)
    assert_problem(post(client, form(before=b"no line break")), 400)
    lookalike = post(client, form(tile=sample + b"\n--b\r\nX: y\r\n\r\n"))
    assert lookalike.status_code == 200
