"""Run a batch: resume what an earlier run began, and distribute the tasks over the workers of Dask."""
