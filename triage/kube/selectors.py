"""Label selectors: whether labels fit one, by the rules of the Kubernetes API. Pure.

"a=b", "a==b", "a!=b", "a in (b, c)", "a notin (b, c)", "a", "!a", joined by commas. "!=" and
"notin" also hold for an object that has no such label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from triage.kube.values import Json, as_dict, as_labels, as_list, as_str

TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<no>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<set>in|notin)\s*\((?P<values>[^()]*)\)"
    r"|(?P<op>==|!=|=)\s*(?P<value>[\w.-]*))?)\s*(?:,|$)"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector."""

    key: str
    wanted: frozenset[str] | None = None
    """Values; None: any, it only has to be there."""
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fit this term."""
        has = self.key in labels and (self.wanted is None or labels[self.key] in self.wanted)
        return has != self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed selector; without terms it fits everything."""

    terms: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels fit every term."""
        return all(term.matches(labels) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """Parse what `kubectl -l` takes. Raises ValueError, naming the place."""
    terms = []
    at = 0
    while text[at:].strip():
        found = TERM.match(text, at)
        if not found:
            raise ValueError(f"not a label selector from {text[at:]!r} on: {text!r}")
        terms.append(_term(found))
        at = found.end()
    return Selector(tuple(terms))


def _term(found: re.Match[str]) -> Requirement:
    if found["absent"]:
        return Requirement(found["no"], None, negated=True)
    if found["set"]:
        values = frozenset(v.strip() for v in found["values"].split(","))
        return Requirement(found["key"], values, negated=found["set"] == "notin")
    if found["op"]:
        return Requirement(found["key"], frozenset({found["value"]}), negated=found["op"] == "!=")
    return Requirement(found["key"])


def of_labels(labels: object) -> str:
    """Give the text of a map selector, such as a service's: "a=b,c=d"."""
    return ",".join(f"{key}={value}" for key, value in sorted(as_labels(labels).items()))


def of_label_selector(selector: object) -> str:
    """Give the text of a metav1.LabelSelector (matchLabels and matchExpressions)."""
    body = as_dict(selector)
    terms = [of_labels(body.get("matchLabels"))]
    terms += [_expression(e) for e in as_list(body.get("matchExpressions"))]
    return ",".join(filter(None, terms))


def _expression(expression: Json) -> str:
    key, op = as_str(expression.get("key")), as_str(expression.get("operator"))
    found = expression.get("values")
    values = ",".join(map(str, found)) if isinstance(found, list) else ""
    return {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
    }.get(op, "")
