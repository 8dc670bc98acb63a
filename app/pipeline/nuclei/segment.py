"""Stain → Nuclei, by the method that the bundle asks for (paper §III-B1)."""

from __future__ import annotations

import numpy as np

from app.pipeline.nuclei.levels import segment_by_levels
from app.pipeline.nuclei.measure import measure
from app.pipeline.presets import SegmentationParams, ThresholdParams
from app.pipeline.types import Nuclei, Stain


def segment(stain: Stain, params: SegmentationParams) -> Nuclei:
    """Find the nuclei of an unmixed tile.

    Args:
        stain: result of `unmix`.
        params: numbers of the paper's threshold, or of the levels of density.

    Returns:
        Nuclei in reading order of their topmost pixel; none where two stains could not be distinguished.
    """
    if stain.estimate is None:
        return measure(np.zeros(stain.haematoxylin.shape, np.int32))
    if isinstance(params, ThresholdParams):
        # scipy.ndimage and scikit-image are slow to import, and only this method needs them.
        from app.pipeline.nuclei.threshold import segment_by_threshold

        return measure(segment_by_threshold(stain.haematoxylin, params))
    return segment_by_levels(stain.haematoxylin, stain.estimate.nuclear_density, params)
