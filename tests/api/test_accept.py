import pytest
from starlette.exceptions import HTTPException

from app.answer.formats import FORMATS
from app.api.analyze import wanted_format


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/*", "json"),
        ("application/geo+json", "geojson"),
        ("text/csv", "csv"),
        ("text/csv; charset=utf-8", "csv"),
        ("Text/CSV", "csv"),
        ("text/*", "csv"),
        ("image/png", "overlay"),
        ("image/*", "overlay"),
        ("image/jpeg, image/*;q=0.5", "overlay"),
        ("text/csv;q=0.4, application/geo+json;q=0.5", "geojson"),
        ("text/csv, application/json", "json"),
        ("application/json;q=0, */*", "geojson"),
        ("text/html, */*;q=0.1", "json"),
        # What a browser sends for a page, and Java's URLConnection.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "json"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "json"),
    ],
)
def test_best_of_what_is_accepted_is_given(accept, wanted):
    assert wanted_format(None, accept) == wanted


@pytest.mark.parametrize(
    "accept", ["image/jpeg", "text/html", "application/xml;q=0.9", "*/*;q=0", "csv", "text/csv/1", ",", "text/csv, ?"]
)
def test_nothing_acceptable_is_406_and_names_what_there_is(accept):
    with pytest.raises(HTTPException) as refused:
        wanted_format(None, accept)
    assert refused.value.status_code == 406
    for form in FORMATS.values():
        assert form.media_type in refused.value.detail
    assert accept in refused.value.detail


def test_long_header_is_not_repeated_whole():
    with pytest.raises(HTTPException) as refused:
        wanted_format(None, "text/" + "x" * 10_000)
    assert len(refused.value.detail) < 250


@pytest.mark.parametrize("wanted", FORMATS)
def test_format_goes_before_accept(wanted):
    assert wanted_format(wanted, "text/html") == wanted
