"""The method itself, from bytes to analysis: no HTTP, no settings, no logging, no torch."""
