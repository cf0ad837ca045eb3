"""Lines of a log as HTML: escaped, with the variable parts of their template marked.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from triage.syslog.tables import WILDCARD
from triage.views.words import escaped, shortened

LONGEST = 600
"""Characters of a line that are shown."""


def html(text: str) -> str:
    """Return a stranger's text as HTML: control characters visible, markup as text."""
    return escape(escaped(text))


def parts(text: str, template: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a line and whether each is a variable one.

    The template's constant parts are looked for from left to right; where one is missing, nothing
    is marked. What stands before the first one is the line's header, when the template begins with
    a constant part.
    """
    constants = template.split(WILDCARD)
    found: list[tuple[str, bool]] = []
    at = 0
    for place, constant in enumerate(constants):
        last = place == len(constants) - 1
        start = text.rfind(constant, at) if last and constant else text.find(constant, at)
        if last and not constant:
            start = len(text)
        if start < 0:
            yield text, False
            return
        if start > at:
            found.append((text[at:start], place > 0))
        if constant:
            found.append((constant, False))
        at = start + len(constant)
    if at < len(text):
        found.append((text[at:], False))
    yield from found


def marked(text: str, template: str) -> str:
    """Return a line as HTML, its variable parts in `mark`."""
    if not template or WILDCARD not in template:
        return html(shortened(text, LONGEST))
    shown = 0
    made: list[str] = []
    for part, variable in parts(text, template):
        piece = shortened(part, max(3, LONGEST - shown))
        shown += len(piece)
        made.append(f"<mark>{html(piece)}</mark>" if variable else html(piece))
        if shown >= LONGEST:
            break
    return "".join(made)


def template_html(text: str) -> str:
    """Return a template's text as HTML, its variable parts in `mark`."""
    constants = (html(one) for one in shortened(text, LONGEST).split(WILDCARD))
    return f"<mark>{WILDCARD}</mark>".join(constants)
