"""`marrowscope classifier train` and `evaluate`: from names in GeoJSON to a bundle whose answers have them."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.pipeline.bundle.load import load_bundle, read_manifest
from app.review.candidates import review_of_manifest
from app.review.reviews import open_reviews
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.encoder_bundle import make_encoder_bundle
from tests.review.geojson import document, point
from tests.shell.runs import analyze, listing, run, usage_error, words

SHAPE = (260, 320)
SMALL, LARGE = "small", "large"


def drawn(seed):
    """A tile on which every second nucleus is large."""
    centres = grid_of_centres(SHAPE)
    small, large = (draw_tile(centres[i::2], shape=SHAPE, radius=radius, seed=seed) for i, radius in ((0, 8), (1, 14)))
    return encoded(np.minimum(small, large))


def by_size(collection):
    """The same GeoJSON, in which every cell has a name by its size."""
    for feature in collection["features"]:
        area = feature["properties"]["measurements"]["Nucleus area px"]
        feature["properties"]["classification"] = {"name": LARGE if area > 400 else SMALL}
    return collection


@pytest.fixture(scope="module")
def drawn_tiles(encoder_bundle, tmp_path_factory):
    """Three tiles, and the names of all their cells, made of the answers of `marrowscope analyze`."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "tiles").mkdir()
    for seed in range(3):
        (folder / "tiles" / f"t{seed}.png").write_bytes(drawn(seed))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MARROWSCOPE_BUNDLES_DIR", str(encoder_bundle.parent))
        patched.setenv("MARROWSCOPE_THREADS", "1")
        analyze(folder / "tiles", "-f", "geojson", "--bundle", "seeing", "--out", folder / "cells")
    (folder / "cells" / "summary.csv").unlink()
    for path in (folder / "cells").iterdir():
        named = by_size(json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(named), encoding="utf-8")
    return folder


@pytest.fixture
def lab(here, drawn_tiles, encoder_bundle, monkeypatch):
    """The current folder, with `tiles`, `cells` and `models`."""
    for name in ("tiles", "cells"):
        shutil.copytree(drawn_tiles / name, here / name)
    shutil.copytree(encoder_bundle, here / "models" / "seeing")
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", str(here / "models"))
    monkeypatch.setenv("MARROWSCOPE_BUNDLE", "seeing")
    return here


def train(*arguments, status=0, name="lab", cells="cells", columns=200):
    return run(
        "classifier", "train", cells, "--tiles", "tiles", "--name", name, *arguments, status=status, columns=columns
    )


def refused(*arguments, **options):
    """The one line that is said, after which no bundle is there."""
    before = listing(Path("models"))
    result = train(*arguments, status=1, **options)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert listing(Path("models")) == before
    return line


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def test_names_by_size_are_learned_and_given_to_the_cells_of_the_tile(lab):
    """From a tile's own GeoJSON to a bundle that says of at least nine cells in ten what was said there."""
    result = train("--myeloid", LARGE, "--erythroid", SMALL)
    assert result.stdout.splitlines()[-1].endswith("lab")
    analyze("tiles/t0.png", "--bundle", "lab", "--out", "answers")
    answer = json.loads((lab / "answers" / "t0.json").read_text(encoding="utf-8"))
    named = json.loads((lab / "cells" / "t0.geojson").read_text(encoding="utf-8"))["features"]
    wanted = [feature["properties"]["classification"]["name"] for feature in named]
    found = [cell["type"] for cell in answer["cells"]]
    assert len(found) == len(wanted) > 30
    assert np.mean([one == other for one, other in zip(found, wanted, strict=True)]) >= 0.9
    counts = {one["type"]: one["count"] for one in answer["types"]}
    assert counts == {name: wanted.count(name) for name in (SMALL, LARGE)}
    assert answer["myeloid_erythroid_ratio"] == pytest.approx(wanted.count(LARGE) / wanted.count(SMALL), abs=0.01)


