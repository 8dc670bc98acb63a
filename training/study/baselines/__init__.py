"""Systems of other publications, which ours is compared with."""
