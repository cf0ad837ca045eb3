r"""How sure it is that a line tells of a failure of this application: 0 to 1, with a reason.

Weights
    crash                0.95   a panic, a fatal signal, out of memory, an uncaught exception
    worker lost          0.90   a worker timed out, was killed, failed to boot
    request failed       0.90   the framework's own line about an exception in handling a request
    trace                0.80   a stack trace of an exception
    resource             0.75   a database, a pool, a descriptor, a disk that was not to be had
    level                0.85   fatal, alert, emergency; 0.80 critical; 0.60 error; 0.20 warning
    stopping             0.60   the application shuts down: while it does, it answers nobody
    starting             0.30   it starts: it was away before
    error word           0.40   "failed", "exception", "error": as words, and said of something
    access               0.95   the probed request itself answered 5xx; 0.85 by another bad status
                         0.70   a request that is likely it answered 5xx; 0.40 by another bad one
                         0.40   somebody else's request answered 5xx; 0 by 4xx: that is theirs

The highest weight counts. Then
- "retrying", "will retry", "transient" halve what a word, a resource or a level says: what is tried
  again has not failed yet;
- at level warning 0.6 of it count; a level below bounds traces at 0.40 and the rest at
  0.25, for it was handled. States that last (crash, stopping, starting) keep their weight;
- a line with the probed request's id gets 0.15 more; one about another request half.

What is no error word: part of a path, a name or a URL (error_rate, /errors, error.html), none of
them ("0 errors", "no error", "error=null", "errors: []"), errorless.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIMIT = 2000
"""Characters of a message that are looked at."""

CRASH, WORKER, REQUEST, TRACE, RESOURCE = 0.95, 0.90, 0.90, 0.80, 0.75
STOPPING, STARTING, WORD = 0.60, 0.30, 0.40
LEVEL = {"fatal": 0.85, "alert": 0.85, "critical": 0.80, "error": 0.60, "warning": 0.20}
OWN_5XX, OWN_BAD, LIKELY_5XX, LIKELY_BAD, OTHER_5XX = 0.95, 0.85, 0.70, 0.40, 0.40
CLIENT_CLOSED = 0.20
"""nginx's 499: whoever asked went away before the answer."""
OWN_ID = 0.15
HANDLED_TRACE, HANDLED = 0.40, 0.25
WARNED = 0.6


@dataclass(frozen=True, slots=True)
class Score:
    """A weight and its reason."""

    value: float = 0.0
    why: str = ""
    lasting: bool = False
    """It tells of a state (crashed, stopping), which goes on after the line."""


NOTHING = Score()


@dataclass(frozen=True, slots=True)
class _Rule:
    weight: float
    why: str
    regex: re.Pattern[str]
    lasting: bool = False


def _rule(weight: float, why: str, *forms: str, lasting: bool = False) -> _Rule:
    return _Rule(weight, why, re.compile("|".join(forms), re.IGNORECASE), lasting)


