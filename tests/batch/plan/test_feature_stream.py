import gzip
import json

import pytest

from app.batch.plan import feature_stream as module
from app.batch.plan.feature_stream import feature_stream
from app.batch.read.slide import SlideError

FEATURE = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1.5, -2e3]}, "properties": {"ä ]": "}"}}
FORMS = {
    "collection": {"type": "FeatureCollection", "width": 12345, "features": [FEATURE, {"a": 1}], "after": 1},
    "list": [FEATURE, FEATURE, {}],
    "empty": {"features": []},
    "nothing": [],
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_features_are_those_of_the_whole_file_however_little_is_read_at_a_time(
    tmp_path, monkeypatch, content, chunk, indent, pack
):
    monkeypatch.setattr(module, "CHUNK", chunk)
    path = tmp_path / "n.geojson"
    path.write_bytes(pack(json.dumps(content, indent=indent).encode()))
    with feature_stream(path) as stream:
        found = list(stream.features())
    assert found == (content["features"] if isinstance(content, dict) else content)
    if "width" in content:
        assert stream.members == {"type": "FeatureCollection", "width": 12345, "after": 1}


def test_one_feature_is_read_as_such(tmp_path):
    path = tmp_path / "n.geojson"
    path.write_text(json.dumps(FEATURE))
    with feature_stream(path) as stream:
        assert list(stream.features()) == [FEATURE]


LINES = b"".join(json.dumps(FEATURE).encode() + b"\n" for _ in range(2))
BROKEN = {
    b"": "is not GeoJSON: { is missing.",
    b"text": "is not GeoJSON",
    b"{": "is not GeoJSON",
    b"[1, 2": "is not GeoJSON",
    b'{"features": [1}': "is not GeoJSON: , is missing.",
    b'{"a" 1}': "is not GeoJSON: : is missing.",
    b"[1 2]": "is not GeoJSON: , is missing.",
    b"[" * 10**5: "is not GeoJSON",
    b'{"features": []': "is not GeoJSON: , is missing.",
    LINES: "is not GeoJSON: something follows its end, as in a file with a feature in each line.",
    b'{"features": []}{"features": []}': "something follows its end",
    b"\xff\xfe{\0}\0": "is not GeoJSON, which is text in UTF-8.",
    b"\x1f\x8bno": "is damaged or truncated and cannot be unpacked.",
    gzip.compress(b"[" + b" " * 10**5 + b"]", mtime=0)[:40]: "is damaged or truncated and cannot be unpacked.",
}


@pytest.mark.parametrize(("content", "words"), BROKEN.items())
def test_what_is_no_geojson_is_refused_with_the_reason(tmp_path, content, words):
    path = tmp_path / "n.geojson"
    path.write_bytes(content)
    with pytest.raises(SlideError) as refused, feature_stream(path) as stream:
        list(stream.features())
    assert words in str(refused.value)


def test_a_feature_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_FEATURE", 1000)
    monkeypatch.setattr(module, "CHUNK", 10)
    path = tmp_path / "n.geojson"
    path.write_text('["' + "a" * 10_000)
    with pytest.raises(SlideError, match="more than 1000 characters"), feature_stream(path) as stream:
        list(stream.features())
