"""Competitors, one file each."""
