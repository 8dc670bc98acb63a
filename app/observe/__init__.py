"""What operators see of the running service: its log and its metrics."""
