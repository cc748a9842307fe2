"""One module per format, all fed by the same Report."""
