"""`marrowscope reviews export` and `import`: the names survive a way through files."""

import json
import shutil

import pytest

from app.pipeline.run import analyse_stages
from app.review.candidates import review_of
from app.review.names import NamedType
from app.review.reviews import open_reviews
from app.review.store import TypeChange
from tests.review.seeing import seeing_bundle, tile
from tests.shell.runs import run


@pytest.fixture
def lab(encoder_bundle, tmp_path, monkeypatch):
    """A folder of tiles, and the settings of a review that is empty."""
    shutil.copytree(encoder_bundle, tmp_path / "models" / "seeing")
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "a.png").write_bytes(tile(0))
    for name, value in (("BUNDLES_DIR", "models"), ("REVIEWS_DIR", "reviews")):
        monkeypatch.setenv(f"MARROWSCOPE_{name}", str(tmp_path / value))
    monkeypatch.setenv("MARROWSCOPE_BUNDLE", "seeing")
    monkeypatch.setenv("MARROWSCOPE_THREADS", "1")
    return tmp_path


def points(*named):
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [x, y]},
            "properties": {"objectType": "annotation", "classification": {"name": kind, "color": [1, 2, 3]}},
        }
        for x, y, kind in named
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def contents(path):
    content = json.loads(path.read_text())
    return [
        (
            feature["geometry"],
            feature["properties"]["classification"],
            {(name["reviewer"], name["type"]) for name in feature["properties"]["names"]},
        )
        for feature in content["features"]
    ]


def test_names_of_qupath_go_in_and_out_and_in_again(lab, monkeypatch):
    (lab / "a.geojson").write_text(points((22, 25, "Small"), (64, 25, "Small"), (3, 318, "Small")))
    refused = run("reviews", "import", lab / "a.geojson", "--reviewer", "Ann", status=1)
    assert refused.stdout == ""
    assert "There is no tile of this name in the review of the bundle 'seeing'" in refused.stderr
    unsaid = run("reviews", "import", lab / "a.geojson", "--tiles", lab / "tiles", status=1)
    assert "The file does not say who gave the names" in unsaid.stderr
    given = run("reviews", "import", lab / "a.geojson", "--reviewer", "Ann")
    assert given.stdout == f"{lab / 'a.geojson'}: 2 cells named, 2 names new or changed\n"
    assert "'Small' at (3, 318)" in given.stderr
    (lab / "b.geojson").write_text(points((22, 25, "Large")))
    (lab / "named").mkdir()
    (lab / "b.geojson").rename(lab / "named" / "a.geojson")
    run("reviews", "import", lab / "named" / "a.geojson", "--reviewer", "Bo")

    written = run("reviews", "export", "--out", lab / "out")
    assert written.stdout == f"{lab / 'out' / 'a.geojson'}: 2 named cells\n"
    first = contents(lab / "out" / "a.geojson")
    assert sorted(sorted(names) for *_, names in first) == [[("Ann", "Small")], [("Ann", "Small"), ("Bo", "Large")]]

    monkeypatch.setenv("MARROWSCOPE_REVIEWS_DIR", str(lab / "another"))
    run("reviews", "import", lab / "out" / "a.geojson", "--tiles", lab / "tiles")
    run("reviews", "export", "--out", lab / "again")
    assert contents(lab / "again" / "a.geojson") == first


def test_file_of_another_tile_and_an_empty_review_are_refused(lab, monkeypatch):
    empty = run("reviews", "export", "--out", lab / "out", status=1)
    assert empty.stderr == "Error: No cell of the review has a name.\n"
    (lab / "a.geojson").write_text(points((2200, 25, "Small")))
    outside = run("reviews", "import", lab / "a.geojson", "--tiles", lab / "tiles", "--reviewer", "Ann", status=1)
    assert outside.stdout == ""
    assert "outside the tile" in outside.stderr
    monkeypatch.delenv("MARROWSCOPE_REVIEWS_DIR")
    unset = run("reviews", "export", "--out", lab / "out", status=1)
    assert "MARROWSCOPE_REVIEWS_DIR=reviews" in unset.stderr


def test_two_tiles_of_one_name_get_a_file_each(lab, manifest_values):
    bundle, reviews = seeing_bundle(manifest_values), open_reviews(lab / "reviews", None)
    for seed in range(2):
        analysis, stages = analyse_stages(tile(seed), bundle, max_pixels=10**6, precision="full")
        reviews.add_tile(analysis, stages, bundle, "p1/a.png", None, None)
    reviews.store.set_types([TypeChange(NamedType("Small", "#112233"))])
    review = review_of(bundle)
    cells = reviews.store.candidates(review)
    reviews.store.set_names({cells.ids[0]: "Small", cells.ids[-1]: "Small"}, "Ann", review)
    reviews.close()
    run("reviews", "export", "--out", lab / "out")
    assert len(list((lab / "out").glob("a*.geojson"))) == 2
