"""Incidents for people: the terminal (`tree`), one page (`page`), and JSON (`data`)."""
