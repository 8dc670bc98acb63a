"""`POST /analyze` by a bundle that people have taught types of cells, from the upload to the answer."""

import csv
import hashlib
import io
import json
from dataclasses import replace
from http import HTTPStatus

import numpy as np
import pytest
from PIL import Image

import app.service
from app.audit.log import TAIL_BYTES
from app.pipeline.corrections import MAX_CORRECTIONS
from app.pipeline.manifest import Manifest
from tests.api.answers import assert_problem, post_tile
from tests.cell_classifiers import taught_values
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.fakes import FakeBackend
from tests.shell.runs import run

DRAWN = encoded(draw_tile(grid_of_centres()))
AREA = 23.6
"""About the area of most nuclei that are drawn, µm² at 0.25 µm per pixel."""


class Seeing(FakeBackend):
    """Sees how much of a crop is covered, which is the first of 8 features."""

    def describe(self, crops, precision="full"):
        features = np.zeros((len(crops), 8), np.float32)
        features[:, 0] = (crops < 1).any(axis=1).mean(axis=(1, 2))
        return replace(super().describe(crops, precision), features=features)


@pytest.fixture
def served(serve, monkeypatch, fake_bundle, manifest_values):
    """Serve a bundle with a classifier of these values."""

    def start(settings=None, **values):
        manifest_values["architecture"]["encoder_width"] = 1
        manifest_values["cell_classifier"] = taught_values() | values
        manifest = Manifest.model_validate(manifest_values)
        sha256 = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
        bundle = replace(fake_bundle, manifest=manifest, sha256=sha256, backend=Seeing())
        monkeypatch.setattr(app.service, "load_bundle", lambda *_: bundle)
        return serve(**(settings or {}))

    return start


def test_type_of_a_cell_follows_from_its_features_and_measurements(served):
    # The first type is that of nuclei that are larger than most, whatever the features.
    values = {
        "measurements": ["area"],
        "mean": [0.0] * 8 + [AREA],
        "deviation": [1.0] * 8 + [0.1],
        "weights": [[0.0] * 8 + [1.0], [0.0] * 9],
        "bias": [0.0, 0.0],
    }
    answer = post_tile(served(**values), DRAWN, mpp=0.25).json()
    assert len(answer["cells"]) > 10
    for cell in answer["cells"]:
        area = cell["measurements"]["area_um2"]
        expected = 1 / (1 + np.exp((AREA - area) / 0.1))
        assert cell["type"] == ("dark small" if expected > 0.5 else "pale large")
        assert cell["type_probability"] == pytest.approx(max(expected, 1 - expected), abs=1e-6)
    assert {cell["type"] for cell in answer["cells"]} == {"dark small", "pale large"}


def test_answer_is_the_same_again_with_types(served):
    client = served(threshold=0.6)
    first, again = (post_tile(client, DRAWN).json() for _ in range(2))
    assert first["types"] == again["types"]
    assert first["result_sha256"] == again["result_sha256"]


def test_tile_without_cells_has_types_without_shares(served):
    answer = post_tile(served(), encoded(np.full((64, 64, 3), 250, np.uint8))).json()
    assert (answer["cells"], answer["cells_without_type"]) == ([], 0)
    assert [one["proportion"] for one in answer["types"]] == [None, None]


def corrected(client, cells, tile=DRAWN, **query):
    return client.post("/analyze", files={"tile": tile}, data={"corrections": cells}, params=query)


