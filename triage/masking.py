"""Secrets out of text: evidence is stored, sent and printed, and log lines are full of credentials.

Rules
- What is masked: values of fields that are named like secrets (`password=`, `"api_key": "..."`,
  `--token x`, `<secret>x</secret>`, query strings), Authorization and its relatives, cookies'
  values, passwords in URLs, private keys, and what is a credential by its very form (JWT, keys of
  AWS, Google, GitHub, GitLab, Slack, ...).
- What stays: the names, so that a reader sees that a secret was there and which; request ids,
  UUIDs, addresses, ordinary text. In doubt (`password: ` in a sentence) a word is masked.
- Idempotent: masked text comes back as it is.
- Linear in the length of the text, whatever it holds: a pattern begins with something that a long
  run of one character cannot repeat, its repetitions are possessive over disjoint sets, and nothing
  that can fail follows an unbounded one.
- Fast on what holds no secret: a rule runs only when one of its trigger words is in the text.

Pure. `mask` is the whole interface.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

MASK: Final = "***"
"""What stands in a secret's place."""

_PASSES = 4
"""Most passes. One does, but where what one rule leaves is what another one looks for."""

_FLAGS = re.ASCII | re.IGNORECASE | re.VERBOSE


def mask(text: str) -> str:
    """Return `text` with every secret in it replaced by `MASK`; text without one is unchanged."""
    for _ in range(_PASSES):
        masked = _once(text)
        if masked == text:
            break
        text = masked
    return text


def _once(text: str) -> str:
    low = text.lower()
    for triggers, rule in _RULES:
        for trigger in triggers:
            if trigger in low:
                text = rule(text)
                break
    return text


# Private keys

_PEM = re.compile(
    r"(-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY(?:\ BLOCK)?-----)"
    r"(?:[^-]|-(?!----))*"  # up to the next armour line, or all there is
    r"(-----END\ [A-Z0-9 ]{0,40}-----)?",
    re.ASCII | re.VERBOSE,
)
_BASE64_LINE = re.compile(r"[ \t]*([A-Za-z0-9+/]{60,80}={0,2})\s*", re.ASCII)
"""A line that is nothing else: of a private key, when a log was taken apart line by line."""


def _pem(text: str) -> str:
    return _PEM.sub(lambda found: f"{found[1]}{MASK}{found[2] or ''}", text)


def _looks_random(text: str) -> bool:
    """Tell base64 of random octets from hexadecimal digits and from words."""
    return (
        any(char.isdigit() for char in text)
        and any(char.islower() for char in text)
        and any(char.isupper() for char in text)
    )


def _key_line(text: str) -> str:
    found = _BASE64_LINE.fullmatch(text) if 60 <= len(text) <= 100 else None
    return text.replace(found[1], MASK) if found and _looks_random(found[1]) else text


# Credentials that are known by their form

_FORMS = re.compile(
    r"""
    (?: (?<![A-Za-z0-9_-]) | (?<=%[0-9A-Fa-f][0-9A-Fa-f]) ) (?:
        eyJ[A-Za-z0-9_-]{8,}+ (?:\.[A-Za-z0-9_=-]++){1,4}       # JSON Web Token, signed or sealed
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16} (?![A-Za-z0-9])      # AWS access key id
      | AIza[A-Za-z0-9_-]{35}                                    # Google API key
      | ya29\.[A-Za-z0-9_-]{16,}+                                # Google OAuth
      | GOCSPX-[A-Za-z0-9_-]{20,}+                               # Google client secret
      | gh[opusr]_[A-Za-z0-9]{20,}+ | github_pat_[A-Za-z0-9_]{20,}+
      | glpat-[A-Za-z0-9_-]{16,}+ | gl(?:dt|rt|ptt|cbt)-[A-Za-z0-9_-]{16,}+
      | xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}+ | xapp-[A-Za-z0-9-]{10,}+
      | [sr]k_(?:live|test)_[A-Za-z0-9]{10,}+ | whsec_[A-Za-z0-9+/=]{16,}+
      | sk-(?=[A-Za-z_-]{0,40}[0-9])[A-Za-z0-9_-]{20,}+
      | npm_[A-Za-z0-9]{36} | pypi-[A-Za-z0-9_-]{16,}+ | dckr_pat_[A-Za-z0-9_-]{16,}+
      | do[opr]_v1_[a-f0-9]{32,}+ | hv[sbr]\.[A-Za-z0-9_-]{20,}+
      | SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+
      | AGE-SECRET-KEY-1[A-Z0-9]{20,}+
      | [0-9]{8,10}:AA[A-Za-z0-9_-]{32,}+                        # Telegram bot
    )
    """,
    re.ASCII | re.VERBOSE,
)
_HOOKS = re.compile(
    r"""
    ( hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/
    | discord(?:app)?\.com/api/webhooks/ | webhook\.office\.com/webhookb2/ )
    [^\s"'<>]++
    """,
    _FLAGS,
)


