"""What is fitted to cells: descriptions of clusters, reference ranges, calibration. An analysis needs none of it."""
