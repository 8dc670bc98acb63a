"""Faults that are caused on purpose, each with the promise that the service makes for it."""