_RULES = (
    _rule(
        CRASH, "out of memory",
        r"\bout of memory\b|\boutofmemory(?:error|exception)?\b|\bmemoryerror\b|\boom[- ]?kill",
        r"\bcannot allocate memory\b|\bjavascript heap\b|\bgc overhead limit exceeded\b"
        r"|\ballowed memory size\b|\bstd::bad_alloc\b|\bNoMemoryError\b",
        lasting=True,
    ),
    _rule(
        CRASH, "crash",
        r"\bsegmentation fault\b|\bsigsegv\b|\bsigabrt\b|\bsigbus\b|\bsigill\b|\bcore dumped\b",
        r"\bfatal python error\b|\bfatal error: (?!uncaught)|\bstack ?overflow(?:error)?\b",
        r"\bpanicked at\b|\A(?:.{0,120}\s)?panic: |\bA fatal error has been detected\b"
        r"|\babnormal(?:ly)? terminat|\bterminate called after\b|\bassertion .{0,80} failed\b",
        r"\buncaught ?exception\b|\bunhandled exception\b|\bexception in thread\b"
        r"|\bunhandledpromiserejection\b|\bphp fatal error\b|\bfatal error: uncaught\b",
        lasting=True,
    ),
    _rule(
        WORKER, "worker lost",
        r"\bworker timeout\b|\bworker (?:\(pid:? ?\d+\)|process|\d+) .{0,40}?"
        r"(?:was sent|exited|terminated|died|killed|got) .{0,20}?(?:sig|signal|code|unexpectedly)",
        r"\bworker (?:process )?(?:failed to boot|failed to start|died|crashed)\b"
        r"|\bchild \d+ exited on signal\b|\bchild process \[?\d+\]? died\b"
        r"|\bapplication startup failed\b|\bapplication run failed\b"
        r"|\breached max_?children\b|\bexited on signal [1-9]",
        lasting=True,
    ),
    _rule(
        REQUEST, "a request failed with an exception",
        r"\bexception in asgi application\b|\berror handling request\b|\bexception on /\S* \[",
        r"\binternal server error\b(?!s? (?:rate|count|total))|\bhttp: panic serving\b",
        r"\bservlet\.service\(\) .{0,200}?threw exception\b|\bunhandled error in request\b"
        r"|\bunhandled exception has occurred while executing the request\b"
        r"|\bhttp request to /\S* failed, error id\b",
        r"\brecovered from panic\b|\[recovery\].{0,60}panic",
    ),
    _rule(
        RESOURCE, "what it depends on failed",
        r"\bconnection refused\b|\beconnrefused\b|\bconnectionrefusederror\b|\bno route to host\b",
        r"\b(?:could not|cannot|can't|unable to|failed to) (?:connect|reach|resolve|acquire|obtain"
        r"|open|bind|allocate|fork)\b",
        r"\b(?:connection )?pool (?:exhausted|timeout|timed out|is full)\b|\bqueuepool limit\b"
        r"|\bconnection is not available, request timed out\b|\btoo many connections\b",
        r"\btoo many open files\b|\bemfile\b|\bno space left on device\b|\benospc\b"
        r"|\bread-only file system\b|\binput/output error\b|\bresource temporarily unavailable\b",
        r"\bname or service not known\b|\btemporary failure in name resolution\b|\benotfound\b"
        r"|\bgetaddrinfo\b|\bno such host\b",
        r"\bdeadlock (?:detected|found)\b|\block wait timeout\b|\bi/o timeout\b"
        r"|\bdeadline exceeded\b|\bserver has gone away\b|\bserver closed the connection\b",
        r"\bcircuit ?breaker .{0,30}open\b|\bthread pool .{0,30}(?:exhausted|rejected|full)\b"
        r"|\brejectedexecutionexception\b|\bconnection (?:reset|lost|timed out)\b|\beconnreset\b",
    ),
    _rule(
        STOPPING, "the application stops",
        r"\bshutting down\b|\bshutdown (?:initiated|signal|complete|requested|in progress)\b"
        r"|\bgraceful(?:ly)? (?:shut|stop|exit)\w*|\bapplication shutdown\b",
        r"\b(?:received|caught|handling|got|exiting on|sent)\b.{0,20}?\b(?:signal|sigterm|sigint"
        r"|sigquit|sigkill|signal: ?\w+|term|interrupt)\b",
        r"\bfinished server process\b|\bworker exiting\b|\bstopping (?:server|service|application"
        r"|the server|container|daemon)\b|\bserver (?:stopped|is stopping|closed)\b|\bexiting\.*\Z"
        r"|\bterminated\Z|\bclosing spring context\b|\bclosing .{0,40}applicationcontext\b",
        lasting=True,
    ),
    _rule(
        STARTING, "the application starts",
        r"\bstarted server process\b|\bapplication startup complete\b|\bstarting gunicorn\b"
        r"|\bbooting worker\b|\bstarted \w+ in [\d.]+ seconds\b|\btomcat started on\b"
        r"|\blistening (?:at|on)\b|\bserver (?:started|is (?:running|listening))\b"
        r"|\bnow listening on\b|\bstart worker process\b|\bready to accept connections\b",
        lasting=True,
    ),
)  # fmt: skip

