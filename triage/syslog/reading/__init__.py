"""Log files -> rows of `LINES`: blocks of whole lines, headers, years, and following files.

plan = plan_years(path)                      once for each file: years, time zone, host
for block in read_blocks(path): ...          or spans(path), and read_span(span) on any worker
    read_lines(block, plan).frame            or parse_block(data, plan, offset=, before=)
"""
