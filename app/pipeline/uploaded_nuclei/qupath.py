"""The objects of a GeoJSON file of QuPath: annotations, TMA cores, detections, cells and tiles.

Every version of QuPath writes them a little differently, and QuPath reads all forms. This module reads them as QuPath
0.6 does (`QuPathTypeAdapters`, and `PathClassTypeAdapter` in `GsonTools`), whichever program wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

ANNOTATION, CELL, CORE, ROOT = "annotation", "cell", "TMA core", "root"
RESULTS = ("detection", CELL, "tile")
"""Kinds of objects that an analysis makes."""
KINDS = {
    "pathannotationobject": ANNOTATION,
    "tmacoreobject": CORE,
    "tmacore": CORE,
    "tma_core": CORE,
    "pathrootobject": ROOT,
    "root": ROOT,
    **{f"path{kind}object": kind for kind in RESULTS},
    **{kind: kind for kind in RESULTS},
}
"""The kind of an object by every name that a version of QuPath has for it; QuPath takes all others for annotations."""
TYPE_PROPERTIES = ("objectType", "object_type", "type")
"""The first of these properties gives the kind since QuPath 0.3; QuPath 0.2 gives it as the id of the feature."""
CHILDREN = ("childObjects", "children")
SHOWN_NAMES, MAX_SHOWN = 5, 20
"""The largest number of names in a message, and of characters of each name or value."""


@dataclass(frozen=True, slots=True)
class QuPathObject:
    """One object.

    Attributes:
        kind: annotation, TMA core, detection, cell, tile or root.
        name: the name that a person gave it; None if it has none.
        classes: its classification from the base to the most derived class, such as Tumor and Positive; empty if it is
            not classified.
        geometry: the geometry of GeoJSON; None if it has none.
        nucleus: the geometry of its nucleus, if it is a cell that has one beside its own.
        is_missing: whether it is a TMA core that is marked as missing.
    """

    kind: str
    name: str | None
    classes: tuple[str, ...]
    geometry: Mapping[str, Any] | None
    nucleus: Mapping[str, Any] | None
    is_missing: bool


def objects_of(content: object) -> Iterator[QuPathObject]:
    """Yield all objects of a document, each one before those that are nested in it.

    Args:
        content: GeoJSON as Python's values: a FeatureCollection, a list of features, or one feature.

    Raises:
        TypeError: it is none of these; the text says what was found, as the end of a sentence.
    """
    if isinstance(content, dict) and content.get("type") != "Feature" and not content.keys() & {"features", "geometry"}:
        names = ", ".join(str(name)[:MAX_SHOWN] for name in islice(content, SHOWN_NAMES))
        raise TypeError(
            f"an object with the members {names} is no feature" if names else "an empty object is no feature"
        )
    features = content.get("features", [content]) if isinstance(content, dict) else content
    return (_object(feature) for feature in _with_nested(features))


def _with_nested(features: object) -> Iterator[Mapping[str, Any]]:
    """Yield features, each one before those nested in it; raises TypeError for what is no list of features."""
    waiting = [features]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting.extend(reversed(found))
        elif isinstance(found, dict):
            yield found
            owners = (found, _properties(found))
            nested = [owner[name] for owner in owners for name in CHILDREN if isinstance(owner.get(name), list)]
            waiting.extend(reversed(nested))
        else:
            raise TypeError(f"{json.dumps(found)[:MAX_SHOWN]} is no feature")


def _object(feature: Mapping[str, Any]) -> QuPathObject:
    properties = _properties(feature)
    name = properties.get("name")
    return QuPathObject(
        kind=_kind(feature, properties),
        name=str(name) if name not in (None, "") else None,
        classes=_classes(properties.get("classification")),
        geometry=_geometry(feature, "geometry"),
        nucleus=_geometry(feature, "nucleusGeometry"),
        is_missing=properties.get("isMissing") is True,
    )


def _geometry(feature: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    geometry = feature.get(name)
    return geometry if isinstance(geometry, dict) else None


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _kind(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    given = next((properties[name] for name in TYPE_PROPERTIES if name in properties), feature.get("id"))
    return KINDS.get(str(given).casefold(), ANNOTATION)


def _classes(classification: object) -> tuple[str, ...]:
    """Return the names of a classification, base first.

    Its forms are a string with colons, {"name": …} with the same string, {"names": […]}, and until QuPath 0.3 {"name":
    …, "parentClass": {…}}.
    """
    if isinstance(classification, str):
        return tuple(filter(None, (name.strip() for name in classification.split(":"))))
    if not isinstance(classification, dict):
        return ()
    own = classification.get("name") or classification.get("names")
    names = own if isinstance(own, list) else [own]
    parents = _classes(classification.get("parentClass"))
    return (*parents, *(part for name in names if isinstance(name, str) for part in _classes(name)))
