import json
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.api.answers import assert_problem, post_tile
from tests.drawing import draw_tile, encoded, grid_of_centres

TILE = draw_tile(grid_of_centres())
IMAGE = Image.fromarray(TILE)
LONG = 25_000_000


def deep(channels) -> bytes:
    """A 16-bit PNG."""
    pixels = np.random.default_rng(0).integers(0, 2**16, (20, 30, channels), dtype=np.uint16)
    return cv2.imencode(".png", pixels)[1].tobytes()


def deep_tiff(dtype) -> bytes:
    return encoded(Image.fromarray(np.ones((20, 30), dtype)), "TIFF")


def animated(image_format) -> bytes:
    frames = [Image.fromarray(255 - TILE)]
    return encoded(IMAGE, image_format, save_all=True, append_images=frames)


def bomb(side=12_000, rows=100) -> bytes:
    """A valid RGB PNG of `side`² black pixels, small as a file."""
    strip = bytes(rows * (1 + 3 * side))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(strip) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(side // rows):
        checksum = zlib.adler32(strip, checksum)
    body = b"\x78\xda" + block * (side // rows) + packer.flush() + struct.pack(">I", checksum)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def half(data) -> bytes:
    return data[: len(data) // 2]


UNREADABLE = {
    "text named .png": b"this is not a picture\n" * 100,
    "nothing": b"",
    "one byte": b"\x89",
    "only a signature": b"\x89PNG\r\n\x1a\n",
    "truncated PNG": half(encoded(TILE)),
    "truncated JPEG": half(encoded(TILE, "JPEG")),
    "truncated TIFF": half(encoded(TILE, "TIFF")),
    "16-bit grey PNG": deep(1),
    "16-bit RGB PNG": deep(3),
    "16-bit RGBA PNG": deep(4),
    "16-bit TIFF": deep_tiff(np.uint16),
    "float TIFF": deep_tiff(np.float32),
    "GIF": encoded(IMAGE, "GIF"),
    "BMP": encoded(IMAGE, "BMP"),
    "WebP": encoded(IMAGE, "WEBP"),
    "animated GIF": animated("GIF"),
    "animated PNG": animated("PNG"),
    "two-page TIFF": animated("TIFF"),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_8_bit_image_is_415(client, data):
    assert_problem(post_tile(client, data), 415)


def test_a_16_bit_tile_is_told_what_is_wanted(client):
    assert_problem(post_tile(client, deep(3)), 415, "8 bits")


READABLE = {
    "RGB": encoded(IMAGE),
    "grey": encoded(IMAGE.convert("L")),
    "grey and alpha": encoded(IMAGE.convert("LA")),
    "RGBA": encoded(IMAGE.convert("RGBA")),
    "palette": encoded(IMAGE.convert("P")),
    "1 bit": encoded(IMAGE.convert("1")),
    "JPEG": encoded(IMAGE, "JPEG"),
    "grey JPEG": encoded(IMAGE.convert("L"), "JPEG"),
    "CMYK JPEG": encoded(IMAGE.convert("CMYK"), "JPEG"),
    "TIFF": encoded(IMAGE, "TIFF"),
    "CMYK TIFF": encoded(IMAGE.convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("data", READABLE.values(), ids=READABLE)
def test_every_form_of_8_bit_image_is_read(client, data):
    response = post_tile(client, data)
    assert response.status_code == 200, response.text
    assert (response.json()["tile"]["width"], response.json()["tile"]["height"]) == IMAGE.size


@pytest.mark.parametrize("form", ["RGBA", "palette", "TIFF"])
def test_form_of_the_file_does_not_change_the_cells(client, form):
    data = encoded(IMAGE.quantize(256)) if form == "palette" else READABLE[form]
    expected = len(post_tile(client, READABLE["RGB"]).json()["cells"])
    assert len(post_tile(client, data).json()["cells"]) == expected == len(grid_of_centres())


def test_bomb_is_413(client):
    data = bomb()
    assert 300_000 < len(data) < 600_000
    assert_problem(post_tile(client, data), 413, "12000")


def test_tile_that_its_mpp_would_blow_up_is_413(client):
    assert_problem(post_tile(client, encoded(np.full((1200, 1200, 3), 255, np.uint8)), mpp=4), 413, "pixels")


def test_body_declared_too_long_is_413(client):
    response = post_tile(client, bytes(LONG))
    assert_problem(response, 413, str(20 * 1024**2))


def chunked(tile_bytes):
    yield b'--b\r\nContent-Disposition: form-data; name="tile"; filename="a.png"\r\n\r\n'
    for _ in range(tile_bytes // 1_000_000):
        yield bytes(1_000_000)
    yield b"\r\n--b--\r\n"


def test_body_that_becomes_too_long_is_413(client):
    response = client.post(
        "/analyze", content=chunked(LONG), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert "content-length" not in response.request.headers
    assert_problem(response, 413, str(20 * 1024**2))


def test_limits_are_those_of_the_settings(serve):
    small = serve(max_bytes=20_000, max_pixels=100)
    assert_problem(post_tile(small, bytes(20_001)), 413, "20000")
    assert_problem(post_tile(small, encoded(np.zeros((10, 11, 3), np.uint8))), 413, "100 pixels")
    assert post_tile(small, encoded(np.zeros((10, 10, 3), np.uint8))).status_code == 200


FORMS = {
    "another field": [("tale", ("a.png", b"x"))],
    "two files": [("tile", ("a.png", READABLE["RGB"])), ("tile", ("b.png", READABLE["RGB"]))],
    "two files of nuclei": [("tile", ("a.png", READABLE["RGB"])), *[("nuclei", ("n.geojson", b"[]"))] * 2],
    "two tiles with nuclei": [*[("tile", ("a.png", READABLE["RGB"]))] * 2, ("nuclei", ("n.geojson", b"[]"))],
    "nuclei alone": [("nuclei", ("n.geojson", b"[]"))],
    "nuclei as text": [("tile", ("a.png", READABLE["RGB"])), ("nuclei", (None, "[]"))],
    "a file too many": [("tile", ("a.png", READABLE["RGB"])), ("mask", ("b.png", READABLE["RGB"]))],
    "a field too many": [("tile", ("a.png", READABLE["RGB"])), ("mpp", (None, "0.5"))],
    "text in place of a file": [("tile", (None, "text"))],
    "a thousand files": [("tile", ("a.png", b"x"))] * 1001,
    "a field of 2 MB": [("tile", ("a.png", READABLE["RGB"])), ("note", (None, "x" * 2_000_000))],
}


@pytest.mark.parametrize("files", FORMS.values(), ids=FORMS)
def test_form_that_does_not_hold_one_file_is_400(client, files):
    assert_problem(client.post("/analyze", files=files), 400)


PART = b'--b\r\nContent-Disposition: form-data; name="tile"; filename="a.png"\r\n\r\n'
MULTIPART = "multipart/form-data; boundary=b"
BROKEN = {
    "no boundary in the header": (b"junk", "multipart/form-data"),
    "no boundary in the body": (b"junk", MULTIPART),
    "another boundary": ((PART + b"x\r\n--b--\r\n").replace(b"--b", b"--c"), MULTIPART),
    "no end": (PART + b"x" * 1000, MULTIPART),
    "cut in the part's header": (PART[:30], MULTIPART),
    "part without a name": (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", MULTIPART),
    "part without a header": (b"--b\r\n\r\nx\r\n--b--\r\n", MULTIPART),
    "header without a colon": (b"--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n", MULTIPART),
    "empty": (b"", MULTIPART),
    "only the end": (b"--b--\r\n", MULTIPART),
    "boundary that is not ASCII": (PART, b"multipart/form-data; boundary=\xff\xfe"),
}


@pytest.mark.parametrize(("body", "content_type"), BROKEN.values(), ids=BROKEN)
def test_broken_multipart_is_400(client, body, content_type):
    assert_problem(client.post("/analyze", content=body, headers={"content-type": content_type}), 400)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(json.dumps({"tile": "x"}).encode(), "application/json", id="JSON"),
        pytest.param(b"{", "application/json", id="broken JSON"),
        pytest.param(b"tile=x", "application/x-www-form-urlencoded", id="form without files"),
        pytest.param(READABLE["RGB"], "image/png", id="the image itself"),
        pytest.param(READABLE["RGB"], "application/octet-stream", id="bytes"),
    ],
)
def test_body_that_is_no_multipart_form_is_415(client, body, content_type):
    assert_problem(client.post("/analyze", content=body, headers={"content-type": content_type}), 415, "multipart")


BAD_QUERIES = [
    *(("mpp", value, 422) for value in ("-1", "0", "nan", "inf", "-inf", "1e400", "abc", "", "0.049", "4.01")),
    *(("prototypes", value, 422) for value in ("17", "-1", "1.5", "x", "", "9" * 30)),
    *(("format", value, 422) for value in ("xml", "", "JSON")),
    *(
        ("bundle", value, 404)
        for value in ("../etc", "..", "/etc/passwd", "", "marrow/", "x" * 300, "\x00", "marrow\n")
    ),
]


@pytest.mark.parametrize(("name", "value", "status"), BAD_QUERIES)
def test_bad_parameter_of_analyze(client, name, value, status):
    assert_problem(post_tile(client, READABLE["RGB"], **{name: value}), status, *([name] if status == 422 else []))


@pytest.mark.parametrize("cluster", ["-1", "5", "9" * 30])
def test_unknown_cluster_is_404(client, cluster):
    assert_problem(client.get(f"/prototypes/{cluster}"), 404, "0 to 4")


@pytest.mark.parametrize("cluster", ["x", "1.5", "%20", "0x1"])
def test_cluster_that_is_no_number_is_422(client, cluster):
    assert_problem(client.get(f"/prototypes/{cluster}"), 422, "cluster")


@pytest.mark.parametrize("path", ["/prototypes", "/prototypes/0"])
@pytest.mark.parametrize(
    "query", ["n=0", "n=65", "n=-1", "n=x", "n=1.5", "n=", "seed=-1", "seed=4294967296", "seed=x", "seed=nan"]
)
def test_bad_number_of_prototypes_or_seed_is_422(client, path, query):
    assert_problem(client.get(f"{path}?{query}"), 422, query.split("=")[0])


def test_unknown_format_of_prototypes_is_422(client):
    assert_problem(client.get("/prototypes/0?format=gif"), 422, "format")


@pytest.mark.parametrize("path", ["/prototypes?bundle=../etc", "/prototypes/0?bundle=other", "/bundles/other"])
def test_unknown_bundle_is_404_and_the_known_ones_are_named(client, path):
    assert_problem(client.get(path), 404, "marrow")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/analyze/",
        "/bundles/",
        "/prototypes/",
        "/livez/",
        "/prototypes/0/1",
        "/bundles/..%2F..%2Fetc%2Fpasswd",
        "/bundles/%2e%2e",
        "/bundles/%00",
        "/redoc",
        "/bundles/marrow/q.onnx",
    ],
)
def test_unknown_path_is_404(client, path):
    assert_problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/analyze", "POST"),
        ("PUT", "/analyze", "POST"),
        ("POST", "/livez", "GET"),
        ("DELETE", "/bundles", "GET"),
        ("PATCH", "/bundles/marrow", "GET"),
        ("POST", "/prototypes", "GET"),
        ("POST", "/prototypes/0", "GET"),
        ("OPTIONS", "/readyz", "GET"),
        ("TRACE", "/readyz", "GET"),
        ("BREW", "/readyz", "GET"),
        ("POST", "/openapi.json", "GET"),
    ],
)
def test_wrong_method_is_405_and_the_right_one_is_named(client, method, path, allowed):
    response = client.request(method, path)
    assert_problem(response, 405)
    assert allowed in response.headers["allow"].split(", ")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/bundles", "/analyze", "/prototypes/0"])
def test_head_is_a_method_like_others(client, path):
    response = client.head(path)
    assert response.status_code == 405
    assert response.headers["allow"] == client.delete(path).headers["allow"]


def test_head_of_an_unknown_path_is_404(client):
    assert client.head("/nothing").status_code == 404
