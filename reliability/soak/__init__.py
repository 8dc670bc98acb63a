"""The soak: good and bad requests at the same time, for half an hour, each of which gets exactly its right answer."""