def test_corrected_cells_have_their_type_and_the_shares_follow(served):
    client = served(threshold=0.6)
    plain = post_tile(client, DRAWN).json()
    was = plain["cells"][3]["type"]
    other = next(one["type"] for one in plain["types"] if one["type"] != was)
    answer = corrected(client, json.dumps({other: [3]}), reviewer="A. Smith").json()
    cell = answer["cells"][3]
    assert (cell["type"], cell["type_probability"], cell["type_corrected"]) == (other, 1, True)
    assert answer["corrections"] == {"n": 1, "by": "A. Smith"}
    assert (answer["parameters"]["corrections"], answer["parameters"]["reviewer"]) == ({other: [3]}, "A. Smith")
    counts, before = ({one["type"]: one["count"] for one in of["types"]} for of in (answer, plain))
    assert counts[other] == before[other] + 1
    assert sum(counts.values()) + answer["cells_without_type"] == sum(before.values()) + plain["cells_without_type"]
    # Nothing else has moved, the label included.
    changed = {"request_id", "timing_ms", "result_sha256", "parameters", "corrections", "cells"}
    changed |= {"types", "cells_without_type", "myeloid_erythroid_ratio"}
    assert {name: answer[name] for name in answer if name not in changed} == {
        name: plain[name] for name in plain if name not in changed
    }
    assert [one for one in answer["cells"] if one["id"] != 3] == [one for one in plain["cells"] if one["id"] != 3]


def test_same_corrections_give_the_same_result_in_whatever_order(served):
    client = served()
    first = corrected(client, '{"dark small": [1, 2], "pale large": [0]}').json()
    again = corrected(client, '{"pale large": [0], "dark small": [2, 1]}').json()
    assert first["result_sha256"] == again["result_sha256"] == corrected_again(client, first)["result_sha256"]
    assert first["corrections"] == {"n": 3, "by": "reviewer"}
    plain = post_tile(client, DRAWN).json()
    assert plain["result_sha256"] == corrected(client, "{}").json()["result_sha256"] != first["result_sha256"]
    assert "corrections" not in plain.keys() | plain["parameters"].keys()


def corrected_again(client, answer):
    """Send what the parameters of an answer say."""
    parameters = answer["parameters"]
    return corrected(client, json.dumps(parameters["corrections"]), reviewer=parameters["reviewer"]).json()


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("[", "not JSON"),
        ('{"blast": [0]}', "knows no type 'blast'; its types are 'dark small', 'pale large'"),
        (r'{"\ud800": [0]}', "knows no type"),
        ('{"dark small": [100000]}', "There is no cell 100000 in this tile"),
        ('{"dark small": [0], "pale large": [0]}', "cell 0 both 'dark small' and 'pale large'"),
    ],
)
def test_corrections_that_cannot_be_used_are_refused(served, cells, words):
    assert_problem(corrected(served(), cells), 422, words)


def test_bundle_without_types_and_wrong_forms_are_refused(served, client):
    assert_problem(corrected(client, '{"dark small": [0]}'), 422, "knows no types of cells")
    refused = client.post("/analyze", files={"tile": DRAWN, "corrections": b"{}"})
    assert_problem(refused, 400, "text in the field `corrections`", "a file in the field `corrections`")
    twice = client.post(
        "/analyze", files=[("tile", DRAWN), ("corrections", (None, "{}")), ("corrections", (None, "{}"))]
    )
    assert_problem(twice, 400, "text in the field `corrections`, text in the field `corrections`")
    assert client.post("/analyze", files={"tile": DRAWN, "corrections": (None, "")}).status_code == HTTPStatus.OK
    assert_problem(post_tile(client, DRAWN, corrections="{}"), 422, "`corrections` belongs in the form of /analyze")
    assert_problem(corrected(client, "{}", reviewer="a\nb"), 422, "The name of a reviewer")