def _forms(text: str) -> str:
    return _FORMS.sub(MASK, text)


def _hooks(text: str) -> str:
    return _HOOKS.sub(lambda found: found[1] + MASK, text)


# Headers. Possessive quantifiers are for single characters only: of groups, CPython before 3.11.5
# gives some of the text back (gh-106052), and with it the end of a secret.

_SEPARATOR = r"""
    \\{0,4}+ ["']?+ [ \t]{0,8}+ (?: [:=] | (?<=["']) ,) [ \t]{0,8}+
    (?: b?\\{0,4}["'] | (?! b?\\{0,4}["'] ) )
"""
"""After a header's name: `: `, `=`, `": "`, `', b'` (headers printed as a list of pairs)."""

_SCHEMES = (
    "AWS4-HMAC-SHA256 | Bearer | Basic | Digest | Negotiate | NTLM | Token | ApiKey | Hawk"
    " | DPoP | GNAP"
)
_AUTHORIZATION = re.compile(
    rf"""
    ( authorization | x-(?:api|auth|access)-(?:key|token) | x-amz-security-token
    | x-vault-token | x-(?:csrf|xsrf)-token | x-forwarded-access-token
    | x-goog-iap-jwt-assertion | x-forwarded-client-cert-key )
    ( {_SEPARATOR} )
    ( (?: {_SCHEMES} ) [ ]{{1,8}}+ | (?! (?: {_SCHEMES} ) [ ] ) )
    (?!{re.escape(MASK)}) (?: [A-Za-z0-9_-]{{1,40}}="[^"\r\n]*+"? | [^\s,;"'\\]++ )
    (?: [ ]{{0,8}}+ , [ ]{{0,8}}+ [A-Za-z0-9_-]{{1,40}}+ = (?:"[^"\r\n]*+"? | [^\s,"']*+) )*
    """,
    _FLAGS,
)
_SCHEME = re.compile(
    r"""
    (?<![A-Za-z0-9]) (bearer|basic) ( (?:[ ]|%20|\+){1,4} | :[ ]? ) ([A-Za-z0-9._~+/-]{6,}+=*+)
    """,
    _FLAGS,
)
_COOKIE = re.compile(
    rf"""
    (?<![A-Za-z0-9]) ( (set-)? cookies? (?: 2 | \[\] )? ) ( {_SEPARATOR} )
    (?P<pairs> [^\s=;"',\\]{{1,256}}+ = [^;"'\s\\]*+
        (?: ; [ ]{{0,8}}+ [^\s=;"',\\]{{1,256}}+ (?: = [^;"'\s\\]*+ )? )* )
    """,
    _FLAGS,
)
_ONE_COOKIE = re.compile(r"=[^;]*+")
_COOKIE_ATTRIBUTE = re.compile(
    r"; *(?:path|domain|expires|max-age|samesite|secure|httponly|priority|partitioned)\b.*",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)


def _authorization(text: str) -> str:
    return _AUTHORIZATION.sub(lambda found: f"{found[1]}{found[2]}{found[3] or ''}{MASK}", text)


_WORD_PARTS = re.compile(r"[0-9]|[a-z][A-Z]|[A-Z]{2}|=\Z")


def _schemes(text: str) -> str:
    """Mask credentials after a bare "Bearer" or "Basic", and leave "Basic authentication"."""

    def masked(found: re.Match[str]) -> str:
        value = found[3]
        if not _WORD_PARTS.search(value) and len(value) < 20:
            return found[0]
        return found[1] + found[2] + MASK

    return _SCHEME.sub(masked, text)


