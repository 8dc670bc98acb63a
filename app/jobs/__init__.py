"""Batches that the service runs: each is a row of a database, a folder, and a child process that fills the folder."""
