"""The script for QuPath, run by Groovy against a real service.

QuPath itself cannot be installed here: `qupath_stubs` stands in its place, with the classes and methods that the script
calls. Their names and arguments are those of QuPath 0.5 to 0.7 (github.com/qupath/qupath): `QP`, `ImageServer`,
`PixelCalibration`, `RegionRequest`, `PathIO`, `PathObjectTools`, `PathObjectHierarchy`, `PathObject` and `ROI`; and of
`Dialogs` in github.com/qupath/qupath-fxtras. JSON is read by Gson, which QuPath has, too.
"""

import json
import os
import shutil
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import read_manifest
from tests.conftest import REPOSITORY
from tests.drawing import encoded
from tests.keys_file import write_keys
from tests.processes import ran
from tests.served import served, unserved

SCRIPT = REPOSITORY / "integrations" / "qupath" / "marrowscope.groovy"
STUBS = REPOSITORY / "tests" / "integrations" / "qupath_stubs"
GSON = Path("/usr/share/java/gson.jar")
NEEDS = "Groovy or Gson is not installed (Debian: apt install groovy default-jre-headless libgoogle-gson-java)"
SESSION_S = 280
"""A session of QuPath ends within this time on a busy machine."""
NOTICE = "Marrowscope: For Research Use Only. Not for use in diagnostic procedures."
KEY = "a key that only this test knows"
MPP = 0.25
RECTANGLE, ELLIPSE = [100, 50, 300, 260], [60, 40, 320, 400]
INSIDE, OUTSIDE = [200, 200, 10, 10], [480, 480, 10, 10]
SIZE = 512
"""Of the sample tile, px."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SESSION_S)]


@pytest.fixture(scope="module", autouse=True)
def groovy():
    if shutil.which("groovy") is None or not GSON.exists():
        assert "CI" not in os.environ, NEEDS
        pytest.skip(NEEDS)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A service that asks for a key."""
    keys = write_keys(tmp_path_factory.mktemp("keys") / "keys.json", qupath=KEY)
    with served(keys_file=keys) as (_, found):
        yield found


@pytest.fixture(scope="module")
def sample_file(shipped_bundle):
    return str(shipped_bundle / "sample.png")


