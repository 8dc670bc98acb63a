"""What goes out over HTTP, from the shell and from batches: the schema of an answer, its values, and every format."""
