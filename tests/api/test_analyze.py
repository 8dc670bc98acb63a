import base64
import copy
import hashlib
import io
from datetime import datetime

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.api.answers import assert_problem, post_tile
from tests.drawing import draw_tile, encoded, grid_of_centres

NOTICE = "For Research Use Only. Not for use in diagnostic procedures."
KEYS = {
    "tile": {"width", "height", "mpp", "sha256"},
    "quality": {"focus", "stain_distance", "tissue_fraction", "flags"},
    "label": {"value", "score", "probability", "kmeans", "basis", "reason", "bias", "conformal_set", "reference"},
    "bundle": {"name", "version", "sha256", "backend", "device", "precision"},
    "timing_ms": {"decode", "segment", "measure", "encode", "total"},
}
CELL_KEYS = {"id", "centroid", "bbox", "area_px", "contour", "cluster", "probabilities", "outlier"}
CLUSTER_KEYS = {"cluster", "name", "count", "proportion", "interval", "contribution", "description", "prototypes_url"}


@pytest.fixture(params=["sample", "real"])
def upload(request) -> bytes:
    return request.getfixturevalue({"sample": "sample", "real": "real_upload"}[request.param])


@pytest.fixture
def answer(request, upload, sample) -> dict:
    return request.getfixturevalue("sample_answer" if upload is sample else "real_answer")


def lasting(answer) -> dict:
    """The answer without what differs from request to request."""
    return {key: value for key, value in answer.items() if key not in {"request_id", "timing_ms"}}


def stack(answer, key) -> np.ndarray:
    return np.array([cell[key] for cell in answer["cells"]])


def test_answer_has_every_part_of_the_contract(answer):
    assert {"request_id", "notice", "cells", "clusters", *KEYS} <= set(answer)
    for part, keys in KEYS.items():
        assert keys <= set(answer[part]), part
    assert all(set(cell) >= CELL_KEYS for cell in answer["cells"])
    assert all(set(cluster) >= CLUSTER_KEYS for cluster in answer["clusters"])
    assert answer["notice"] == NOTICE


def test_answer_names_the_upload_and_the_bundle(answer, upload, card):
    with Image.open(io.BytesIO(upload)) as image:
        width, height = image.size
    assert answer["tile"] == {
        "width": width,
        "height": height,
        "mpp": None,
        "mpp_source": "bundle",
        "sha256": hashlib.sha256(upload).hexdigest(),
        "cut_nuclei": answer["tile"]["cut_nuclei"],
    }
    assert answer["tile"]["cut_nuclei"] >= 0
    identity = {key: card[key] for key in ("name", "version", "sha256", "backend", "device")}
    precision = "fast" if "fast" in card["precisions"] else "full"
    assert answer["bundle"] == {**identity, "precision": precision, "q_calibrated": True}


def test_request_can_force_the_full_network(client, sample, sample_answer, card):
    full = post_tile(client, sample, precision="full").json()
    fast = post_tile(client, sample, precision="fast").json()
    assert full["bundle"]["precision"] == "full"
    assert lasting(fast) == lasting(sample_answer)
    assert set(card["precisions"]) == {fast["bundle"]["precision"], "full"}
    same = np.mean(stack(full, "cluster") == stack(fast, "cluster"))
    assert same >= 0.99
    assert np.abs(stack(full, "probabilities") - stack(fast, "probabilities")).max() < 0.12


def test_precision_that_there_is_not_is_refused(client, sample):
    assert_problem(post_tile(client, sample, precision="half"), 422, "precision")


def test_cells_lie_inside_the_tile(answer):
    width, height = answer["tile"]["width"], answer["tile"]["height"]
    for i, cell in enumerate(answer["cells"]):
        x0, y0, x1, y1 = cell["bbox"]
        contour = np.array(cell["contour"])
        assert cell["id"] == i
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert contour.ndim == 2
        assert (contour >= [x0, y0]).all()
        assert (contour <= [x1 - 1, y1 - 1]).all()
        assert x0 <= cell["centroid"][0] <= x1 - 1
        assert y0 <= cell["centroid"][1] <= y1 - 1
        assert isinstance(cell["area_px"], int)
        assert 0 < cell["area_px"] <= (x1 - x0) * (y1 - y0)
        assert cell["outlier"] in (None, True, False)


