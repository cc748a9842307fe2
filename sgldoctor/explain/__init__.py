"""From an error text or a log to its cause: lines, patterns, ranking, what the tables know of it."""