@contextmanager
def another_server():
    """The address of a server that is not Marrowscope."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status = 404 if "bundle" in self.path else 200
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<p>Hello</p>")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def changed_script(folder, **values):
    """The script with other values of its settings, as a user would write them."""
    text = SCRIPT.read_text(encoding="utf-8")
    for name, value in values.items():
        lines = [line for line in text.splitlines() if f" {name} = " in line]
        assert len(lines) == 1
        text = text.replace(lines[0], f"{lines[0].split(' = ')[0]} = {value}")
    path = folder / f"changed{len(list(folder.iterdir()))}.groovy"  # Groovy makes it the name of a class
    path.write_text(text, encoding="utf-8")
    return str(path)


def played(scenes, folder, **environment):
    """Run the script in each scene, all in one session of QuPath; return what happened in each, by its name."""
    given = [{"script": str(SCRIPT), **scene} for scene in scenes.values()]
    (folder / "scenes.json").write_text(json.dumps(given), encoding="utf-8")
    command = ["groovy", "-cp", f"{STUBS}:{GSON}", STUBS / "run.groovy", folder / "scenes.json", folder / "out.json"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARROWSCOPE_")}
    # Java's second compiler would take longer than it saves in so short a session.
    options = {"JAVA_OPTS": "-Dfile.encoding=UTF-8 -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    done = ran(command, limit_s=SESSION_S, env={**kept, **environment, **options})
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(zip(scenes, json.loads((folder / "out.json").read_text(encoding="utf-8")), strict=True))


def annotation(name, parent="root", **shape):
    return {"kind": "annotation", "name": name, "parent": parent, **shape}


def detection(name, rectangle, **more):
    return {"kind": "detection", "name": name, "rectangle": rectangle, **more}


@pytest.fixture(scope="module")
def outcomes(address, sample_file, tmp_path_factory):
    """What happened in every scene. A session takes seconds to start, so they share one."""
    folder = tmp_path_factory.mktemp("qupath")
    image = {"image": sample_file, "um": [MPP, MPP]}
    area, ours = annotation("A", rectangle=RECTANGLE), {"metadata": {"Marrowscope": "marrow 0"}}
    selected = {**image, "objects": [area], "selected": "A"}
    older = [detection("ours in", INSIDE, **ours), detection("ours out", OUTSIDE, **ours), detection("other", INSIDE)]
    with unserved() as nowhere, another_server() as stranger:
        scenes = {
            "rectangle": selected,
            "ellipse": {**image, "objects": [annotation("A", ellipse=ELLIPSE)], "selected": "A"},
            "twice": {**image, "objects": [annotation("A", ellipse=ELLIPSE), *older], "selected": "A", "runs": 2},
            "whole": {**image, "objects": [area, *older]},
            "nested": {**image, "objects": [area, annotation("B", "A", rectangle=INSIDE)], "selected": "A"},
            "core": {**image, "objects": [{**area, "kind": "core"}], "selected": "A"},
            "border": {**image, "objects": [annotation("A", rectangle=[-20.5, -10, 190.2, 150])], "selected": "A"},
            "coarse": {**selected, "um": [MPP / 2] * 2, "script": changed_script(folder, DOWNSAMPLE="2.0")},
            "no image": {},
            "no pixel size": {**image, "um": None},
            "unequal": {**image, "um": [0.25, 0.3]},
            "fluorescence": {**image, "rgb": False},
            "stack": {**image, "slices": 5},
            "line": {**image, "objects": [annotation("A", line=True)], "selected": "A"},
            "detection": {**image, "objects": older, "selected": "other"},
            "outside": {**image, "objects": [annotation("A", rectangle=[600, 0, 50, 50])], "selected": "A"},
            "large": {**image, "script": changed_script(folder, MAX_PIXELS="200000L")},
            "large annotation": {**selected, "script": changed_script(folder, MAX_PIXELS="70000L")},
            "many bytes": {**image, "script": changed_script(folder, MAX_BYTES="1000L")},
            "away": {**selected, "script": changed_script(folder, ADDRESS=f'"http://{nowhere}/"')},
            "no address": {**selected, "script": changed_script(folder, ADDRESS='"my laptop"')},
            "stranger": {**selected, "script": changed_script(folder, ADDRESS=f'"{stranger}"')},
            "rude stranger": {**selected, "script": changed_script(folder, ADDRESS=f'"{stranger}"', BUNDLE='"x"')},
            "mpp": {**selected, "um": [10, 10]},
            "bundle": {**selected, "script": changed_script(folder, BUNDLE='"no such, really"')},
            "headless": {**selected, "um": [10, 10], "headless": True},
        }
        return played(scenes, folder, MARROWSCOPE_URL=address, MARROWSCOPE_API_KEY=KEY)


def features_of(address, sample_file, box, mpp=MPP):
    """What the service answers for a part of the sample: x0, y0, x1, y1."""
    with Image.open(sample_file) as image:
        tile = encoded(np.asarray(image.convert("RGB").crop(box)))
    asked = {"mpp": mpp, "format": "geojson"}
    response = httpx.post(f"{address}/analyze", params=asked, files={"tile": tile}, headers={"X-API-Key": KEY})
    assert response.status_code == 200, response.text
    return response.json()["features"]


def middle_of(feature):
    """The middle of a feature's box, which the stubs take for its centroid."""
    ring = np.array(feature["geometry"]["coordinates"][0])
    return (ring.min(0) + ring.max(0)) / 2


def errors_of(outcome):
    return [event["error"] for event in outcome["events"] if "error" in event]


def read_of(outcome):
    return [event["read"] for event in outcome["events"] if "read" in event]