_TRIGGERS = (
    "err", "exce", "fail", "fatal", "panic", "memor", "oom", "alloc", "sig", "fault", "dump",
    "overflow", "assert", "uncaught", "unhandled", "worker", "child", "refused", "route", "could",
    "can't", "cannot", "unable", "pool", "too many", "emfile", "space", "enosp", "read-only",
    "temporar", "known", "enotf", "getaddr", "such host", "deadlock", "lock wait", "timeout",
    "timed", "deadline", "gone", "circuit", "reject", "reset", "lost", "econn", "shut", "grace",
    "sent", "stop", "exit", "clos", "start", "listen", "boot", "ready", "heap", "gc over",
    "traceback", "rror", "abort", "crash", "died", "killed", "term", "invalid", "denied",
    "unavail", "broken", "corrupt", "missing", "reach",
)  # fmt: skip
"""One of these is in every text that a rule or a word fits: looking for them is quicker."""
_WORDS = re.compile(
    r"\b(errors?|exceptions?|failed|failure|failures|fails|fatal|aborted|crash(?:ed)?|killed|died"
    r"|timed ?out|timeout|unavailable|refused|denied|corrupt(?:ed)?|broken)\b",
    re.IGNORECASE,
)
_EXCEPTION_NAME = re.compile(r"\b[A-Z]\w*(?:Error|Exception)\b(?=:|\(|\s|\Z)")
_NO_WORDS = re.compile(
    r"/\S+"  # URLs and paths
    r"|(?<!\S)\S*?[a-zA-Z0-9](?:_|\.)[a-zA-Z]\S*"  # names: error_rate, app.errors
    r"|\b\w+-(?:errors?|failed|failure)\b|\b(?:errors?|failed|failure)-\w+"
    r"|\b(?:0|no|zero|without|any|non|not) (?:\w+ )?(?:errors?|failures?|exceptions?|failed)\b"
    r"|\b(?:errors?|failures?|exceptions?|failed|timeout|timeouts)\"?\s*[=:]\s*"
    r"(?:\"\"|''|0(?:\.0+)?\b|null\b|none\b|false\b|nil\b|-(?=\s|\Z)|\[\]|\{\}|<nil>"
    r"|\d+\s*m?s\b|n/a)"
    r"|\b(?:errors?|failures?|exceptions?|failed)\"? ?[=(:]? ?(?:is |was |were |are |of )?"
    r"0\b(?!\.\d*[1-9])"
    r"|\berrors? (?:rate|count|budget|handler|handling|page|log|logs|reporting|code 0)\b"
    r"|\btimeouts? (?:of|set|is|=)\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(
    r"\bretry(?:ing)?\b|\bwill (?:be )?retr|\btransient\b|\battempt \d+ ?(?:/|of)|\bbacking off\b"
    r"|\breconnecting\b|\bnext attempt\b",
    re.IGNORECASE,
)
_QUIET = frozenset({"trace", "debug", "info", "notice"})


def text_score(
    message: str, level: str | None = None, *, trace: str = "", final: str = "", failure: str = ""
) -> Score:
    """Score a line of text.

    `trace` is not "" when a stack trace belongs to it, `final` the exception that it ends in,
    `failure` what the line's own error fields say.
    """
    said = message[:LIMIT]
    extra = (final or failure)[:LIMIT]
    best = _by_level(level)
    if trace or extra or _triggers(said.lower()):
        for found in (
            _by_rule(said),
            _by_rule(extra),
            _by_trace(trace, extra),
            _by_word(said, extra),
        ):
            best = max(best, found, key=lambda score: score.value)
    return _tempered(best, said, level)


def _triggers(text: str) -> bool:
    return any(word in text for word in _TRIGGERS)


def _by_level(level: str | None) -> Score:
    weight = LEVEL.get(level or "", 0.0)
    return Score(weight, f"level {level}") if weight else NOTHING


def _by_rule(text: str) -> Score:
    """The heaviest rule that fits; the rules are in the order of their weight."""
    if not text:
        return NOTHING
    for rule in _RULES:
        match = rule.regex.search(text)
        if match is not None:
            said = " ".join(match[0].split())[:60]
            return Score(rule.weight, f'{rule.why}: "{said}"', rule.lasting)
    return NOTHING


def _by_trace(trace: str, final: str) -> Score:
    if not trace:
        return Score(WORD + 0.2, f'exception "{final[:60]}"') if final else NOTHING
    if trace == "go":
        return Score(CRASH, "crash: a Go panic", lasting=True)
    return Score(TRACE, f'stack trace of "{final[:60]}"' if final else "stack trace")


def _by_word(message: str, final: str) -> Score:
    match = _WORDS.search(message) and _WORDS.search(_NO_WORDS.sub(" ", message))
    match = match or _EXCEPTION_NAME.search(message) or _EXCEPTION_NAME.search(final)
    return Score(WORD, f'the word "{match[0]}"') if match else NOTHING


def _tempered(best: Score, message: str, level: str | None) -> Score:
    """Less for what is tried again and for what its own writer found harmless."""
    if best.lasting or not best.value:
        return best
    value, why = best.value, best.why
    if level in _QUIET:
        bound = HANDLED_TRACE if value == TRACE else HANDLED
        value, why = min(value, bound), f"{why}, at level {level}"
    elif level == "warning" and value != TRACE:
        value = max(value * WARNED, LEVEL["warning"])
    if _AGAIN.search(message):
        value, why = value / 2, f"{why}, to be tried again"
    return Score(round(value, 3), why)
