"""What came out, for people and for programs: one page, its figures, JSON, graphs.

`ReportData` is filled (`collect.report_data`), then written as a page (`report_page`), as JSON
(`report_json`, read back by `read_report`) and as files of figures (`write_figures`).

What draws is imported where it draws: a graph as DOT, or a report's JSON, needs no matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from triage.syslog.report.data import Report, ReportError, read_report, report_json
from triage.syslog.report.model import ReportData

if TYPE_CHECKING:
    from triage.syslog.report.figures import Drawn

__all__ = [
    "Report",
    "ReportData",
    "ReportError",
    "read_report",
    "report_figures",
    "report_json",
    "report_page",
    "write_figures",
]


def report_figures(data: ReportData) -> tuple[Drawn, ...]:
    """Return all figures: for `report_page` and `write_figures`, when both are wanted."""
    from triage.syslog.report.figures import figures  # noqa: PLC0415 - matplotlib

    return figures(data)


def report_page(data: ReportData, drawn: Sequence[Drawn] | None = None) -> str:
    """Return the page as text."""
    from triage.syslog.report.page import report_html  # noqa: PLC0415 - matplotlib

    return report_html(data, drawn)


def write_figures(
    data: ReportData, folder: Path, drawn: Sequence[Drawn] | None = None
) -> tuple[Path, ...]:
    """Write every figure as SVG and PNG into a folder; return the files. Raises ReportError."""
    from triage.syslog.report.files import write_figures as write  # noqa: PLC0415 - matplotlib

    return write(data, folder, drawn)
