"""What QuPath's reader of GeoJSON asks for, transcribed from its source; QuPath itself cannot be installed here.

The rules are those of github.com/qupath/qupath, 0.4 to 0.7, in `qupath-core/src/main/java/qupath/lib/io`:

- `PathIO.addPathObjects` takes documents of the type FeatureCollection, Feature or of a geometry, and skips others.
- `QuPathTypeAdapters.PathObjectTypeAdapter.parseObject` reads a feature: `id`, `geometry`, and of `properties` the
  members `name`, `objectType`, `classification` and `measurements`.
- `QuPathTypeAdapters.MeasurementListTypeAdapter` reads measurements, by Gson's map of names and doubles.
- `GsonTools.PathClassTypeAdapter` reads a classification.
- `ROITypeAdapters.parseGeometry` makes a geometry of the library JTS.

What QuPath takes in another way than it was meant (an id that is no UUID, an unknown `objectType`) is wrong here.
"""

from numbers import Real
from uuid import UUID

OBJECT_TYPES = ("annotation", "detection", "cell", "tile", "tmaCore", "root")
MIN_RING = 4
"""Positions of a ring that JTS's `LinearRing` takes, the repeated first one included."""
BYTE = range(256)


def read_document(document):
    """Read a document as QuPath would, and return its objects; AssertionError for what QuPath would not take."""
    assert document["type"] == "FeatureCollection"
    assert isinstance(document["features"], list)
    return [read_feature(feature) for feature in document["features"]]


def read_feature(feature):
    assert feature["type"] == "Feature"
    properties = feature["properties"]
    assert isinstance(properties, dict)
    # `getAsString` and `getAsBoolean` throw for null, and for arrays and objects.
    assert isinstance(properties["name"], str)
    assert properties["objectType"] in OBJECT_TYPES
    assert str(UUID(feature["id"])) == feature["id"]
    assert not {"nucleusGeometry", "childObjects", "children"} & {*feature, *properties}
    return {
        "id": feature["id"],
        "type": properties["objectType"],
        "rings": _polygon(feature["geometry"]),
        "class": _classification(properties["classification"]) if "classification" in properties else None,
        "measurements": _measurements(properties["measurements"]),
    }


def _polygon(geometry):
    assert geometry["type"] == "Polygon"
    assert geometry["coordinates"]
    for ring in geometry["coordinates"]:
        assert len(ring) >= MIN_RING
        assert ring[0] == ring[-1]
        assert all(len(position) == 2 and all(map(_is_number, position)) for position in ring)
    return geometry["coordinates"]


def _classification(given):
    """Return the name and the packed colour; an object needs both, or "Unable to parse PathClass" is thrown."""
    assert isinstance(given, dict)
    assert not {"colorRGB", "parentClass"} & given.keys()  # these were read in another way until 0.3
    assert isinstance(given["name"], str)
    assert given["name"].strip()
    assert len(given["color"]) in (3, 4)
    assert all(type(part) is int and part in BYTE for part in given["color"])
    return given["name"], tuple(given["color"])


def _measurements(given):
    """Return the measurements; a value that is no number would be cast to one, which throws."""
    assert isinstance(given, dict)
    assert all(name and _is_number(value) for name, value in given.items())
    return given


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)
