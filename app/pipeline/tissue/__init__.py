"""What a tile consists of: haematopoietic tissue, fat, bone and stroma, red cells, background."""
