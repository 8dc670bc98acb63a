"""Names of clusters, given by people: what `marrowscope bundle name` and `unname` do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from app.files import write_whole
from app.pipeline.bundle.load import MANIFEST, read_manifest
from app.pipeline.errors import InvalidParameter, UnknownCluster
from app.pipeline.manifest import ClusterName, ClusterNames, Manifest


def name_cluster(directory: Path, cluster: int, name: str, *, by: str, cells: int | None) -> ClusterNames:
    """Name a cluster, or give it another name; the other names stay, and the names get another version.

    Args:
        directory: the bundle.
        cluster: 0 … K − 1.
        name: 1 to 80 characters.
        by: who says so, 1 to 80 characters.
        cells: how many cells of the cluster they looked at; None where they do not say.

    Returns:
        All names.

    Raises:
        InvalidBundle: the manifest cannot be read.
        InvalidParameter, UnknownCluster: an argument is outside its range; nothing was written.
        OSError: the manifest cannot be written.
    """
    manifest = _read(directory, cluster)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        entry = ClusterName(cluster=cluster, name=name.strip(), by=by.strip(), when=when, cells=cells)
        return _keep(directory, manifest, [*_others(manifest, cluster), entry])
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameter(f"{first['loc'][0]}: {first['msg']}.") from error


def unname_cluster(directory: Path, cluster: int) -> ClusterNames:
    """Take a cluster's name away; raises as `name_cluster` does, also where the cluster has none."""
    manifest = _read(directory, cluster)
    if manifest.cluster_names is None or manifest.cluster_names.of(cluster) is None:
        raise InvalidParameter(f"Cluster {cluster} has no name.")
    return _keep(directory, manifest, _others(manifest, cluster))


def _read(directory: Path, cluster: int) -> Manifest:
    manifest, _ = read_manifest(directory)
    if not 0 <= cluster < manifest.n_clusters:
        raise UnknownCluster(f"The bundle's clusters are 0 to {manifest.n_clusters - 1}, found {cluster}.")
    return manifest


def _others(manifest: Manifest, cluster: int) -> list[ClusterName]:
    named = manifest.cluster_names.clusters if manifest.cluster_names else ()
    return [entry for entry in named if entry.cluster != cluster]


def _keep(directory: Path, manifest: Manifest, entries: list[ClusterName]) -> ClusterNames:
    version = manifest.cluster_names.version if manifest.cluster_names else 0
    names = ClusterNames(version=version + 1, clusters=tuple(sorted(entries, key=lambda entry: entry.cluster)))
    changed = manifest.model_copy(update={"cluster_names": names})
    write_whole((changed.model_dump_json(indent=2) + "\n").encode(), directory / MANIFEST)
    return names