def check_added(outcome, features, left, top, factor=1.0, parent="A"):
    """The features are the detections, moved to where the tile was cut."""
    assert errors_of(outcome) == []
    assert outcome["thrown"] is None
    added = outcome["detections"]
    assert len(added) == len(features) > 10
    for found, feature in zip(added, features, strict=True):
        properties = feature["properties"]
        assert (found["name"], found["parent"]) == (properties["name"], parent)
        assert found["class"] == properties["classification"]["name"]
        assert found["color"] == properties["classification"]["color"]
        assert found["measurements"] == properties["measurements"]
        for ring, expected in zip(found["points"], feature["geometry"]["coordinates"], strict=True):
            np.testing.assert_allclose(ring, np.array(expected) * factor + (left, top), atol=1e-9)
    assert len({found["id"] for found in added}) == len(added)


def test_cells_of_an_annotation_lie_where_it_lies(outcomes, address, sample_file, shipped_bundle):
    outcome = outcomes["rectangle"]
    left, top, width, height = RECTANGLE
    assert read_of(outcome) == [[1.0, *RECTANGLE]]
    check_added(outcome, features_of(address, sample_file, (left, top, left + width, top + height)), left, top)
    assert {"fired": True} in outcome["events"]
    assert {"resolved": True} not in outcome["events"]
    version = read_manifest(shipped_bundle)[0].version
    assert {found["metadata"]["Marrowscope"] for found in outcome["detections"]} == {f"marrow {version}"}


def test_the_log_says_what_was_found_and_that_it_is_for_research(outcomes):
    log = outcomes["rectangle"]["log"].splitlines()
    assert log[0] == NOTICE
    assert "300 x 260 px at 0.25 µm per px" in log[1]
    counts = Counter(found["class"] for found in outcomes["rectangle"]["detections"])
    assert f"{counts.total()} cells, by bundle marrow" in log[2]
    assert {line.strip() for line in log[3:-1]} == {f"{name}: {n}" for name, n in counts.items()}
    assert any(label in log[-1] for label in ("normal. ", "abnormal. ", "indeterminate. "))


def test_cells_beside_an_annotation_within_its_rectangle_are_left_out(outcomes, address, sample_file):
    left, top, width, height = ELLIPSE
    every = features_of(address, sample_file, (left, top, left + width, top + height))

    def is_in(feature):
        return ((2 * middle_of(feature) / (width, height) - 1) ** 2).sum() < 1

    kept = [feature for feature in every if is_in(feature)]
    assert len(kept) < len(every)
    check_added(outcomes["ellipse"], kept, left, top)
    # The label would be that of the whole rectangle.
    assert "normal. " not in outcomes["ellipse"]["log"]


def test_a_second_run_replaces_the_cells_of_the_first_and_no_others(outcomes):
    found = outcomes["twice"]["detections"]
    names = [one["name"] for one in found]
    assert "ours in" not in names
    assert {"ours out", "other"} <= set(names)
    once = outcomes["ellipse"]["detections"]
    assert [one for one in found if one["parent"] == "A"] == once


def test_without_a_selection_the_whole_image_is_analysed(outcomes, address, sample_file):
    outcome = outcomes["whole"]
    assert read_of(outcome) == [[1.0, 0, 0, SIZE, SIZE]]
    others = [one for one in outcome["detections"] if not one["name"].startswith("Cell ")]
    assert [one["name"] for one in others] == ["other"]
    ours = {**outcome, "detections": [one for one in outcome["detections"] if one not in others]}
    check_added(ours, features_of(address, sample_file, (0, 0, SIZE, SIZE)), 0, 0, parent="root")
    # QuPath then moves cells into the annotations that hold them.
    assert outcome["events"][-1] == {"resolved": True}


def test_annotations_within_the_selected_one_get_their_cells(outcomes):
    assert outcomes["nested"]["events"][-1] == {"resolved": True}


def test_a_core_of_a_tissue_microarray_is_like_an_annotation(outcomes):
    assert outcomes["core"]["detections"] == outcomes["rectangle"]["detections"]


def test_an_annotation_over_the_border_is_cut_off(outcomes, address, sample_file):
    assert read_of(outcomes["border"]) == [[1.0, 0, 0, 170, 140]]
    every = features_of(address, sample_file, (0, 0, 170, 140))
    # The annotation ends at 169.7; the tile has whole pixels.
    check_added(outcomes["border"], [feature for feature in every if middle_of(feature)[0] < 169.7], 0, 0)