def test_taught_bundles_may_have_a_folder_of_their_own(lab, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_TAUGHT_DIR", str(lab / "taught"))
    assert train().stdout.splitlines()[-1] == str(lab / "taught" / "lab")
    assert json.loads(train("--json").stdout)["version"] == "2"
    assert [path.name for path in (lab / "models").iterdir()] == ["seeing"]
    analyze("tiles/t0.png", "--bundle", "lab", "--out", "answers")
    run("batch", "tiles/t0.png", "--bundle", "lab", "--out", "slides", "--workers", "1")
    batch = json.loads((lab / "slides" / "manifest.json").read_text(encoding="utf-8"))
    assert batch["bundles_dir"] == str((lab / "taught").resolve())  # All that a worker is told, which has no settings.
    assert "the bundles are: lab, seeing" in usage_error("analyze", "tiles/t0.png", "--bundle", "other")


def test_the_bundle_is_a_copy_with_types(lab):
    train()
    source, made = lab / "models" / "seeing", lab / "models" / "lab"
    assert listing(made) == listing(source)
    for name in listing(source):
        if name != "manifest.json":
            assert (made / name).read_bytes() == (source / name).read_bytes()
    before, sha256 = read_manifest(source)
    after = load_bundle(made, 1).manifest
    assert (after.name, after.version, after.n_features) == ("lab", "1", before.n_features)
    classifier = after.cell_classifier
    assert [one.name for one in classifier.types] == [LARGE, SMALL]
    assert classifier.source.bundle_sha256 == sha256
    assert (classifier.source.tiles, classifier.validation.held_out, classifier.validation.groups) == (3, "tiles", 3)
    changed = {"name", "version", "created", "cell_classifier", "schema_version"}
    assert after.model_dump(exclude=changed) == before.model_dump(exclude=changed)


def test_training_again_makes_the_next_version_with_the_same_numbers(lab):
    train()
    first = read_manifest(lab / "models" / "lab")[0]
    train()
    second = read_manifest(lab / "models" / "lab")[0]
    assert (first.version, second.version) == ("1", "2")
    without_time = {"source": {"created"}}
    assert second.cell_classifier.model_dump(exclude=without_time) == first.cell_classifier.model_dump(
        exclude=without_time
    )


def test_what_is_taught_on_a_taught_bundle_stays_in_the_review_of_its_ancestor(lab, monkeypatch):
    """The networks are the same, and so are the cells: names that reviewers have given go on counting."""
    monkeypatch.setenv("MARROWSCOPE_REVIEWS_DIR", str(lab / "reviews"))
    run("reviews", "import", "cells/t0.geojson", "--tiles", "tiles", "--reviewer", "A. Smith", "--bundle", "seeing")
    train()
    train("--from", "lab", name="next")
    train("--from", "next", name="lab")
    reviews = open_reviews(lab / "reviews", None)
    ancestor = review_of_manifest(*read_manifest(Path("models/seeing")))
    for name, version in (("lab", "2"), ("next", "1")):
        manifest, sha256 = read_manifest(Path("models", name))
        assert manifest.version == version
        assert manifest.cell_classifier.source.bundle_sha256 == ancestor.sha256 != sha256
        progress = reviews.progress(review_of_manifest(manifest, sha256))
        assert (progress.n_named, progress.earlier_named) == (len(reviews.store.names(ancestor)), 0)
        assert progress.n_named > 30
        assert progress.reviewers == {"A. Smith": progress.n_named}
    reviews.close()


def test_the_terminal_shows_the_types_the_confusion_and_what_they_mean(lab):
    result = train()
    said = words(result.stdout)
    n = sum(len(json.loads(path.read_text())["features"]) for path in (lab / "cells").iterdir())
    assert f"{n} named cells of 3 tiles." in said
    assert "precision recall F" in said
    assert "named 1 2 no type" in said
    assert f"These are figures of {n} cells that were left out, in 3 folds of 3 tiles." in said
    assert "Another 50 named cells would hardly raise F." in said
    assert "Bundle lab, version 1, taught on seeing:" in said


def test_json_has_the_validation_and_nothing_else_is_printed(lab):
    found = json.loads(train("--json").stdout)
    assert (found["bundle"], found["version"], found["from"]) == ("lab", "1", "seeing")
    assert found["validation"]["held_out"] == "tiles"
    assert len(found["validation"]["learning_curve"]) == 3
    assert (found["unmatched"], found["skipped"], found["disagreements"]) == ([], {}, [])


def test_one_tile_is_optimistic_and_said_to_be(lab):
    said = words(train(cells="cells/t0.geojson").stdout)
    manifest, _ = read_manifest(lab / "models" / "lab")
    assert f"These figures are optimistic. {manifest.cell_classifier.validation.warning}" in said


def test_a_table_says_what_is_left_out_together(lab):
    (lab / "groups.csv").write_text("tile,group\nt0,one\nt1.png,one\nt2,two\n", encoding="utf-8")
    found = json.loads(train("--group", "groups.csv", "--json").stdout)["validation"]
    assert (found["held_out"], found["groups"], found["optimistic"]) == ("groups", 2, True)
    (lab / "patients.csv").write_text("slide;patient\nt0;one\nt1;three\nt2;two\n", encoding="utf-8")
    found = json.loads(train("--group", "patients.csv", "--json", name="other").stdout)["validation"]
    assert (found["held_out"], found["groups"], found["optimistic"]) == ("patients", 3, False)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("tile,group\nt0,one\nt1,one\n", "groups.csv has no group for tiles"),
        ("tile,group\nt0,one\nt0.png,two\nt1,a\nt2,b\n", "gives tiles"),
        ("name,group\nt0,one\n", "must have the columns tile and patient"),
    ],
)
def test_a_table_that_does_not_say_it_is_refused(lab, table, message):
    (lab / "groups.csv").write_text(table, encoding="utf-8")
    assert message in refused("--group", "groups.csv")


