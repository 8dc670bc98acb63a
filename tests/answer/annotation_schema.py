"""The schema of an annotation in the Digital Slide Archive, as far as outlines need it.

It is transcribed from `AnnotationSchema` of large_image (github.com/girder/large_image,
girder/annotation or girder_annotation/girder_large_image_annotation/models/annotation.py), which cannot be installed
without a Girder server. The archive validates by it, with jsonschema's `Draft6Validator`, and refuses what it does not
allow. Elements of other kinds than polyline are left out.
"""

from jsonschema import Draft6Validator

COORDINATE = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
COLOR = {
    "type": "string",
    "pattern": r"^(#[0-9a-fA-F]{3,6}|rgb\(\d+,\s*\d+,\s*\d+\)|rgba\(\d+,\s*\d+,\s*\d+,\s*(\d?\.|)\d+\))$",
}
LABEL = {
    "type": "object",
    "properties": {
        "value": {"type": "string"},
        "visibility": {"type": "string", "enum": ["hidden", "always", "onhover"]},
        "fontSize": {"type": "number", "exclusiveMinimum": 0},
        "color": COLOR,
    },
    "required": ["value"],
    "additionalProperties": False,
}
POLYLINE = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
        "type": {"type": "string", "enum": ["polyline"]},
        "user": {"type": "object", "additionalProperties": True},
        "label": LABEL,
        "group": {"type": "string"},
        "lineColor": COLOR,
        "lineWidth": {"type": "number", "minimum": 0},
        "fillColor": COLOR,
        "points": {"type": "array", "items": COORDINATE, "minItems": 2},
        "closed": {"type": "boolean"},
        "holes": {"type": "array", "items": {"type": "array", "items": COORDINATE, "minItems": 3}},
    },
    "required": ["type", "points"],
    "additionalProperties": False,
}
ANNOTATION = {
    "$schema": "http://json-schema.org/draft-06/schema#",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "description": {"type": "string"},
        "attributes": {"type": "object", "additionalProperties": True},
        "elements": {"type": "array", "items": POLYLINE},
    },
    "additionalProperties": False,
}
VALIDATOR = Draft6Validator(ANNOTATION)


def check_annotation(annotation):
    """Check an annotation as the archive does, and that MongoDB can keep the names of its fields."""
    VALIDATOR.validate(annotation)
    assert not [name for name in _names(annotation) if "." in name or name.startswith("$")]


def _names(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
