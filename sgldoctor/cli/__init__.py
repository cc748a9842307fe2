"""One small module per command: read the options, call one function, choose a report, return an exit code."""
