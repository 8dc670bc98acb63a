"""Names of clusters, given by people with `marrowscope bundle name` and taken away with `unname`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from app.files import write_whole
from app.pipeline.bundle.load import MANIFEST, read_manifest
from app.pipeline.errors import InvalidParameter, UnknownCluster
from app.pipeline.manifest import ClusterName, ClusterNames, Manifest


def name_cluster(directory: Path, cluster: int, name: str, *, by: str, cells: int | None) -> ClusterNames:
    """Give a cluster a name, which replaces the one that it has, and give the names of clusters another version.

    Args:
        directory: directory of the bundle.
        cluster: 0 … K − 1.
        name: 1 to 80 characters.
        by: the person who gives the name, 1 to 80 characters.
        cells: how many cells of the cluster the person looked at; None if that is not known.

    Returns:
        The names of all clusters.

    Raises:
        InvalidBundle: the manifest cannot be read.
        InvalidParameter: `name`, `by` or `cells` is outside its range; nothing was written.
        UnknownCluster: `cluster` is outside its range; nothing was written.
        OSError: the manifest cannot be written.
    """
    manifest = _read(directory, cluster)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        named = ClusterName(cluster=cluster, name=name.strip(), by=by.strip(), when=when, cells=cells)
        return _write(directory, manifest, [*_without(manifest, cluster), named])
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidParameter(f"{first['loc'][0]}: {first['msg']}.") from error


def unname_cluster(directory: Path, cluster: int) -> ClusterNames:
    """Take the name of a cluster away, and give the names of clusters another version.

    Args:
        directory: directory of the bundle.
        cluster: 0 … K − 1.

    Returns:
        The names of all clusters.

    Raises:
        InvalidBundle: the manifest cannot be read.
        InvalidParameter: the cluster has no name; nothing was written.
        UnknownCluster: `cluster` is outside its range; nothing was written.
        OSError: the manifest cannot be written.
    """
    manifest = _read(directory, cluster)
    if manifest.cluster_names is None or manifest.cluster_names.of(cluster) is None:
        raise InvalidParameter(f"Cluster {cluster} has no name.")
    return _write(directory, manifest, _without(manifest, cluster))


def _read(directory: Path, cluster: int) -> Manifest:
    manifest, _ = read_manifest(directory)
    if not 0 <= cluster < manifest.n_clusters:
        raise UnknownCluster(f"The bundle's clusters are 0 to {manifest.n_clusters - 1}, found {cluster}.")
    return manifest


def _without(manifest: Manifest, cluster: int) -> list[ClusterName]:
    """Return the names of all clusters but one."""
    names = manifest.cluster_names.clusters if manifest.cluster_names else ()
    return [named for named in names if named.cluster != cluster]


def _write(directory: Path, manifest: Manifest, clusters: list[ClusterName]) -> ClusterNames:
    version = manifest.cluster_names.version if manifest.cluster_names else 0
    names = ClusterNames(version=version + 1, clusters=tuple(sorted(clusters, key=lambda named: named.cluster)))
    changed = manifest.model_copy(update={"cluster_names": names})
    write_whole((changed.model_dump_json(indent=2) + "\n").encode(), directory / MANIFEST)
    return names
