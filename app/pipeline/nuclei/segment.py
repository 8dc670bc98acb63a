"""Stain → Nuclei, by the method that the bundle asks for (paper §III-B1)."""

from __future__ import annotations

import numpy as np

from app.pipeline.errors import InvalidBundle
from app.pipeline.nuclei.levels import segment_by_levels
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.network import MapNetwork, segment_by_network
from app.pipeline.presets import NetworkParams, SegmentationParams, ThresholdParams
from app.pipeline.types import Nuclei, Stain


def segment(stain: Stain, params: SegmentationParams, network: MapNetwork | None = None) -> Nuclei:
    """Find the nuclei of an unmixed tile.

    Args:
        stain: result of `unmix`.
        params: numbers of the paper's threshold, of the levels of density, or of the network's maps.
        network: gives the maps of nuclei; preset `learned` needs it, and no other preset asks it.

    Returns:
        Nuclei in reading order of their topmost pixel; none where two stains could not be distinguished.

    Raises:
        InvalidBundle: the preset is `learned`, and there is no network.
    """
    if isinstance(params, NetworkParams) and network is None:
        raise InvalidBundle("The preset 'learned' finds nuclei by a network, and the bundle has none.")
    if stain.stain_matrix is None:
        return measure(np.zeros(stain.tissue.shape, np.int32))
    if isinstance(params, NetworkParams):
        assert network is not None  # noqa: S101 - for mypy: it was refused above
        return segment_by_network(stain, network, params)
    if isinstance(params, ThresholdParams):
        # scipy.ndimage and scikit-image are slow to import, and only this method needs them.
        from app.pipeline.nuclei.threshold import segment_by_threshold

        return measure(segment_by_threshold(stain.haematoxylin, params))
    assert stain.estimate is not None  # noqa: S101 - for mypy: it has a stain matrix
    return segment_by_levels(stain.haematoxylin, stain.estimate.nuclear_density, params)