def test_each_cell_is_in_its_most_probable_cluster(answer, card):
    probabilities, clusters = stack(answer, "probabilities"), stack(answer, "cluster")
    assert probabilities.shape == (len(answer["cells"]), card["n_clusters"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities[np.arange(len(clusters)), clusters], probabilities.max(axis=1))


def test_proportions_are_counts_over_cells(answer, card):
    outlier = stack(answer, "outlier")
    total = (~outlier).sum()
    counted = np.bincount(stack(answer, "cluster")[~outlier], minlength=card["n_clusters"])
    assert answer["outliers"] == {"count": outlier.sum(), "share": pytest.approx(outlier.mean())}
    assert [cluster["cluster"] for cluster in answer["clusters"]] == list(range(card["n_clusters"]))
    assert [cluster["count"] for cluster in answer["clusters"]] == counted.tolist()
    assert sum(cluster["proportion"] for cluster in answer["clusters"]) == pytest.approx(1, abs=1e-6)
    for cluster in answer["clusters"]:
        assert cluster["proportion"] == pytest.approx(cluster["count"] / total, abs=1e-9)


def test_intervals_hold_their_proportion(answer):
    for cluster in answer["clusters"]:
        low, high = cluster["interval"]
        assert 0 <= low <= cluster["proportion"] + 1e-12
        assert cluster["proportion"] - 1e-12 <= high <= 1
        assert low < high


def test_contributions_and_bias_make_the_score(answer, card):
    label, svm = answer["label"], card["manifest"]["image_level"]["svm"]
    contributions = [cluster["contribution"] for cluster in answer["clusters"]]
    assert label["bias"] == svm["bias"]
    assert label["measurement_contributions"] == []
    assert sum(contributions) + label["bias"] == pytest.approx(label["score"], abs=1e-9)
    assert contributions == pytest.approx(
        [weight * cluster["proportion"] for weight, cluster in zip(svm["weights"], answer["clusters"], strict=True)]
    )
    assert label["value"] == ("abnormal" if label["score"] > 0 else "normal")
    assert label["kmeans"] in {"normal", "abnormal"}
    assert label["conformal_set"] in ([], [label["value"]])
    # Of simulated bags no probability is offered.
    assert (label["probability"], label["calibrated_on"]) == (None, None)
    assert label["basis"] == card["manifest"]["image_level"]["label_basis"]
    assert label["reason"]


def test_tile_lies_among_the_reference_tiles(answer, card):
    placed, reference = answer["label"]["reference"], card["manifest"]["image_level"]["reference"]
    proportions = np.array([cluster["proportion"] for cluster in answer["clusters"]])
    expected = np.array(reference["axes"]) @ (proportions - reference["mean"])
    assert placed["position"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert {group["name"] for group in placed["groups"]} == {group["name"] for group in reference["groups"]}
    assert placed["nearest"] == placed["groups"][0]["name"] == "healthy training tiles"


def test_quality_and_timing_are_measures(answer):
    assert answer["quality"]["focus"] > 0
    assert 0 < answer["quality"]["tissue_fraction"] <= 1
    assert 0 <= answer["quality"]["stain_distance"] < 90
    assert all(
        set(flag) == {"code", "message", "value", "threshold", "prevents_label"} for flag in answer["quality"]["flags"]
    )
    assert "mpp_unknown" in {flag["code"] for flag in answer["quality"]["flags"]}
    timing = answer["timing_ms"]
    assert all(ms >= 0 for ms in timing.values())
    in_turn = sum(timing[stage] for stage in ("decode", "segment", "encode", "label"))
    assert timing["total"] > in_turn - 0.1


def test_real_tile_has_as_many_cells_as_a_reader_would_count(real_answer):
    assert 150 <= len(real_answer["cells"]) <= 600


def test_cells_of_a_drawn_tile_are_where_they_were_drawn(client):
    centres = grid_of_centres((400, 400))
    answer = post_tile(client, encoded(draw_tile(centres, shape=(400, 400)))).json()
    assert len(answer["cells"]) == len(centres)
    found = stack(answer, "centroid")
    distances = np.linalg.norm(found[:, None] - centres[None], axis=2)
    assert distances.min(axis=0).max() < 2


def test_same_bytes_give_the_same_answer(client, sample, sample_answer):
    again = post_tile(client, sample).json()
    assert lasting(again) == lasting(sample_answer)
    assert again["request_id"] != sample_answer["request_id"]


def test_the_name_of_the_file_decides_nothing(client, sample, sample_answer):
    for name in ("../../etc/passwd", "tile.jpg", "täfelchen\n.exe"):
        assert lasting(post_tile(client, sample, filename=name).json()) == lasting(sample_answer)


def test_naming_the_default_bundle_changes_nothing(client, sample, sample_answer):
    named = post_tile(client, sample, bundle="marrow", format="json", prototypes=0).json()
    assert lasting(named) == lasting(sample_answer)


def without_sizes(answer):
    """An answer without what is in µm where the scale is known, and in px or null where it is not."""
    answer = copy.deepcopy(lasting(answer))
    sizes = ("area", "perimeter", "equivalent", "major", "minor", "feret", "neighbour", "edge")
    for cell in answer["cells"]:
        for field in ("measurements", "not_measured"):
            if field in cell:
                cell[field] = {name: cell[field][name] for name in cell[field] if not name.startswith(sizes)}
        if not cell.get("not_measured"):
            cell.pop("not_measured", None)
    answer["measurements"] = [one for one in answer["measurements"] if not one["measurement"].startswith(sizes)]
    answer["very_large_nuclei"]["per_mm2"] = answer["tissue"]["area_mm2"] = None
    return answer


def test_mpp_of_the_bundle_changes_only_itself_and_units(client, sample, sample_answer, card):
    mpp = card["manifest"]["mpp"]
    answer = lasting(post_tile(client, sample, mpp=mpp).json())
    for cell, unscaled in zip(answer["cells"], sample_answer["cells"], strict=True):
        in_um, in_px = cell["measurements"]["feret_max_um"], unscaled["measurements"]["feret_max_px"]
        assert in_um is in_px is None or in_um == pytest.approx(in_px * mpp, abs=2e-3)
    tissue_mm2 = answer["tissue"]["area_mm2"] * (1 - answer["tissue"]["background"])
    very_large = answer["very_large_nuclei"]
    assert very_large["per_mm2"] == pytest.approx(very_large["count"] / tissue_mm2, abs=1e-3)
    answer = without_sizes(answer)
    assert (answer["tile"]["mpp"], answer["tile"]["mpp_source"]) == (mpp, "request")
    assert answer["parameters"]["mpp"] == mpp
    answer["tile"] |= {"mpp": None, "mpp_source": "bundle"}
    answer["parameters"]["mpp"] = None
    assert "mpp_unknown" not in {flag["code"] for flag in answer["quality"]["flags"]}
    plain = without_sizes(sample_answer)
    plain["quality"]["flags"] = [flag for flag in plain["quality"]["flags"] if flag["code"] != "mpp_unknown"]
    assert answer.pop("result_sha256") != plain.pop("result_sha256")
    assert answer == plain


def test_a_scale_in_the_file_is_that_of_the_request(client, sample, card):
    with Image.open(io.BytesIO(sample)) as image:
        twice = image.resize((2 * image.width, 2 * image.height))
    mpp = card["manifest"]["mpp"] / 2
    stated = encoded(twice, dpi=(25_400 / mpp, 25_400 / mpp))
    answer = post_tile(client, stated).json()
    asked = post_tile(client, encoded(twice), mpp=answer["tile"]["mpp"]).json()
    assert answer["tile"]["mpp"] == pytest.approx(mpp, rel=1e-4)
    assert answer["tile"]["mpp_source"] == "png_phys"
    assert answer["parameters"]["mpp"] is None
    assert answer["cells"] == asked["cells"]
    assert answer["quality"]["flags"] == asked["quality"]["flags"]
    other = post_tile(client, stated, mpp=2 * mpp).json()
    assert other["tile"]["mpp"] == 2 * mpp
    (flag,) = [flag for flag in other["quality"]["flags"] if flag["code"] == "scale_conflict"]
    assert f"The request says {2 * mpp:g} µm per pixel, and the file {mpp:g} (png_phys)" in flag["message"]


def test_pixels_that_are_not_square_need_the_scale_from_the_request(client, sample):
    with Image.open(io.BytesIO(sample)) as image:
        data = encoded(image, dpi=(50_800, 101_600))
    assert_problem(post_tile(client, data), 415, "0.5 µm along x and 0.25 µm along y", "give mpp")
    assert post_tile(client, data, mpp=0.25).status_code == 200


def test_coordinates_are_those_of_the_upload_whatever_its_scale(client, sample, sample_answer, card):
    with Image.open(io.BytesIO(sample)) as image:
        pixels = np.asarray(image.convert("RGB"))
    # Every pixel four times: area averaging gives back exactly the tile that it was made of.
    doubled = encoded(pixels.repeat(2, axis=0).repeat(2, axis=1))
    answer = post_tile(client, doubled, mpp=card["manifest"]["mpp"] / 2).json()
    assert answer["tile"]["width"] == 2 * sample_answer["tile"]["width"]
    assert len(answer["cells"]) == len(sample_answer["cells"])
    np.testing.assert_array_equal(stack(answer, "cluster"), stack(sample_answer, "cluster"))
    np.testing.assert_array_equal(stack(answer, "bbox"), 2 * stack(sample_answer, "bbox"))
    np.testing.assert_array_equal(stack(answer, "area_px"), 4 * stack(sample_answer, "area_px"))
    np.testing.assert_allclose(stack(answer, "centroid"), 2 * stack(sample_answer, "centroid") + 0.5, atol=0.02)


def test_interpolated_upload_gives_nearly_the_same_cells(client, sample, sample_answer, card):
    with Image.open(io.BytesIO(sample)) as image:
        doubled = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
    answer = post_tile(client, encoded(doubled), mpp=card["manifest"]["mpp"] / 2).json()
    assert len(answer["cells"]) == pytest.approx(len(sample_answer["cells"]), rel=0.1)
    found, expected = stack(answer, "centroid"), 2 * stack(sample_answer, "centroid") + 0.5
    nearest = np.linalg.norm(found[:, None] - expected[None], axis=2).min(axis=0)
    assert np.median(nearest) < 2


@pytest.mark.parametrize("mpp", [0.05, 4.0])
def test_mpp_at_the_ends_of_its_range_is_taken(client, mpp):
    response = post_tile(client, encoded(draw_tile([[30, 25]], shape=(50, 60))), mpp=mpp)
    assert response.status_code == 200
    tile = response.json()["tile"]
    assert (tile["width"], tile["height"], tile["mpp"]) == (60, 50, mpp)


def test_embedded_prototypes_are_those_of_the_prototype_endpoint(client, sample, sample_answer):
    assert all("prototypes" not in cluster for cluster in sample_answer["clusters"])
    answer = post_tile(client, sample, prototypes=2).json()
    for cluster in answer["clusters"]:
        cells = cluster["prototypes"]
        assert len(cells) == 2
        for cell in cells:
            with Image.open(io.BytesIO(base64.b64decode(cell, validate=True)), formats=("PNG",)) as image:
                image.load()
                assert (image.size, image.mode) == ((32, 32), "RGB")
        drawn = client.get(f"/prototypes/{cluster['cluster']}", params={"n": 2, "format": "json"}).json()
        assert drawn["cells"] == cells
    assert len({cell for cluster in answer["clusters"] for cell in cluster["prototypes"]}) == 2 * len(
        answer["clusters"]
    )


def test_most_prototypes_that_may_be_embedded(client):
    answer = post_tile(client, encoded(np.full((8, 8, 3), 255, np.uint8)), prototypes=16).json()
    assert [len(cluster["prototypes"]) for cluster in answer["clusters"]] == [16] * len(answer["clusters"])


def test_prototypes_url_leads_to_prototypes_of_the_cluster(client, sample_answer):
    for cluster in sample_answer["clusters"]:
        response = client.get(cluster["prototypes_url"])
        assert response.status_code == 200
        assert response.content == client.get(f"/prototypes/{cluster['cluster']}").content


def test_card_says_when_the_bundle_was_made(card):
    assert datetime.fromisoformat(card["manifest"]["created"])


EMPTY = {
    "white": np.full((300, 300, 3), 255, np.uint8),
    "black": np.zeros((300, 300, 3), np.uint8),
    "grey": np.full((300, 300, 3), 128, np.uint8),
    "haematoxylin only": np.tile(np.array([90, 70, 160], np.uint8), (300, 300, 1)),
    "eosin without nuclei": draw_tile(np.zeros((0, 2)), shape=(300, 300)),
    "1x1": np.full((1, 1, 3), 120, np.uint8),
    "1 px high": np.full((1, 300, 3), 120, np.uint8),
    "2x2": np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20,
}


@pytest.mark.parametrize("pixels", EMPTY.values(), ids=EMPTY)
def test_tile_without_cells_is_an_answer(client, pixels, card):
    response = post_tile(client, encoded(pixels))
    assert response.status_code == 200
    answer = response.json()
    assert answer["cells"] == []
    assert len(answer["clusters"]) == card["n_clusters"]
    for cluster in answer["clusters"]:
        assert cluster["count"] == 0
        assert cluster["proportion"] is None
        assert cluster["interval"] is None
        assert cluster["contribution"] is None
    assert answer["label"]["value"] == "indeterminate"
    assert answer["label"]["score"] is None
    assert answer["label"]["kmeans"] is None
    assert answer["label"]["probability"] is None
    assert answer["label"]["conformal_set"] is None
    assert answer["label"]["reference"] is None
    assert answer["outliers"] == {"count": 0, "share": None}
    assert "No cell was counted" in answer["label"]["reason"]


def test_few_cells_give_proportions_but_no_label(client, sample):
    corner = np.asarray(Image.open(io.BytesIO(sample)))[:200, :200]
    answer = post_tile(client, encoded(corner)).json()
    counted = sum(cluster["count"] for cluster in answer["clusters"])
    assert 5 <= counted < 50
    assert sum(cluster["proportion"] for cluster in answer["clusters"]) == pytest.approx(1, abs=1e-6)
    assert answer["label"]["value"] == "indeterminate"
    assert f"{counted} cells were counted; a label needs at least 50." in answer["label"]["reason"]
    few = next(flag for flag in answer["quality"]["flags"] if flag["code"] == "few_cells")
    assert (few["value"], few["threshold"], few["prevents_label"]) == (counted, 500, False)


def test_blurred_tile_gets_no_label(client, sample):
    tile = np.asarray(Image.open(io.BytesIO(sample)))
    answer = post_tile(client, encoded(cv2.GaussianBlur(tile, (0, 0), 3))).json()
    blurred = next(flag for flag in answer["quality"]["flags"] if flag["code"] == "blurred")
    assert blurred["prevents_label"]
    assert answer["label"]["value"] == "indeterminate"
    assert blurred["message"] in answer["label"]["reason"]
