"""Experiments on a real server: hostile and heavy traffic, and faults that are caused on purpose."""
