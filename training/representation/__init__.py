"""What a cell looks like, in numbers that are learned without labels."""
