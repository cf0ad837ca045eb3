"""Measurements of the agent against its targets; `python -m benchmarks --help`.

How it is measured, and what came out, is in docs/performance.md.
"""
