import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import marrowscope
from app.answer.formats import FORMATS
from app.client import MEDIA_TYPES
from marrowscope import Client, ServiceProblem
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.keys_file import write_keys
from tests.observe.reading import parsed, value
from tests.served import served
from tests.waiting import PATIENCE_S

KEY = "schlüssel"
SAMPLE = REPOSITORY / "models" / "marrow" / "sample.png"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A service that asks for a key, analyses a single tile at a time and lets none wait."""
    keys_file = write_keys(tmp_path_factory.mktemp("keys") / "keys.json", client=KEY)
    with served(keys_file=keys_file, workers=1, queue=0) as (_, found):
        yield found


@pytest.fixture(scope="module")
def service(address):
    with Client(address, api_key=KEY) as found:
        yield found


@pytest.fixture(scope="module")
def answer(service):
    return service.analyze(SAMPLE)


@pytest.fixture(scope="module")
def pixels():
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB"))


def post(address, **query):
    """What a client of another make gets."""
    with SAMPLE.open("rb") as tile:
        return httpx.post(
            f"{address}/analyze",
            params=query,
            files={"tile": tile},
            headers={"X-API-Key": KEY.encode()},
            timeout=PATIENCE_S,
        )


def without_request(answer):
    return answer.model_dump(exclude={"request_id", "timing_ms"})


def test_answer_is_that_of_the_service(address, answer):
    answered = post(address).json()
    shown = answer.model_dump(mode="json")
    for part in ("request_id", "timing_ms"):
        del answered[part], shown[part]
    assert shown == answered
    assert len(answer.cells) > 0


def test_nuclei_are_sent_in_every_form(service, answer, pixels, tmp_path):
    collection = service.export(SAMPLE, "geojson")
    (tmp_path / "n.geojson").write_bytes(collection)
    labels = service.export(SAMPLE, "labels")
    with Image.open(io.BytesIO(labels)) as image:
        numbers = np.asarray(image)
    for nuclei in (
        collection,
        tmp_path / "n.geojson",
        str(tmp_path / "n.geojson"),
        labels,
        numbers,
        numbers.astype(int),
    ):
        again = service.analyze(SAMPLE, nuclei=nuclei)
        assert again.segmentation.source == "upload"
        assert again.cells == answer.cells
    assert json.loads(service.export(SAMPLE, "geojson", nuclei=numbers))["segmentation"]["method"] == "label_image"
    for wrong in (numbers.astype(float), numbers[None], numbers.astype(int) - 1, numbers.astype(int) + 70_000):
        with pytest.raises(ValueError, match="nuclei must be"):
            service.analyze(SAMPLE, nuclei=wrong)
    with pytest.raises(TypeError, match="found dict"):
        service.analyze(SAMPLE, nuclei={})
    with pytest.raises(ServiceProblem, match="an empty object is no feature"):
        service.analyze(SAMPLE, nuclei=b"{}")


def test_file_is_sent_as_it_is(service, answer):
    data = SAMPLE.read_bytes()
    assert answer.tile.sha256 == hashlib.sha256(data).hexdigest()
    for tile in (str(SAMPLE), data):
        assert without_request(service.analyze(tile)) == without_request(answer)


def test_pixels_give_the_cells_of_their_file(service, answer, pixels):
    for tile in (pixels, Image.fromarray(pixels), Image.fromarray(pixels).convert("RGBA")):
        assert service.analyze(tile).cells == answer.cells


def test_part_of_an_array_is_a_tile(service, pixels):
    view = pixels[10:300:1, ::-1]
    assert not view.flags["C_CONTIGUOUS"]
    assert service.analyze(view).cells == service.analyze(encoded(np.ascontiguousarray(view))).cells


def test_parameters_reach_the_service(service, answer):
    found = service.analyze(SAMPLE, mpp=0.3, bundle="marrow", prototypes=1, precision="full")
    assert found.tile.mpp == 0.3
    assert found.bundle.precision == "full"
    assert answer.bundle.precision == "fast"
    assert [len(cluster.prototypes) for cluster in found.clusters] == [1] * len(found.clusters)
    assert answer.clusters[0].prototypes is None


def test_corrections_reach_the_service(service, answer):
    """The shipped bundle knows no types, and says so."""
    for given in ({"Lymphocyte": [0]}, {"Lymphocyte": np.arange(2)}):
        with pytest.raises(ServiceProblem, match="knows no types of cells"):
            service.analyze(SAMPLE, corrections=given)
        with pytest.raises(ServiceProblem, match="knows no types of cells"):
            service.export(SAMPLE, "csv", corrections=given)
    for ask in (service.analyze, partial(service.export, format="csv")):
        with pytest.raises(ServiceProblem, match="the reviewer is the name of the key"):
            ask(SAMPLE, corrections={"Lymphocyte": [0]}, reviewer="A. Smith")
        with pytest.raises(ServiceProblem, match="cells_sha256"):
            ask(SAMPLE, corrections={"Lymphocyte": [0]}, cells_sha256="that of no answer")
    assert service.analyze(SAMPLE, corrections={}).result_sha256 == answer.result_sha256
    with pytest.raises(TypeError):
        service.analyze(SAMPLE, corrections={"Lymphocyte": [0.5]})


@pytest.mark.parametrize("format", MEDIA_TYPES)
def test_export_is_byte_for_byte_that_of_the_service(address, service, format):
    assert service.export(SAMPLE, format, mpp=0.25) == post(address, format=format, mpp=0.25).content


def test_media_types_are_those_of_the_formats():
    assert {name: FORMATS[name].media_type for name in MEDIA_TYPES} == MEDIA_TYPES


def test_prototypes_are_pictures_and_the_same_for_a_seed(service):
    found = service.prototypes(1, n=3, seed=7)
    assert (found.cluster, found.n, found.seed, len(found.cells)) == (1, 3, 7, 3)
    assert service.prototypes(1, n=3, seed=7, bundle="marrow") == found
    assert service.prototypes(1, n=3, seed=8).cells != found.cells


def test_bundles_and_their_cards(service, answer):
    (summary,) = [bundle for bundle in service.bundles().bundles if bundle.default]
    card = service.bundle(summary.name)
    assert card.sha256 == summary.sha256 == answer.bundle.sha256
    assert card.manifest.n_clusters == len(answer.clusters)


def test_it_is_ready_for_a_bundle_that_is_there(service):
    assert service.is_ready()
    assert service.is_ready("marrow")
    assert not service.is_ready("other")


@pytest.mark.parametrize("key", [None, "", "wrong"])
def test_without_a_right_key_it_is_a_problem(address, key):
    with Client(address, api_key=key) as stranger, pytest.raises(ServiceProblem, match="X-API-Key") as caught:
        stranger.analyze(SAMPLE)
    assert caught.value.status == 401


def test_key_may_come_from_a_file_with_a_line_break(address):
    with Client(address, api_key=f"{KEY}\n") as service:
        assert service.bundles().bundles


def test_text_file_is_a_problem_that_says_so(service, tmp_path):
    letter = tmp_path / "letter.png"
    letter.write_text("Dear colleague")
    with pytest.raises(ServiceProblem) as caught:
        service.analyze(letter)
    problem = caught.value
    assert (problem.status, problem.title) == (415, "Unsupported Media Type")
    assert str(problem) == problem.detail == "The upload is not a PNG, JPEG or TIFF image."
    assert len(problem.request_id) == 32
    assert problem.retry_after_s is None


@pytest.mark.parametrize(
    ("ask", "status", "words"),
    [
        (lambda service: service.analyze(SAMPLE, bundle="other"), 404, "marrow"),
        (lambda service: service.bundle("a?b"), 404, "marrow"),
        (lambda service: service.prototypes(99), 404, "99"),
        (lambda service: service.analyze(SAMPLE, mpp=100), 422, "mpp"),
        (lambda service: service.analyze(bytes(25_000_000)), 413, "bytes"),
        (lambda service: service.analyze(b""), 415, "empty"),
    ],
)
def test_refusal_is_a_problem_with_its_reason(service, ask, status, words):
    with pytest.raises(ServiceProblem, match=words) as caught:
        ask(service)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "tile",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_array_that_is_no_tile_is_refused_with_its_shape(service, tile):
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8") as caught:
        service.analyze(tile)
    assert str(tile.shape) in str(caught.value)
    assert str(tile.dtype) in str(caught.value)


def test_what_is_no_tile_at_all_is_refused(service):
    with pytest.raises(TypeError, match="NoneType"):
        service.analyze(None)
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        service.analyze(Path("missing.png"))
    with pytest.raises(ValueError, match="xml"):
        service.export(SAMPLE, "xml")


@pytest.mark.parametrize("options", [{"url": "localhost:8000"}, {"timeout_s": 0}, {"timeout_s": float("nan")}])
def test_client_that_cannot_work_is_refused(options):
    with pytest.raises(ValueError, match="found"):
        Client(**options)


def count_refusals(address):
    samples = parsed(httpx.get(f"{address}/metrics", timeout=PATIENCE_S).text)
    return value(samples, "marrowscope_requests_total", route="/analyze", method="POST", status="503")


def test_no_tile_of_several_threads_is_lost(address, service):
    """The service lets none wait: it refuses one of these at first, for as long as it works on the other."""
    tile = encoded(np.tile(draw_tile(grid_of_centres()), (10, 8, 1)))
    before = count_refusals(address)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(service.analyze, [tile, tile]))
    assert count_refusals(address) > before
    assert answers[0].cells == answers[1].cells
    assert len(answers[0].cells) > 1000


def test_broken_bundle_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "marrow").mkdir()
    (tmp_path / "marrow" / "manifest.json").write_text("{}")
    with served(bundles_dir=tmp_path) as (_, url), Client(url) as service, monkeypatch.context() as patched:
        patched.setattr("app.client.time.sleep", lambda _: pytest.fail("The client waits."))
        assert not service.is_ready()
        for bundle in (None, "marrow"):
            with pytest.raises(ServiceProblem, match="manifest") as caught:
                service.analyze(SAMPLE, bundle=bundle)
            assert caught.value.status == 503


def test_tile_for_this_machine_does_not_go_to_a_proxy(address, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for host in ("127.0.0.1", "localhost"):
        with Client(address.replace("127.0.0.1", host), api_key=KEY) as service:
            assert service.is_ready(), host


def test_it_is_closed_after_its_block(address):
    with Client(address, api_key=KEY) as service:
        assert service.is_ready()
    with pytest.raises(RuntimeError, match="closed"):
        service.bundles()


def test_what_the_module_offers():
    assert set(marrowscope.__all__) <= set(dir(marrowscope))
    assert marrowscope.__version__
