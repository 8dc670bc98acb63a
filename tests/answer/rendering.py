"""Analyse a tile without HTTP, and read what the formats make of it."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from app.answer.formats import FORMATS
from app.answer.present import Result
from app.answer.schemas import AnalysisOut
from app.pipeline.manifest import ClusterName, ClusterNames
from app.pipeline.run import analyse
from tests.api.answers import strict_json


def analysed(data, bundle, **options) -> Result:
    return Result(analyse(data, bundle, max_pixels=9_000_000, **options), bundle, "0" * 32)


def render(result, form) -> bytes:
    return FORMATS[form].write(result)


def as_json(result) -> dict:
    # The service does not check the cells against the schema, which takes long.
    AnalysisOut.model_validate_json(render(result, "json"), strict=True)
    return strict_json(render(result, "json"))


def as_geojson(result) -> dict:
    return strict_json(render(result, "geojson"))


def as_pixels(result, form) -> np.ndarray:
    with Image.open(io.BytesIO(render(result, form))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def named(result, names) -> Result:
    """The result as a bundle with these names of clusters gives it."""
    entries = [
        ClusterName(cluster=k, name=name, by="A. Smith", when="2025-01-01", cells=9) for k, name in names.items()
    ]
    cluster_names = ClusterNames(version=1, clusters=tuple(entries))
    manifest = result.bundle.manifest.model_copy(update={"cluster_names": cluster_names})
    return replace(result, bundle=replace(result.bundle, manifest=manifest))
