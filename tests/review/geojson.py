"""GeoJSON with names of cells, in every form that QuPath writes."""

import json


def square(x, y, side):
    """A closed ring."""
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def feature(kind, coordinates, name, *, object_type="annotation", **members):
    """A feature with a classification; None for one without."""
    classification = {"name": name, "color": [1, 2, 3]} if isinstance(name, str) else name
    properties = {"objectType": object_type, **({"classification": classification} if name is not None else {})}
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
        **members,
    }


def point(x, y, name, **members):
    return feature("Point", [x, y], name, **members)


def outline(x, y, side, name, object_type="detection", **members):
    return feature("Polygon", [square(x, y, side)], name, object_type=object_type, **members)


def document(*features, **members) -> bytes:
    return json.dumps({"type": "FeatureCollection", **members, "features": features}).encode()
