"""Descriptions of clusters with known numbers, for bundles that are made by hand."""

from dataclasses import replace

from app.pipeline.bundle.load import Bundle
from app.pipeline.descriptions import ClusterDescription, Descriptions, ExplainedMeasurement, MeasurementOfCluster

AREA = {"measurement": "area_um2", "title": "Nuclear area", "unit": "um2"}
ECCENTRICITY = {"measurement": "eccentricity", "title": "Eccentricity", "unit": ""}
CLUMPS = {"measurement": "dark_clumps", "title": "Dark clumps", "unit": "count"}


def describe_by_hand(n_clusters=5) -> Descriptions:
    """Cluster k has nuclei of 20 + k µm²; nobody measured its clumps."""

    def cluster(k):
        return ClusterDescription(
            sentence=f"Large nuclei of {20 + k}.",
            n_cells=41,
            measurements=(
                MeasurementOfCluster(**AREA, n=40, median=20 + k, quartiles=(19 + k, 21.5 + k), effect=0.4),
                MeasurementOfCluster(**ECCENTRICITY, n=41, median=0.5, quartiles=(0.4, 0.6), effect=-0.3),
                MeasurementOfCluster(**CLUMPS, n=0, median=None, quartiles=None, effect=None),
            ),
        )

    return Descriptions(
        measurements=(
            ExplainedMeasurement(**ECCENTRICITY, eta_squared=0.07),
            ExplainedMeasurement(**AREA, eta_squared=0.9),
            ExplainedMeasurement(**CLUMPS, eta_squared=None),
        ),
        clusters=tuple(map(cluster, range(n_clusters))),
    )


def described(bundle: Bundle) -> Bundle:
    """The bundle with these descriptions."""
    manifest = bundle.manifest
    descriptions = describe_by_hand(manifest.n_clusters)
    return replace(bundle, manifest=manifest.model_copy(update={"descriptions": descriptions}))