def test_what_names_no_cell_is_counted_and_listed(lab):
    path = lab / "cells" / "t0.geojson"
    collection = json.loads(path.read_text(encoding="utf-8"))
    collection["features"] += [point(2, 2, SMALL), point(318, 258, SMALL), point(3, 3, None)]
    write(path, collection)
    result = train()
    assert "2 named objects without a cell:" in result.stderr
    assert "t0.png: 'small' at (2, 2) is on no nucleus" in result.stderr
    assert "Not used: 1 without a classification." in result.stderr
    assert len(json.loads(train("--json").stdout)["unmatched"]) == 2


def test_evaluation_on_other_cells(lab):
    train(cells="cells/t0.geojson")
    arguments = ("classifier", "evaluate", "lab", "cells/t1.geojson", "cells/t2.geojson", "--tiles", "tiles")
    found = json.loads(run(*arguments, "--json").stdout)
    assert (found["bundle"], found["tiles"], [one["type"] for one in found["types"]]) == ("lab", 2, [LARGE, SMALL])
    assert found["accuracy_of_typed"] >= 0.9
    assert sum(map(sum, found["confusion"])) == found["cells"] > 60
    said = words(run(*arguments, columns=200).stdout)
    assert f"{found['cells']} named cells of 2 tiles." in said
    assert "of the cells got no type" in said or "Every cell got a type; the type is right for" in said


def test_evaluation_refuses_unknown_types_and_bundles_without_any(lab):
    error = run("classifier", "evaluate", "seeing", "cells", "--tiles", "tiles", status=1).stderr
    assert "The bundle seeing knows no cell types" in error
    train()
    path = lab / "cells" / "t0.geojson"
    write(path, path.read_bytes().replace(SMALL.encode(), b"tiny"))
    error = run("classifier", "evaluate", "lab", "cells", "--tiles", "tiles", status=1).stderr
    assert "does not know the type 'tiny' (" in error
    assert "it knows large, small." in error


def no_tile(lab):
    (lab / "cells" / "t0.geojson").rename(lab / "cells" / "t9.geojson")


def two_tiles(lab):
    shutil.copy(lab / "tiles" / "t0.png", lab / "tiles" / "t0.tif")


def of_another_tile(lab):
    shutil.copy(lab / "cells" / "t0.geojson", lab / "cells" / "t1.geojson")


def outside(lab):
    write(lab / "cells" / "t1.geojson", document(point(5000, 20, SMALL)))


def beside_the_nuclei(lab):
    """As QuPath writes the cells of another tile: it leaves out which tile they are of."""
    collection = json.loads((lab / "cells" / "t1.geojson").read_text(encoding="utf-8"))
    for feature in collection["features"]:
        rings = feature["geometry"]["coordinates"]
        feature["geometry"]["coordinates"] = [[[x + 20, y + 20] for x, y in ring] for ring in rings]
    inside = [one for one in collection["features"] if one["geometry"]["coordinates"][0][0][0] < SHAPE[1] - 30]
    write(lab / "cells" / "t1.geojson", {"type": "FeatureCollection", "features": inside})


def one_type(lab):
    for path in (lab / "cells").iterdir():
        write(path, path.read_bytes().replace(SMALL.encode(), LARGE.encode()))


def few_cells(lab):
    for path in (lab / "cells").iterdir():
        collection = json.loads(path.read_text(encoding="utf-8"))
        write(path, collection | {"features": collection["features"][:3]})


def rare_type(lab):
    path = lab / "cells" / "t0.geojson"
    collection = json.loads(path.read_text(encoding="utf-8"))
    for feature in collection["features"][:4]:
        feature["properties"]["classification"] = {"name": "rare"}
    write(path, collection)


