"""What the command writes is what the service answers."""

import json
import re

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.api.answers import post_tile, strict_json
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.shell.runs import analyze, run

FORMATS = ("json", "geojson", "dsa", "csv", "overlay", "labels")


@pytest.fixture(scope="module")
def service():
    with TestClient(create_app(Settings(threads=1)), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(params=["sample", "coarse", "white", "real"])
def case(request, shipped_bundle):
    """Bytes of a tile, what is asked about it, and whether it has cells."""
    if request.param == "real":
        folder = request.getfixturevalue("bm_graz")
        return (folder / "tiles" / "BM_GRAZ_HE_0020_01.png").read_bytes(), {"precision": "full"}, True
    if request.param == "coarse":
        shape = (400, 480)
        tile = draw_tile(grid_of_centres(shape, step=20), shape=shape, radius=5)
        return encoded(tile, "JPEG", quality=95), {"mpp": 0.5, "precision": "full"}, True
    if request.param == "white":
        return encoded(draw_tile([]) // 255 + 254), {}, False
    return (shipped_bundle / "sample.png").read_bytes(), {}, True


def test_every_format_is_in_the_bytes_of_the_service(here, service, case):
    tile, options, has_cells = case
    (here / "tile").write_bytes(tile)
    given = [text for name, value in options.items() for text in (f"--{name}", value)]
    written = analyze("tile", "--out", ".", *given, *(text for name in FORMATS for text in ("-f", name))).stdout
    for name, path in zip(FORMATS, written.splitlines(), strict=True):
        response = post_tile(service, tile, format=name, **options)
        assert response.status_code == 200
        found, expected = (here / path).read_bytes(), response.content
        if name == "json":
            assert bool(strict_json(found)["cells"]) == has_cells
            found, expected = without_what_differs(found), without_what_differs(expected)
        assert found == expected, name


@pytest.mark.parametrize("form", ["geojson", "labels"])
def test_uploaded_nuclei_give_the_bytes_of_the_service(here, service, sample, form):
    (here / "tile.png").write_bytes(sample)
    own = post_tile(service, sample, format=form).content
    (here / "nuclei").write_bytes(own)
    printed = analyze("tile.png", "--nuclei", "nuclei").stdout_bytes
    answer = service.post("/analyze", files={"tile": sample, "nuclei": own})
    assert strict_json(printed)["segmentation"]["source"] == "upload"
    assert without_what_differs(printed) == without_what_differs(answer.content)


def without_what_differs(text):
    """The bytes of a JSON answer, but for its id and its milliseconds."""
    assert re.fullmatch(rb"[0-9a-f]{32}", json.loads(text)["request_id"].encode())
    text, n_ids = re.subn(rb'^{"request_id":"[0-9a-f]{32}"', b"", text)
    text, n_timings = re.subn(rb'"timing_ms":{[^}]*}}$', b"", text)
    assert (n_ids, n_timings) == (1, 1)
    return text


@pytest.mark.parametrize(
    ("arguments", "path", "file"),
    [
        ((), "/prototypes", "prototypes.png"),
        (("--n", 3, "--seed", 9), "/prototypes?n=3&seed=9", "prototypes.png"),
        ((2,), "/prototypes/2", "cluster-2.png"),
        ((0, "--n", 5, "--seed", 2**32 - 1), f"/prototypes/0?n=5&seed={2**32 - 1}", "cluster-0.png"),
        ((4, "--out", "new/many.png"), "/prototypes/4", "new/many.png"),
        ((1, "--bundle", "marrow"), "/prototypes/1?bundle=marrow", "cluster-1.png"),
    ],
)
def test_prototypes_are_the_picture_of_the_service(here, service, arguments, path, file):
    assert run("prototypes", *arguments).stdout.replace("\\", "/") == f"{file}\n"
    assert (here / file).read_bytes() == service.get(path).content
