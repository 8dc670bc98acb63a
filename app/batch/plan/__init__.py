"""What is decided about a slide before its tiles are analysed: tissue, grid, regions, patient, stain."""
