"""From the lines of an application's containers to what they say about a failed request. Pure.

    cri.Line -> records.Grouper -> Record -> formats.parse -> Parsed -> noise, score, match
             -> digest.Digest -> AppLine

Nothing in here reads a file, a socket or a clock, and nothing raises for any text.
"""
