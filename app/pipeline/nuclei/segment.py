"""Stain → Nuclei, by the way that the bundle asks for (paper §III-B1)."""

from __future__ import annotations

import numpy as np

from app.pipeline.nuclei.levels import segment_by_levels
from app.pipeline.nuclei.measure import measure
from app.pipeline.presets import SegmentationParams, ThresholdParams
from app.pipeline.types import Nuclei, Stain


def segment(stains: Stain, params: SegmentationParams) -> Nuclei:
    """Find the nuclei of an unmixed tile.

    Args:
        stains: result of `unmix`.
        params: of the paper's threshold, or of the levels of density.

    Returns:
        Nuclei in reading order of their topmost pixel; none for a degenerate tile.
    """
    if stains.estimate is None:
        return measure(np.zeros(stains.haematoxylin.shape, np.int32))
    if isinstance(params, ThresholdParams):
        # Only a bundle that asks for it pays for the import of scipy.ndimage and scikit-image.
        from app.pipeline.nuclei.threshold import segment_by_threshold

        return measure(segment_by_threshold(stains.haematoxylin, params))
    return measure(segment_by_levels(stains.haematoxylin, stains.estimate.nuclear_density, params))
