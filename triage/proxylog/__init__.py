"""Envoy's access log: what a line says, what became of its request, and whose request it was.

`formats` reads lines, `flags` says what their response flags and details mean, `match` finds the
monitor's own request, `bulk` does the first two over whole files. Nothing in here does more I/O
than reading the file that it is given.
"""
