"""What a file says before its pixels: its format, its scale, its metadata, its directories."""
