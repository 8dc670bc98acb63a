"""From the proportions of clusters in tiles to the model that labels a tile as normal or abnormal."""
