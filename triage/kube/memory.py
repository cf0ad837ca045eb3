"""What was seen of pods and nodes before now: in an outage, what matters has often vanished. Pure.

- A pod is remembered by namespace, name and uid: a StatefulSet's new pod has the old
  one's name.
- It is gone when a watch says so, or when a later list of its namespace no longer has it.
- Bounded: what vanished is forgotten after `keep` seconds; beyond `limit` pods, first the gone
  ones and then those seen longest ago go.
- Clock jumps do no harm: ages are taken from the given monotonic clock, times of day are
  only shown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from triage.evidence import NodeState, PodState
from triage.kube.selectors import Selector

PodKey = tuple[str, str, str]
"""Namespace, name, uid."""


def key_of(pod: PodState) -> PodKey:
    """How a pod is remembered."""
    return pod.namespace, pod.name, pod.uid


@dataclass(slots=True)
class Remembered:
    """A pod as it was last seen."""

    state: PodState
    labels: Mapping[str, str]
    seen_at: float
    """Time of day."""
    gone_at: float | None = None
    """Time of day at which it was found to be gone."""
    forget_at: float | None = None
    """Monotonic."""


@dataclass(slots=True)
class Memory:
    """Pods and nodes as last seen."""

    clock: Callable[[], float]
    monotonic: Callable[[], float]
    keep: float
    limit: int
    _pods: OrderedDict[PodKey, Remembered] = field(default_factory=OrderedDict)
    _gone: OrderedDict[PodKey, None] = field(default_factory=OrderedDict)
    """Of these, those that are gone, the longest gone first."""
    _nodes: OrderedDict[str, NodeState] = field(default_factory=OrderedDict)
    _selectors: OrderedDict[str, str] = field(default_factory=OrderedDict)

    # Pods

    def saw(self, pod: PodState, labels: Mapping[str, str]) -> None:
        """A pod is there."""
        key = key_of(pod)
        known = self._pods.get(key)
        if pod.backing is None and known is not None and known.state.backing is not None:
            pod = replace(pod, backing=known.state.backing)
        self._pods[key] = Remembered(pod, dict(labels), self.clock())
        self._pods.move_to_end(key)
        self._gone.pop(key, None)
        self._forget()

    def lost(self, pod: PodState) -> None:
        """A watch says that a pod is deleted; `pod` is its last state."""
        known = self._pods.get(key_of(pod))
        if known is None or known.gone_at is not None:
            return
        now = self.clock()
        asked = pod.deleted if pod.deleted is not None else now
        self._pods[key_of(pod)] = Remembered(
            replace(pod, deleted=asked, gone=True, backing=known.state.backing),
            known.labels,
            now,
            now,
            self.monotonic() + self.keep,
        )
        self._gone[key_of(pod)] = None

    def listed(self, namespace: str, there: Set[PodKey], selector: Selector | None = None) -> None:
        """A list of a namespace (or of a selector in it) has these pods, and no others."""
        for key, known in self._pods.items():
            inside = key[0] == namespace and (selector is None or selector.matches(known.labels))
            if inside and key not in there and known.gone_at is None:
                known.state = replace(known.state, gone=True)
                known.gone_at = self.clock()
                known.forget_at = self.monotonic() + self.keep
                self._gone[key] = None
        self._forget()

    def pods(
        self, namespace: str, selector: Selector, *, gone_since: float | None = None
    ) -> list[Remembered]:
        """Those that fit; of the gone ones those that went at `gone_since` or later."""
        self._forget()
        return [
            known
            for key, known in self._pods.items()
            if key[0] == namespace
            and selector.matches(known.labels)
            and (known.gone_at is None or gone_since is None or known.gone_at >= gone_since)
        ]

    def __len__(self) -> int:
        return len(self._pods)

    def _forget(self) -> None:
        now = self.monotonic()
        while self._gone:
            oldest = next(iter(self._gone))
            forget_at = self._pods[oldest].forget_at
            if len(self._pods) <= self.limit and (forget_at is None or forget_at > now):
                return
            del self._gone[oldest], self._pods[oldest]
        while len(self._pods) > self.limit:
            self._pods.popitem(last=False)

    # Nodes

    def saw_node(self, node: NodeState) -> None:
        """A node is there."""
        self._nodes[node.name] = node
        self._nodes.move_to_end(node.name)
        while len(self._nodes) > self.limit:
            self._nodes.popitem(last=False)

    def saw_nodes(self, nodes: Iterable[NodeState]) -> None:
        """Nodes are there."""
        for node in nodes:
            self.saw_node(node)

    def node(self, name: str) -> NodeState | None:
        """A node as it was last seen."""
        return self._nodes.get(name)

    # What services select

    def saw_selector(self, shown: str, selector: str) -> None:
        """What a service or an owner selects."""
        self._selectors[shown] = selector
        self._selectors.move_to_end(shown)
        while len(self._selectors) > self.limit:
            self._selectors.popitem(last=False)

    def selector(self, shown: str) -> str | None:
        """What it selected when it was last seen."""
        return self._selectors.get(shown)
