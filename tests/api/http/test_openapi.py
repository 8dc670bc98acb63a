"""openapi.json says what every field of an answer means."""

import json
import re

from tests.conftest import REPOSITORY

DOCUMENT = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))


def description_of(value, schemas) -> str:
    """The field's description, or that of the part that it holds."""
    if "description" in value:
        return value["description"]
    for holder in (value, value.get("items", {}), *value.get("anyOf", [])):
        if "$ref" in holder:
            return schemas[holder["$ref"].rsplit("/", 1)[-1]].get("description", "")
    return ""


def test_every_field_of_an_answer_is_described():
    schemas = DOCUMENT["components"]["schemas"]
    assert "AnalysisOut" in schemas
    undescribed = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, value in schema.get("properties", {}).items()
        if not description_of(value, schemas)
    ]
    assert undescribed == []


def descriptions(value):
    if isinstance(value, dict):
        if isinstance(value.get("description"), str):
            yield value["description"]
        value = value.values()
    if isinstance(value, dict | list | type({}.values())):
        for part in value:
            yield from descriptions(part)


def test_every_description_is_a_whole_sentence():
    # A value of an enumeration, such as `fast`, may begin a sentence in lower case.
    sentence = re.compile(r"(?s)([A-Z0-9`#]|(full|fast|int8|alive|png|json) ).* .*\.")
    found = list(descriptions(DOCUMENT))
    assert len(found) > 200
    assert [text for text in found if not sentence.fullmatch(text)] == []


def operations():
    return [operation for path in DOCUMENT["paths"].values() for operation in path.values()]


def test_headers_that_a_client_acts_on_are_declared():
    declared = {"202": "Location", "401": "WWW-Authenticate", "405": "Allow", "503": "Retry-After"}
    for operation in operations():
        for status, response in operation["responses"].items():
            headers = response["headers"]
            assert "X-Request-ID" in headers
            assert (declared[status] in headers) if status in declared else len(headers) == 1


def test_key_is_declared_as_one_that_may_not_be_needed():
    for operation in operations():
        assert {} in operation.get("security", [{}])
