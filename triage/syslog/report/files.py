"""Writing the figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from triage.syslog.report.data import ReportError
from triage.syslog.report.figures import Drawn, figures
from triage.syslog.report.model import ReportData


def write_figures(
    data: ReportData, folder: Path, drawn: Sequence[Drawn] | None = None
) -> tuple[Path, ...]:
    """Write every figure as SVG and PNG into a folder; return the files. Raises ReportError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"{folder}: {error.strerror or error}") from None
    written: list[Path] = []
    for one in figures(data) if drawn is None else drawn:
        for suffix, content in ((".svg", one.svg()), (".png", one.png())):
            path = folder / (one.name + suffix)
            _write(path, content)
            written.append(path)
    return tuple(written)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole: a reader sees the old one or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise ReportError(f"{path}: {error.strerror or error}") from None