def _cookies(text: str) -> str:
    def masked(found: re.Match[str]) -> str:
        pairs = found["pairs"]
        kept = ""
        if found[2]:
            attribute = _COOKIE_ATTRIBUTE.search(pairs)
            if attribute:
                pairs, kept = pairs[: attribute.start()], attribute[0]
        return found[1] + found[3] + _ONE_COOKIE.sub(f"={MASK}", pairs) + kept

    return _COOKIE.sub(masked, text)


# URLs and command lines

_USERINFO = re.compile(
    r"""
    ( (?::|%3a) // | (?::|%3a)%2f%2f ) ([^\s"'<>@/?\#:]*+) (: [^\s"'<>/?\#]*+)?
    """,
    _FLAGS,
)
_CURL_USER = re.compile(r"(\s(?:-u|--user|--proxy-user)[ =]{1,4}+[^\s:\"']{0,256}+:)[^\s\"']++")


def _userinfo(text: str) -> str:
    """Mask passwords in URLs; a name without one is masked too, for it may be a token."""

    def masked(found: re.Match[str]) -> str:
        start, user, rest = found[1], found[2], found[3]
        if rest is None:  # "//user@": what follows tells, and the pattern stops before it
            follows = found.string[found.end() : found.end() + 1]
            return f"{start}{MASK}" if follows == "@" and user else found[0]
        password, at, after = rest[1:].rpartition("@")
        return f"{start}{user}:{MASK}@{after}" if at and password else found[0]

    return _USERINFO.sub(masked, text)


def _curl_user(text: str) -> str:
    return _CURL_USER.sub(lambda found: found[1] + MASK, text)


# Fields that are named like secrets

_NAMES = r"""
    pass(?:word|wd|phrase|code|wort)s? | (?<![a-z])pwd | (?<![a-z])passw? | secrets? | token
  | credentials? | connection[_.-]?string | community(?:[_.-]?string)? | (?<![a-z])psk
  | (?:api|secret|access|private|signing|encryption|account|auth|shared|master|client|session
      |license|subscription|priv)[_.-]?key(?:[_.-]?(?:id|data))?
  | (?:^|(?<=[^a-z]))(?:auth|otp|jwt|sig)
  | signature | session[_.-]?id | (?:php|j)sess(?:ion)?id | connect\.sid
  | assertion | samlresponse | samlrequest | authorization[_.-]?code | client[_.-]?assertion
"""

_QUOTED = r"""
    \\{1,4}" [^"\\\r\n]*+ | \\{1,4}' [^'\\\r\n]*+
  | " (?:[^"\\\r\n]|\\.)* | ' (?:[^'\\\r\n]|\\.)*
"""
_BARE = r"""
    (?: [^\s&"'\\,;(){}\[\]<>#%]
      | %(?!26|22|27)
      | \\(?!["'nrt])
      | [,;)}\]>\#] (?! \s | \Z | ["'\\] | [A-Za-z0-9_.-]{1,40}+ [=:] )
      | (?<![=:\s]) [({\[<] )+
"""
"""Up to white space, a quote, `&`, or a comma or bracket that ends it rather than being in it."""

_FIELD = re.compile(
    rf"""
    (?: {_NAMES} ) [0-9]{{0,2}}+ (?![a-z]) (?:\[\])?
    (?: \\{{0,4}}["'] )? [ \t]{{0,8}}+ (?: => | :=  | [:=] | %3d ) [ \t]{{0,8}}+
    (?: (?:b|u|rb) (?=["']) )?
    """,
    re.ASCII | re.VERBOSE,
)
"""Name and separator, in lower case: to ignore case while searching costs five times as much."""
_VALUE = re.compile(rf"({_QUOTED}) | (?![\"']) ({_BARE})", re.ASCII | re.VERBOSE)
_QUOTE = re.compile(r"\\*[\"']")
_LONGEST_NAME = 64
"""Characters of a name with its separator, at most."""
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}

_IN_QUERY = re.compile(
    r"""
    ( (?:[?&;]|%26|%3f) (?:code|key|sid|session|ticket|hmac|hash|pass|s) (?:=|%3d) )
    ( (?:[^\s&"'\#%]|%(?!26|22|27))+ )
    """,
    _FLAGS,
)
"""Names that mean a secret in a query string only."""

