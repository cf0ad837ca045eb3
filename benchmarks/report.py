"""What came out: medians, spreads, and whether a target was met."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table.

    `values` are those of the rounds, all of one unit; `measured` is their median. The target is
    that it is at least (`at_least`) or at most (`at_most`) so much; with neither, the line informs.
    """

    what: str
    values: Sequence[float]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def measured(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None when there is none."""
        if self.at_least is not None:
            return self.measured >= self.at_least
        if self.at_most is not None:
            return self.measured <= self.at_most
        return None

    @property
    def target(self) -> str:
        if self.at_least is not None:
            return f">= {number(self.at_least)}"
        if self.at_most is not None:
            return f"<= {number(self.at_most)}"
        return ""


def number(value: float) -> str:
    """Three digits, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def ratios(these: Iterable[float], those: Iterable[float]) -> list[float]:
    """Round by round."""
    return [this / that for this, that in zip(these, those, strict=True)]


def progress(text: str) -> None:
    """A line for whoever waits."""
    print(f"  {text}", file=sys.stderr, flush=True)


def table(results: Sequence[Result]) -> str:
    """All lines, aligned."""
    verdicts = {True: "met", False: "MISSED", None: ""}
    rows = [("", "median", "rounds", "target", "")]
    for one in results:
        low, high = min(one.values), max(one.values)
        unit = f" {one.unit}" if one.unit else ""
        spread = f"{number(low)} .. {number(high)}" if len(one.values) > 1 else ""
        rows.append((one.what, number(one.measured) + unit, spread, one.target, verdicts[one.met]))
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    lines = []
    for row, note in zip(rows, ["", *(one.note for one in results)], strict=True):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4], strict=True)]
        lines.append("  ".join([*cells, row[4].ljust(widths[4]), note]).rstrip())
    return "\n".join(lines)
