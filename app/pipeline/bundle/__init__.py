"""A trained bundle: its files are loaded and checked, and people name its clusters."""
