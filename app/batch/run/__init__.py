"""The work of a run, given out to the workers of Dask."""
