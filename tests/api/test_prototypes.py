import base64
import io

import numpy as np
import pytest
from PIL import Image


def pixels(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return decoded(response.content)


def decoded(png) -> np.ndarray:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def cells_of(client, cluster, **query) -> np.ndarray:
    answer = client.get(f"/prototypes/{cluster}", params={"format": "json", **query}).json()
    return np.stack([decoded(base64.b64decode(cell, validate=True)) for cell in answer["cells"]])


@pytest.mark.parametrize("path", ["/prototypes", "/prototypes/0", "/prototypes/4?n=3", "/prototypes/1?format=json"])
def test_same_seed_gives_the_same_bytes_and_another_seed_others(client, path):
    first, again, other = (client.get(path, params={"seed": seed}, follow_redirects=False) for seed in (7, 7, 8))
    assert first.content == again.content
    assert first.content != other.content


@pytest.mark.parametrize("path", ["/prototypes", "/prototypes/2"])
def test_seed_is_0_unless_it_is_given(client, path):
    assert client.get(path).content == client.get(f"{path}?seed=0").content


def test_largest_seed_is_taken(client):
    assert client.get(f"/prototypes/0?seed={2**32 - 1}").status_code == 200


@pytest.mark.parametrize(
    ("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 3), (16, 4, 4), (17, 4, 5), (64, 8, 8)]
)
def test_grid_is_as_square_as_it_can_be_and_white_where_there_is_no_cell(client, n, rows, columns):
    grid = pixels(client.get(f"/prototypes/3?n={n}&seed=5"))
    assert grid.shape == (rows * 32, columns * 32, 3)
    found = grid.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)
    np.testing.assert_array_equal(found[:n], cells_of(client, 3, n=n, seed=5))
    assert (found[n:] == 255).all()


def test_sixteen_cells_unless_another_number_is_given(client):
    assert client.get("/prototypes/0").content == client.get("/prototypes/0?n=16").content


def test_json_form_names_what_was_asked_and_how_good_the_cluster_is(client, card):
    for cluster, metrics in enumerate(card["manifest"]["metrics"]["clusters"]):
        response = client.get(f"/prototypes/{cluster}", params={"n": 3, "seed": 11, "format": "json"})
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert {key: answer[key] for key in ("cluster", "n", "seed")} == {"cluster": cluster, "n": 3, "seed": 11}
        assert answer["fidelity"] == metrics["fidelity"]
        assert answer["diversity"] == metrics["diversity"]
        assert len(set(answer["cells"])) == 3


def test_more_cells_begin_with_the_fewer(client):
    np.testing.assert_array_equal(cells_of(client, 1, n=20, seed=3)[:4], cells_of(client, 1, n=4, seed=3))


def test_grid_has_a_row_for_each_z_and_a_column_for_each_cluster(client, card):
    k = card["n_clusters"]
    grid = pixels(client.get("/prototypes?n=3&seed=9"))
    assert grid.shape == (3 * 32, k * 32, 3)
    for cluster in range(k):
        column = grid[:, cluster * 32 : (cluster + 1) * 32].reshape(3, 32, 32, 3)
        np.testing.assert_array_equal(column, cells_of(client, cluster, n=3, seed=9))


def test_grid_has_eight_rows_unless_another_number_is_given(client, card):
    assert pixels(client.get("/prototypes")).shape == (8 * 32, card["n_clusters"] * 32, 3)


def test_bundle_may_be_named(client):
    assert client.get("/prototypes/0?bundle=marrow").content == client.get("/prototypes/0").content


def test_grid_as_json_has_its_cells_and_how_well_each_cluster_is_drawn(client, card):
    answer = client.get("/prototypes", params={"format": "json", "n": 3, "seed": 5}).json()
    metrics = card["manifest"]["metrics"]["clusters"]
    assert [column["cluster"] for column in answer["clusters"]] == list(range(len(metrics)))
    grid = pixels(client.get("/prototypes?n=3&seed=5")).reshape(3, 32, len(metrics), 32, 3)
    for column, measured in zip(answer["clusters"], metrics, strict=True):
        assert (column["fidelity"], column["diversity"]) == (measured["fidelity"], measured["diversity"])
        assert (column["n"], column["seed"]) == (3, 5)
        drawn = np.stack([decoded(base64.b64decode(cell, validate=True)) for cell in column["cells"]])
        np.testing.assert_array_equal(drawn, grid[:, :, column["cluster"]])
