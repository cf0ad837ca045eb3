"""The application's own log: the containers beside the proxy, read once and judged.

Rules
- Reads what it is given to read (`LogRef`), one log after the other under the given semaphore, each
  with its own time limit and its own bound in lines and octets. What a bound cuts off is a problem
  of the `Look`, never silence.
- Nothing of the outside world raises here: a log that cannot be read is a problem; when none could
  be read, the step FAILED.
- A line counts for the window by the runtime's time, or by its own where the runtime gives none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from triage.applog.digest import Digest, Limits, Reader
from triage.applog.match import Asked
from triage.applog.noise import Noise
from triage.cri import Joiner
from triage.evidence import AppEvidence, Look, Outcome, ProxyRequest, Target, Window
from triage.sources.errors import SourceError
from triage.sources.logs import LogRef, LogSource

_log = structlog.get_logger()

BATCH = 200
"""Lines between two turns of the event loop: a few milliseconds of work."""
LATE = 5.0
"""Seconds beyond the window's end after which no line of it is expected any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """How application logs are read; times in seconds."""

    noise: tuple[str, ...] = ()
    """Regular expressions, searched without regard to case: lines that are no failure."""
    noise_by_target: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """More of them, for the target of that name alone."""
    builtin_noise: bool = True
    """Whether the kinds of noise that triage knows by itself count as noise."""
    skew: float = 1.0
    """How far the proxy's clock and the application's may differ."""
    flush: float = 2.0
    """How long after a request its line may be written."""
    utc_offset: float = 0.0
    """Of times in lines that name no zone, where the runtime gives no time; east is positive."""
    timeout: float = 20.0
    """For reading one log."""
    max_lines: int = 200_000
    max_bytes: int = 64 * 1024 * 1024
    """Of one log."""
    keep: int = 60
    """Lines that go into the evidence."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of reading one log."""

    read: bool
    problems: tuple[str, ...]


class AppLooker:
    """Looks at the application containers' logs around a failed request."""

    def __init__(
        self,
        source: LogSource,
        settings: AppSettings | None = None,
        *,
        limit: asyncio.Semaphore | None = None,
        mask: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Check the noise patterns; ValueError names one that is no safe regular expression."""
        self._source = source
        self._settings = settings or AppSettings()
        self._limit = limit or asyncio.Semaphore(4)
        self._mask = mask
        self._clock = clock
        self._noise = self._noise_of(())
        self._noise_by_target = {
            name: self._noise_of(patterns)
            for name, patterns in self._settings.noise_by_target.items()
        }

    def _noise_of(self, patterns: tuple[str, ...]) -> Noise:
        return Noise((*self._settings.noise, *patterns), builtin=self._settings.builtin_noise)

    async def look(
        self,
        target: Target,
        window: Window,
        request: ProxyRequest | None,
        refs: Sequence[LogRef],
    ) -> AppEvidence:
        """What the application wrote in `window`; `request` is the proxy's line, if one is known.

        Reads each of `refs`, former instances (`previous`) included. RAN with problems when some
        could not be read or only in part, FAILED when none could, SKIPPED when there are none.
        """
        if not refs:
            look = Look(window=window, problems=("no application container to read",))
            return AppEvidence(look=look)
        asked_at = self._clock()
        settings = self._settings
        digest = Digest(
            target=target,
            window=window,
            asked=Asked.of(target, window, request, skew=settings.skew, flush=settings.flush),
            noise=self._noise_by_target.get(target.name, self._noise),
            mask=self._mask,
            utc_offset=settings.utc_offset,
            limits=Limits(keep=settings.keep),
        )
        async with asyncio.TaskGroup() as group:
            readers = [(ref, digest.reader(ref)) for ref in refs]
            tasks = [group.create_task(self._read(ref, window, reader)) for ref, reader in readers]
        outcomes = [task.result() for task in tasks]
        problems = [problem for outcome in outcomes for problem in outcome.problems]
        read = [ref.shown for ref, outcome in zip(refs, outcomes, strict=True) if outcome.read]
        result = digest.result()
        problems += result.problems
        _log.debug("app_log_read", target=target.name, lines=result.read, problems=len(problems))
        return AppEvidence(
            look=Look(
                outcome=Outcome.RAN if read else Outcome.FAILED,
                source=", ".join(ref.shown for ref in refs),
                window=window,
                problems=tuple(dict.fromkeys(problems)),
                asked_at=asked_at,
            ),
            lines=result.lines,
            read=result.read,
            containers=tuple(read),
            non_200=result.non_200,
            with_error=result.with_error,
            logs_access=result.logs_access,
        )

    async def _read(self, ref: LogRef, window: Window, reader: Reader) -> _Outcome:
        """Read one log into the digest."""
        problems: list[str] = []
        try:
            async with self._limit, asyncio.timeout(self._settings.timeout):
                problems += await self._pour(ref, window, reader)
        except SourceError as error:
            problems.append(f"{ref.shown}: {error}")
            return _Outcome(reader.lines > 0, tuple(problems))
        except TimeoutError:
            problems.append(
                f"{ref.shown}: not read to its end within {self._settings.timeout:g} s; "
                "raise the time limit or narrow the window"
            )
            return _Outcome(reader.lines > 0, tuple(problems))
        finally:
            reader.end()
        return _Outcome(True, tuple(problems))

    async def _pour(self, ref: LogRef, window: Window, reader: Reader) -> list[str]:
        """Read until the window is over or a bound is met; gives the problem of a bound."""
        joiner = Joiner()
        lines = octets = 0
        raws = self._source.read(ref, window.start, window.end)
        try:
            async for raw in raws:
                lines += 1
                octets += len(raw) + 1
                if lines > self._settings.max_lines or octets > self._settings.max_bytes:
                    return [
                        (
                            f"{ref.shown}: only the first {lines - 1} lines of the window "
                            "were read; raise the bounds on lines and octets or narrow the window"
                        )
                    ]
                for line in joiner.feed(raw):
                    reader.add(line)
                if reader.now > window.end + LATE:
                    break
                if lines % BATCH == 0:
                    await asyncio.sleep(0)
            return []
        finally:
            for line in joiner.flush():
                reader.add(line)
            close = getattr(raws, "aclose", None)
            if close is not None:
                await close()
