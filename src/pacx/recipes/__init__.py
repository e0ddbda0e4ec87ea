"""A run is a named Python function that returns a fully typed configuration."""
