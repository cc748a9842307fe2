"""The rule database: problems and tables, read from YAML and JSON, checked before use."""
