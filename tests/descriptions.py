"""Descriptions of clusters with known numbers, for bundles that are made by hand."""

from dataclasses import replace

from app.pipeline.bundle.load import Bundle
from app.pipeline.descriptions import ClusterDescription, Descriptions, MeasurementOfCells, MeasurementOfCluster

MEASUREMENTS = (
    MeasurementOfCells(measurement="eccentricity", title="Eccentricity", unit="", eta_squared=0.07),
    MeasurementOfCells(measurement="area_um2", title="Nuclear area", unit="um2", eta_squared=0.9),
    MeasurementOfCells(measurement="dark_clumps", title="Dark clumps", unit="count", eta_squared=None),
)


def describe_by_hand(n_clusters=5) -> Descriptions:
    """Cluster k has nuclei of 20 + k µm², which matter most though their effect is not the largest."""

    def cluster(k):
        area = MeasurementOfCluster(n=40, median=20 + k, quartiles=(19 + k, 21.5 + k), effect=0.4)
        eccentricity = MeasurementOfCluster(n=41, median=0.5, quartiles=(0.4, 0.6), effect=-0.5)
        not_measured = MeasurementOfCluster(n=0, median=None, quartiles=None, effect=None)
        return ClusterDescription(
            sentence=f"Large nuclei of {20 + k}.",
            n_cells=41,
            foremost=("area_um2",),
            measurements=(eccentricity, area, not_measured),
        )

    return Descriptions(measurements=MEASUREMENTS, clusters=tuple(cluster(k) for k in range(n_clusters)))


def described(bundle: Bundle) -> Bundle:
    """The bundle with these descriptions."""
    manifest = bundle.manifest
    descriptions = describe_by_hand(manifest.n_clusters)
    return replace(bundle, manifest=manifest.model_copy(update={"descriptions": descriptions}))
