"""What is unusual in a fleet's logs: windows of rare edges, silences, restarts, and what they are.

`detect` judges a whole corpus (`decide` holds the rules as a table); `History`, `update` and
`findings_in` judge one host's last minutes.
"""

from triage.syslog.detect.analyse import boot_templates, detect, with_lines
from triage.syslog.detect.history import History, findings_in, forget, history_of, update
from triage.syslog.detect.settings import DetectSettings

__all__ = [
    "DetectSettings",
    "History",
    "boot_templates",
    "detect",
    "findings_in",
    "forget",
    "history_of",
    "update",
    "with_lines",
]
