"""Open slides of any format, read parts of them at any scale, and identify their files."""
