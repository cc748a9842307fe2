"""Measurements for people; nothing here is a test, and no test waits for a time."""
