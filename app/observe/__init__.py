"""What is told about the running service: metrics and logs; never a pixel, a file name or a query."""
