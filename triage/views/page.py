"""An incident as one page: HTML with its style and its drawing inside, and nothing else.

Rules
- It asks for nothing: no script, no font, no image from elsewhere; a policy in its head forbids
  them, whatever slips in. It can be mailed, kept and printed.
- Whatever was taken from logs, names and answers is escaped twice: control characters become
  visible (`words.escaped`), then HTML's own characters (`html.escape`).
- What the drawing shows, the table beside it says in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from triage.evidence import Evidence, Look, Outcome, Proof, StepResult, Verdict, Window
from triage.recording import Recording
from triage.views.drawing import LEGEND, STYLE, drawing
from triage.views.timeline import Level, Timeline, table, timeline
from triage.views.words import (
    LAYERS,
    SURE,
    date_time,
    duration,
    escaped,
    relative,
    saw,
    span,
    time_of_day,
    unseen,
)

ROWS = 400
"""Of the table at most."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing may be asked for from anywhere."""

_LIGHT = (
    "--paper:#fff;--card:#f6f7f9;--ink:#16191d;--soft:#5b6470;--line:#d5dae0;--bad:#c21f2f;"
    "--warning:#a35a00;--good:#17803d;--window:#2563c9;--mark:#fff3c4;"
)
_DARK = (
    "--paper:#14171b;--card:#1d2228;--ink:#e9edf1;--soft:#a0a9b4;--line:#38414b;--bad:#ff6b74;"
    "--warning:#f2b04c;--good:#5bd183;--window:#6aa2ff;--mark:#46390f;"
)

PAGE_STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 1180px; padding: 24px 28px 48px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 27px; line-height: 1.25; margin: 2px 0 8px; overflow-wrap: anywhere; }}
h2 {{ font-size: 18px; margin: 34px 0 10px; }}
p {{ margin: 0 0 10px; }}
.kicker, .soft {{ color: var(--soft); }}
.kicker {{ margin: 0; overflow-wrap: anywhere; }}
.summary {{ font-size: 17px; max-width: 75ch; overflow-wrap: anywhere; }}
.chips {{ display: flex; flex-wrap: wrap; gap: 8px; margin: 0 0 14px; padding: 0;
  list-style: none; }}
.chips li {{ border: 1px solid var(--line); border-radius: 999px; padding: 1px 12px;
  background: var(--card); }}
.chips .bad {{ border-color: var(--bad); color: var(--bad); font-weight: 600; }}
dl.facts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr));
  gap: 4px 24px; margin: 0; }}
dl.facts div {{ display: flex; gap: 8px; border-top: 1px solid var(--line); padding: 4px 0; }}
dt {{ color: var(--soft); min-width: 76px; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; padding: 8px; }}
.scroll svg {{ min-width: 760px; display: block; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 8px 0 0;
  padding: 0; color: var(--soft); font-size: 13px; }}
.legend li {{ display: flex; align-items: center; gap: 6px; }}
ol.steps {{ list-style: none; padding: 0; margin: 0; }}
ol.steps > li {{ border-left: 4px solid var(--line); background: var(--card); margin: 0 0 10px;
  padding: 10px 16px; border-radius: 0 8px 8px 0; break-inside: avoid; }}
ol.steps > li.decided {{ border-left-color: var(--bad); }}
ol.steps > li.failed {{ border-left: 4px dashed var(--warning); }}
ol.steps > li.skipped {{ opacity: .8; background: none; padding-block: 4px; }}
ol.steps h3 {{ font-size: 15px; margin: 0 0 2px; }}
ol.steps p {{ overflow-wrap: anywhere; margin: 0 0 4px; }}
.badge {{ font-weight: 600; font-size: 12px; border-radius: 4px; padding: 1px 7px; margin-left: 8px;
  border: 1px solid currentColor; white-space: nowrap; }}
.badge.bad {{ color: var(--bad); }} .badge.warning {{ color: var(--warning); }}
.small {{ font-size: 13px; color: var(--soft); }}
figure.line {{ margin: 8px 0 0; }}
figure.line figcaption {{ font-size: 13px; color: var(--soft); overflow-wrap: anywhere; }}
figure.line.deciding figcaption {{ color: var(--bad); font-weight: 600; }}
pre {{ margin: 2px 0 0; padding: 7px 10px; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 12.5px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }}
.deciding pre {{ background: var(--mark); border-color: var(--bad); }}
.unknowns {{ border: 1px dashed var(--warning); border-radius: 8px; padding: 10px 16px; }}
.unknowns ul {{ margin: 4px 0 0; padding-left: 22px; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px; }}
th, td {{ text-align: left; vertical-align: top; padding: 4px 12px 4px 0;
  border-bottom: 1px solid var(--line); }}
