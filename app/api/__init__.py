"""HTTP: endpoints, errors as problems, limits on requests, and middleware."""
