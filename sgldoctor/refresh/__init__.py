"""Making the generated tables of rules/knowledge anew from the configured package index.

Run by hand or on a schedule as ``python -m sgldoctor.refresh``; nothing else in the program uses the network
of this room. Every table carries when and from what it was made.
"""
