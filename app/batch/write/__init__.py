"""Results of slides and cohorts: tables, GeoJSON, pictures and pages."""
