"""Batches that the service runs: kept in a database, each a child process with a folder of its own."""