def contradictory(lab):
    path = lab / "cells" / "t0.geojson"
    collection = json.loads(path.read_text(encoding="utf-8"))
    again = json.loads(json.dumps(collection["features"][0]))
    again["properties"]["classification"] = {"name": "other"}
    collection["features"].append(again)
    write(path, collection)


def nobodys(lab):
    for path in (lab / "cells").iterdir():
        write(path, document(point(20, 20, "Cluster 1")))


def long_name(lab):
    for path in (lab / "cells").iterdir():
        write(path, path.read_bytes().replace(SMALL.encode(), b"x" * 61))


def no_json(lab):
    write(lab / "cells" / "t0.geojson", b"{")


def no_picture(lab):
    write(lab / "tiles" / "t0.png", b"text")


REFUSALS = {
    no_tile: "t9.geojson belongs to no tile: tiles has no t9.png, .tif or .jpg.",
    two_tiles: "t0.geojson may belong to any of tiles/t0.png, tiles/t0.tif; keep one",
    of_another_tile: "t1.geojson: The named cells are those of another file, with the SHA-256",
    outside: "t1.geojson: 1 of 1 named objects lie outside the tile of 320 x 260 px, such as 'small' at (5000, 20)",
    beside_the_nuclei: "named objects lie on no nucleus of this tile, such as '",
    one_type: "named cells have the one type 'large'; at least two types are needed.",
    few_cells: "9 cells are named; at least 10 are needed.",
    rare_type: "Fewer than 5 cells have the type 'rare' (4): name more, or leave it out.",
    contradictory: "t0.png: Contradictory names: the cell at (",
    nobodys: "No cell has a name.",
    long_name: "String should have at most 60 characters",
    no_json: "t0.geojson: The named cells are not GeoJSON. Read as JSON:",
    no_picture: "t0.png: ",
}


@pytest.mark.parametrize("spoil", REFUSALS, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_learned_from_is_refused_in_one_line(lab, spoil):
    spoil(lab)
    assert REFUSALS[spoil] in refused().replace("\\", "/")


def test_a_bundle_that_is_not_there_is_a_usage_error_with_those_that_are(lab):
    arguments = ("classifier", "train", "cells", "--tiles", "tiles", "--name", "lab", "--from", "other")
    assert "there is no 'other'" in usage_error(*arguments)
    assert "there is no GeoJSON in the folder tiles" in usage_error(
        "classifier", "train", "tiles", "--tiles", "tiles", "--name", "lab"
    )
    assert "mpp must be between" in usage_error(*arguments[:-2], "--mpp", 9)
    assert "there is no folder other." in usage_error(
        "classifier", "train", "cells", "--tiles", "other", "--name", "lab"
    )


def test_a_bundle_without_features_is_refused(lab, shipped_bundle):
    make_encoder_bundle(shipped_bundle, lab / "models" / "blind", has_features=False)
    assert "The bundle blind gives no features of cells" in refused("--from", "blind")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("seeing", "exists, and is no cell classifier of seeing 1; choose another name."),
        ("Lab", "'Lab' is no name for a bundle"),
        ("../lab", "is no name for a bundle"),
        ("thing", "exists, and has no manifest that can be read; choose another name."),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused(lab, name, message):
    (lab / "models" / "thing").mkdir()
    assert message in refused(name=name)


def test_a_classifier_of_another_bundle_is_not_replaced(lab):
    train()
    path = lab / "models" / "lab" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"]["sample.png"] = "0" * 64
    write(path, manifest)
    assert "is no cell classifier of seeing 1" in refused()


def test_a_lineage_of_a_type_that_no_cell_has_is_refused(lab):
    assert "--myeloid 'Blast': no cell has this type; they are large, small." in refused("--myeloid", "Blast")
    assert "not both" in refused("--myeloid", LARGE, "--erythroid", LARGE)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_full_disk_leaves_what_was_there(lab, monkeypatch, is_new):
    if not is_new:
        train()
    copy = shutil.copyfile

    def full(source, target, **options):
        if str(target).endswith("generator.onnx"):
            raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))
        return copy(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", full)
    line = refused()
    assert "No space left on device" in line
    assert line.replace("\\", "/").endswith("/models/lab/generator.onnx'"), "the file that could not be written"
    assert (lab / "models" / "lab").exists() is not is_new
    assert not list((lab / "models").glob(".unfinished*"))
