"""What goes out, whoever asks: the schema of an answer, its presentation, and every format it can be written in."""
