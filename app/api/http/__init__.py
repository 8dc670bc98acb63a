"""What every endpoint shares: keys, limits, problems, forms, the audit log, the document of the API."""
