"""Slides of any format, read window by window, with their scale."""