def test_a_downsampled_tile_is_sent_with_its_own_scale_and_its_cells_are_enlarged(outcomes):
    outcome = outcomes["coarse"]
    left, top, width, height = RECTANGLE
    assert read_of(outcome) == [[2.0, *RECTANGLE]]
    assert "150 x 130 px at 0.25 µm per px" in outcome["log"]
    points = np.concatenate([ring for one in outcome["detections"] for ring in one["points"]])
    assert len(outcome["detections"]) > 5
    assert (points >= (left, top)).all()
    assert (points <= (left + width, top + height)).all()
    assert points[:, 0].max() > left + width / 2 + 20  # twice as far as in the tile
    for one in outcome["detections"]:
        x, y = np.array(one["points"][0]).T
        area = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
        # Half a pixel of the tile lies beside the outline, for each cell.
        assert area / 4 == pytest.approx(one["measurements"]["Nucleus area px"], abs=1)


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        ("no image", ["No image is open"]),
        ("no pixel size", ["how large a pixel is", "tab Image"]),
        ("unequal", ["not square", "0.25 x 0.3 µm"]),
        ("fluorescence", ["not RGB"]),
        ("stack", ["z-slices"]),
        ("line", ["Select an annotation that has an area"]),
        ("detection", ["Select an annotation that has an area"]),
        ("outside", ["outside the image"]),
        ("large", ["The image has 512 x 512 pixels, and at most 200000", "marrowscope batch SLIDE --out DIR"]),
        ("large annotation", ["The annotation has 300 x 260 pixels, and at most 70000", "marrowscope batch"]),
        ("many bytes", ["bytes as PNG, and the service takes 1000"]),
        ("away", ["does not answer at http://127.0.0.1:", "make run", "MARROWSCOPE_URL"]),
        ("no address", ["my laptop", "is not one of http or https"]),
        ("stranger", ["is not Marrowscope", "text/html"]),
        ("rude stranger", ["with status 404, and gave no reason"]),
        ("mpp", ["mpp", "(status 422, request "]),
        ("bundle", ["bundle", "(status 404, request "]),
    ],
)
def test_what_cannot_be_done_is_said_in_a_dialog_and_the_log(outcomes, scene, said):
    outcome = outcomes[scene]
    (message,) = errors_of(outcome)
    assert [text for text in said if text not in message] == []
    assert f"Marrowscope: {message}" in outcome["log"]
    assert outcome["thrown"] is None
    assert not [one for one in outcome["detections"] if one["name"].startswith("Cell ")]


def test_without_a_window_the_script_fails(outcomes):
    outcome = outcomes["headless"]
    assert errors_of(outcome) == []
    assert "mpp" in outcome["thrown"]


def test_a_key_is_asked_for_once_and_kept_while_qupath_is_open(address, sample_file, tmp_path):
    image = {"image": sample_file, "um": [MPP, MPP], "objects": [annotation("A", rectangle=RECTANGLE)], "selected": "A"}
    scenes = {
        "headless": {**image, "headless": True},
        "cancelled": image,
        "wrong": {**image, "key": "wrong"},
        "typed": {**image, "key": f" {KEY}\n"},
        "again": image,
    }
    found = played(scenes, tmp_path, MARROWSCOPE_URL=address)
    asked = {name: [event for event in one["events"] if "asked" in event] for name, one in found.items()}
    assert {name: len(questions) for name, questions in asked.items()} == {
        "headless": 0,
        "cancelled": 1,
        "wrong": 1,
        "typed": 1,
        "again": 0,
    }
    assert "MARROWSCOPE_API_KEY" in found["headless"]["thrown"]
    for name in ("cancelled", "wrong"):
        (message,) = errors_of(found[name])
        assert "(status 401, request " in message
    for name in ("typed", "again"):
        assert errors_of(found[name]) == []
        assert len(found[name]["detections"]) > 10
    assert KEY not in json.dumps(found)
