"""What the service does under hostile and heavy traffic, and when things break: experiments on a real server."""