def test_corrections_are_refused_if_the_person_looked_at_other_cells(served):
    client, given = served(), '{"dark small": [3]}'
    plain = post_tile(client, DRAWN).json()
    looked_at = plain["cells_sha256"]
    guarded = corrected(client, given, cells_sha256=looked_at).json()
    assert guarded["result_sha256"] == corrected(client, given).json()["result_sha256"], "it is no part of the result"
    assert guarded["cells_sha256"] == looked_at == post_tile(client, DRAWN, format="geojson").json()["cells_sha256"]
    # Of a number that no other cell has, the message speaks of the cells first.
    for cells, tile, query in (
        (given, DRAWN, {"mpp": 0.5}),
        (given, encoded(draw_tile(grid_of_centres(), seed=5)), {}),
        ('{"dark small": [100000]}', DRAWN, {"mpp": 0.5}),
    ):
        refused = corrected(client, cells, tile, cells_sha256=looked_at, **query)
        assert_problem(refused, 409, "made on another answer", "Nothing was corrected")
    taught_again = served(threshold=0.6)
    assert_problem(
        corrected(taught_again, given, cells_sha256=looked_at), 409, "was changed since, as when it is taught again"
    )
    assert_problem(corrected(client, given, cells_sha256="0"), 422, "cells_sha256")
    assert corrected(client, "{}", cells_sha256="0" * 64).json()["result_sha256"] == plain["result_sha256"]


def test_answers_of_a_bundle_without_types_say_nothing_of_corrections(client):
    assert "cells_sha256" not in post_tile(client, DRAWN).json()
    assert "cells_sha256" not in post_tile(client, DRAWN, format="geojson").json()


def test_corrections_show_in_tables_and_in_qupath(served):
    client, given = served(), '{"dark small": [0], "pale large": [2]}'
    rows = list(csv.DictReader(io.StringIO(corrected(client, given, format="csv").text, newline="")))
    assert [row["type_corrected"] for row in rows[:4]] == ["true", "false", "true", "false"]
    assert (rows[0]["type"], rows[2]["type"], rows[2]["type_probability"]) == ("dark small", "pale large", "1.0")
    collection = corrected(client, given, format="geojson", reviewer="A. Smith").json()
    assert collection["corrections"] == {"n": 2, "by": "A. Smith"}
    properties = [feature["properties"] for feature in collection["features"]]
    assert [one["measurements"]["Type corrected"] for one in properties[:3]] == [1, 0, 1]
    assert properties[2]["classification"]["name"] == "pale large"
    with Image.open(io.BytesIO(corrected(client, given, format="overlay", reviewer="A. Smith").content)) as drawn:
        assert drawn.text["Description"].endswith("\n2 cells corrected by A. Smith")
    assert "type_corrected" not in post_tile(client, DRAWN, format="csv").text
    assert "Type corrected" not in post_tile(client, DRAWN, format="geojson").text


def test_log_says_what_was_corrected_and_by_which_key(served, tmp_path, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_KEYS_FILE", str(tmp_path / "keys.json"))
    token = run("keys", "add", "A. Smith").stdout.strip()
    client = served(settings={"audit_log": tmp_path / "audit.jsonl", "keys_file": tmp_path / "keys.json"})
    client.headers["X-API-Key"] = token
    answer = corrected(client, '{"dark small": [0]}').json()
    assert answer["corrections"] == {"n": 1, "by": "A. Smith"}
    assert_problem(corrected(client, '{"dark small": [0]}', reviewer="B. Jones"), 422, "the name of the key")
    line = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0])
    assert line["answer"]["corrections"] == {"n": 1, "by": "A. Smith"}
    assert line["answer"]["parameters"]["corrections"] == {"dark small": [0]}
    assert line["answer"]["result_sha256"] == answer["result_sha256"]


def test_log_can_go_on_after_a_line_with_as_many_corrections_as_there_may_be():
    cells = json.dumps({"\U0001f9b4" * 60: list(range(60_000, 60_000 + MAX_CORRECTIONS))}, ensure_ascii=False)
    names = 32 * 60 * 4
    assert 2 * (len(cells.encode()) + names + 5000) < TAIL_BYTES


def test_card_of_the_bundle_shows_its_classifier(served):
    found = served().get("/bundles/marrow").json()["manifest"]["cell_classifier"]
    assert [one["name"] for one in found["types"]] == ["dark small", "pale large"]
    assert found["validation"]["confusion"] == [[18, 1, 1], [2, 16, 2]]
