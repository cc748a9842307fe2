"""Probes observe: one module per question, each a function from a System to facts; `run` asks them all."""
