"""What a cell looks like, as numbers that are found without labels."""
