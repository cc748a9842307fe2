"""Making the generated tables of rules/knowledge anew from the configured package index.

Run as ``sgldoctor rules refresh``; no table is read from a network anywhere else. Every table carries when and from
what it was made.
"""
