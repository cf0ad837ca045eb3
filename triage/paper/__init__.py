"""The source paper's cases, decided again: `triage reproduce paper`.

M. Sakai, M. Hirao, T. Kushida (Tokyo University of Technology, 2025) on naming a failure's cause by
matching the times of metrics and of logs. `cases.json` has the facts of its tables 1 to 4 and logs
1 to 3; `cases` reads them, `gather` makes evidence of them by the parsers that also read real logs,
and `reproduce` prints the tables: the paper's figures, ours by its rules, ours by default.
"""