th {{ color: var(--soft); font-weight: 600; }}
td {{ overflow-wrap: anywhere; }}
td.short {{ white-space: nowrap; }}
td.time {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
tr.deciding td {{ background: var(--mark); }}
footer {{ margin-top: 34px; color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }}
@media print {{ :root {{ color-scheme: light; {_LIGHT} }}
  body {{ max-width: none; padding: 0; font-size: 9.5pt; }}
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  .scroll {{ overflow: visible; border: 0; padding: 0; }} .scroll svg {{ min-width: 0; }}
  tr, figure, .unknowns {{ break-inside: avoid; }} h2 {{ break-after: avoid; }} }}
"""


def page(recording: Recording) -> str:
    """Return the whole page."""
    title = recording.record.title or f"incident {recording.record.id}"
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(recording.record.target)}: {_text(title)}</title>",
            f"<style>{PAGE_STYLE}{STYLE}</style></head><body>",
            *_body(recording, title),
            "</body></html>\n",
        )
    )


def _text(text: str) -> str:
    return escape(escaped(text))


def _body(recording: Recording, title: str) -> Iterator[str]:
    record, last = recording.record, recording.standing
    yield "<header>"
    yield f'<p class="kicker">{_text(record.target)} · incident {_text(record.id)}</p>'
    yield f"<h1>{_text(title)}</h1>"
    yield from _chips(recording)
    if last is None:
        yield '<p class="summary">Nothing was looked at yet.</p></header>'
        yield from _history(recording)
        return
    yield f'<p class="summary">{_text(last.verdict.summary)}</p>'
    yield from _facts(recording, last.evidence, last.verdict)
    yield "</header><main>"
    drawn = timeline(recording)
    if drawn is not None:
        yield from _drawn(drawn)
    yield from _steps(last.evidence, last.verdict)
    yield from _unknowns(last.verdict)
    yield from _history(recording)
    if drawn is not None:
        yield from _table(drawn)
    yield "</main>"
    yield (
        f"<footer>Written by {_text(recording.product)}. Times are UTC; T is the first bad"
        " observation. Secrets are masked.</footer>"
    )


def _chips(recording: Recording) -> Iterator[str]:
    record = recording.record
    yield '<ul class="chips">'
    lasts = record.closed is None
    yield f"<li{' class=bad' if lasts else ''}>{_text(record.status)}</li>"
    if record.severity:
        yield f"<li>severity: {_text(record.severity)}</li>"
    if record.confidence:
        yield f"<li>confidence: {_text(record.confidence)}</li>"
    if record.outages > 1:
        yield f"<li>{record.outages} outages joined</li>"
    yield "</ul>"


def _facts(recording: Recording, evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    anomaly = evidence.anomaly
    record = recording.record
    cause = f"{verdict.cause}: {verdict.reason}" if verdict.reason else str(verdict.cause)
    facts = (
        ("cause", cause),
        ("at fault", verdict.object),
        ("opened", date_time(record.opened)),
        ("lasted", duration(recording)),
        ("site", f"{evidence.target.method} {evidence.target.url or evidence.target.path}"),
        ("trigger", anomaly.trigger.replace("_", " ")),
        ("last good", relative((recording.outage or anomaly).last_good, anomaly.time)),
        ("policy", str(verdict.policy)),
    )
    yield '<dl class="facts">'
    for name, value in facts:
        if value:
            yield f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>"
    yield "</dl>"


def _drawn(drawn: Timeline) -> Iterator[str]:
    yield '<h2>Timeline</h2><div class="scroll">'
    yield drawing(drawn)
    yield '</div><ul class="legend">'
    for picture, meaning in LEGEND:
        yield f"<li>{picture}{escape(meaning)}</li>"
    yield "</ul>"


# The cascade


def _steps(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    yield '<h2>What each step saw</h2><ol class="steps">'
    for result in verdict.steps:
        look: Look = getattr(evidence, result.step.value).look
        proofs = [proof for proof in verdict.proofs if proof.step is result.step]
        yield from _step(result, look, proofs, evidence.anomaly.time)
    yield "</ol>"


def _step(result: StepResult, look: Look, proofs: Iterable[Proof], zero: float) -> Iterator[str]:
    proofs = list(proofs)
    decided = any(proof.deciding for proof in proofs)
    kind = result.outcome.value + (" decided" if decided else "")
    yield f'<li class="{kind}"><h3>{LAYERS[result.step]}{_badge(result.outcome, decided)}</h3>'
    yield f"<p>{_text(saw(result))}</p>"
    for problem in unseen(result, look):
        yield f'<p class="small">could not see: {_text(problem)}</p>'
    details = [_window(result.window, zero)] if result.window else []
    if result.lag is not None:
        details.append(f"lag {span(result.lag)}")
    if look.source:
        details.append(f"asked: {look.source}")
    if details:
        yield f'<p class="small">{_text("; ".join(details))}</p>'
    for proof in proofs:
        yield _proof(proof, zero)
    yield "</li>"


def _badge(outcome: Outcome, decided: bool) -> str:
    if outcome is Outcome.FAILED:
        return '<span class="badge warning">could not look</span>'
    if decided:
        return '<span class="badge bad">decided it</span>'
    return ""


def _window(window: Window, zero: float) -> str:
    reason = f" ({window.reason})" if window.reason else ""
    return f"window {relative(window.start, zero)} to {relative(window.end, zero)}{reason}"


def _proof(proof: Proof, zero: float) -> str:
    when = "" if proof.time is None else f"{relative(proof.time, zero)} · "
    decided = "decided it · " if proof.deciding else ""
    kind = "line deciding" if proof.deciding else "line"
    at = "" if proof.time is None else f" · {time_of_day(proof.time)}"
    return (
        f'<figure class="{kind}"><figcaption>{decided}{_text(when + proof.source + at)}'
        f"</figcaption><pre>{_text(proof.text)}</pre></figure>"
    )


def _unknowns(verdict: Verdict) -> Iterator[str]:
    if not verdict.unknowns:
        return
    yield '<h2>What could not be seen</h2><div class="unknowns">'
    yield "It might change the verdict:<ul>"
    for one in verdict.unknowns:
        yield f"<li>{_text(one)}</li>"
    yield "</ul></div>"


def _history(recording: Recording) -> Iterator[str]:
    rows: list[tuple[float, str]] = [
        (
            look.verdict.decided_at,
            f"verdict: {look.verdict.title} ({SURE[look.verdict.confidence]})",
        )
        for look in recording.looks
    ]
    rows += [(note.time, note.text) for note in recording.notes]
    if not rows:
        return
    zero = recording.record.opened
    yield "<h2>Verdicts, and what was done</h2>"
    yield "<table><thead><tr><th>From T</th><th>Time</th><th>What</th></tr></thead><tbody>"
    for time, text in sorted(rows, key=lambda row: row[0]):
        yield (
            f'<tr><td class="time">{relative(time, zero)}</td><td class="time">{date_time(time)}'
            f"</td><td>{_text(text)}</td></tr>"
        )
    yield "</tbody></table>"
    if recording.left_out:
        yield f'<p class="small">{recording.left_out} looks in between were left out.</p>'


def _table(drawn: Timeline) -> Iterator[str]:
    rows, left_out = table(drawn, ROWS)
    yield "<h2>All entries of the timeline</h2>"
    yield "<table><thead><tr><th>From T</th><th>Time</th><th>Layer</th><th></th><th>What</th>"
    yield "</tr></thead><tbody>"
    for when, layer, mark in rows:
        kind = ' class="deciding"' if mark.deciding else ""
        word = "" if mark.level is Level.INFO else mark.level.name.lower()
        yield (
            f'<tr{kind}><td class="time">{when}</td><td class="time">{time_of_day(mark.time)}</td>'
            f'<td class="short">{_text(layer)}</td><td class="short">{word}</td>'
            f"<td>{_text(mark.text)}</td></tr>"
        )
    yield "</tbody></table>"
    if left_out:
        yield f'<p class="small">{left_out} more entries, none of them deciding.</p>'