_PLAIN_VALUE = re.compile(
    r"null|none|nil|true|false|undefined|\*+|<[a-z _-]{1,40}>?|-|bearer|basic|" + re.escape(MASK),
    re.ASCII | re.IGNORECASE,
)
"""Values that give nothing away."""


def _fields(text: str) -> str:
    low = text.lower()
    if len(low) != len(text):  # a few letters beyond ASCII grow
        low = text.translate(_LOWER)
    parts: list[str] = []
    done = 0
    position = 0
    while name := _FIELD.search(low, position):
        position = name.end()
        value = _VALUE.match(text, position)
        if value is None:
            continue
        quote = _QUOTE.match(value[0])
        start = position + (quote.end() if quote else 0)
        end = value.end()
        # A value may end in what is the name of the next one ("auth: token: x"), or be it
        position = max(position, end - _LONGEST_NAME)
        if end <= max(start, done) or (quote is None and _PLAIN_VALUE.fullmatch(value[0])):
            continue
        parts += (text[done:start], "" if start < done else MASK)
        done = end
    return "".join((*parts, text[done:])) if parts else text


def _query(text: str) -> str:
    return _IN_QUERY.sub(lambda found: found[1] + MASK, text)


# Option and value apart, SQL, XML
_APART = re.compile(
    rf"""
    ( (?: (?:^|(?<=[\s"'])) --?[A-Za-z0-9-]{{0,40}}?
          (?: password | passwd | token | secret | api-key ) [ ]{{1,4}}+
      | \b(?:identified[ ]by|password)[ ]{{1,4}}+ (?=["'])
      | < (?:[A-Za-z0-9]{{1,40}}+:)? (?:{_NAMES}) > )
    ["']? ) ([^\s"'<>-][^\s"'<>]*+)
    """,
    _FLAGS,
)


def _apart(text: str) -> str:
    return _APART.sub(lambda found: found[1] + MASK, text)


# `key` alone is often harmless (cache keys, idempotency keys): its value must look like a secret
_ANY_KEY = re.compile(
    r"""
    ( key \\{0,4}["']? [ ]{0,4}+ [:=] [ ]{0,4}+ \\{0,4}["']? )
    ( (?=[A-Za-z+/_-]{0,64}[0-9]) [A-Za-z0-9+/_-]{20,}+ ={0,2}+ )
    """,
    _FLAGS,
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def _any_key(text: str) -> str:
    def masked(found: re.Match[str]) -> str:
        return found[0] if _UUID.fullmatch(found[2]) else found[1] + MASK

    return _ANY_KEY.sub(masked, text)


# fmt: off
_FORM_TRIGGERS = (
    "eyj", "akia", "asia", "abia", "acca", "aiza", "ya29.", "gocspx", "ghp_", "gho_", "ghu_",
    "ghs_", "ghr_",
    "github_pat", "glpat", "gldt", "glrt", "glptt", "glcbt", "xox", "xapp", "k_live",
    "k_test", "whsec", "sk-", "npm_", "pypi-", "dckr_", "_v1_", "hvs.", "hvb.", "hvr.", "sg.",
    "age-secret", ":aa",
)
_NAME_TRIGGERS = (
    "pass", "pwd", "secret", "token", "credential", "ction_string", "ction-string", "ction.string",
    "ctionstring", "community", "psk", "key", "auth", "otp", "jwt", "sig", "session", "sessid",
    "connect.sid", "assertion", "saml",
)
# fmt: on

_RULES: tuple[tuple[tuple[str, ...], Callable[[str], str]], ...] = (
    (("private key",), _pem),
    (("",), _key_line),
    (_NAME_TRIGGERS, _fields),
    (("authorization", "-key", "-token", "jwt-assertion"), _authorization),
    (("cookie",), _cookies),
    (("://", "%2f%2f"), _userinfo),
    (("hooks.slack", "webhook"), _hooks),
    (("bearer", "basic"), _schemes),
    (_FORM_TRIGGERS, _forms),
    (("?", "&", "%26", "%3f"), _query),
    (("--", "-p", "identified", "password", "<"), _apart),
    (("-u", "--user", "--proxy-user"), _curl_user),
    (("key",), _any_key),
)
"""Trigger words in lower case, any of which must be there, and what is then done."""
