"""Progress on a terminal: a bar with rate and remaining time; nothing where nobody watches.

It is drawn on standard error, so that output can be piped while it runs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class TerminalProgress(AbstractContextManager["TerminalProgress"]):
    """A `triage.syslog.progress.Progress` that draws one bar for the stage under way."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._drawn = not quiet and self._console.is_terminal

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Start a bar."""
        self.end()
        if not self._drawn:
            return
        counted = DownloadColumn() if unit == "B" else MofNCompleteColumn()
        rate = TransferSpeedColumn() if unit == "B" else TextColumn(unit)
        self._bar = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            counted,
            rate,
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(stage, total=total)
        self._bar.start()

    def advance(self, n: int) -> None:
        """Move it."""
        if self._bar is not None:
            self._bar.advance(self._task, n)

    def end(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Self:
        """Be ready."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self.end()
