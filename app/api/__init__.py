"""HTTP: routes, schemas, problems, middleware."""
