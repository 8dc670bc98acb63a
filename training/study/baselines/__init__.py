"""Systems of other publications, with which this method is compared."""
