"""One protocol for each thing that is measured."""
