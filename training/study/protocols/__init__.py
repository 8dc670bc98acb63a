"""Protocols: for each evaluation, which data are used and how the systems are run and scored."""
