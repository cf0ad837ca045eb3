"""Nodes: from API objects to evidence. Pure.

Events of nodes are kept in the namespace "default"; when a kubelet last said that it lives is the
renewTime of the Lease of its name in "kube-node-lease" (the heartbeat that decides on NotReady).
"""

from __future__ import annotations

from triage.evidence import Condition, NodeState
from triage.kube.values import Json, as_dict, as_list, as_str, cut, name_of, parse_time, truth

LEASES_IN = "kube-node-lease"
EVENTS_IN = "default"


def read_node(node: Json, lease: Json | None = None) -> NodeState:
    """Give the state of a node; `lease` is its Lease, None when it is not known."""
    spec, status = as_dict(node.get("spec")), as_dict(node.get("status"))
    info = as_dict(status.get("nodeInfo"))
    conditions = tuple(_condition(c) for c in as_list(status.get("conditions")))
    ready = next((c.status for c in conditions if c.type == "Ready"), "")
    return NodeState(
        name=name_of(node),
        system_uuid=as_str(info.get("systemUUID")),
        ready=truth(ready) if ready != "Unknown" else False,
        conditions=conditions,
        taints=tuple(_taint(t) for t in as_list(spec.get("taints"))),
        unschedulable=spec.get("unschedulable") is True,
        lease_renewed_at=renewed_at(lease) if lease else None,
        boot_id=as_str(info.get("bootID")),
    )


def renewed_at(lease: Json) -> float | None:
    """When a Lease was renewed last."""
    return parse_time(as_dict(lease.get("spec")).get("renewTime"))


def _condition(condition: Json) -> Condition:
    return Condition(
        type=as_str(condition.get("type")),
        status=as_str(condition.get("status")),
        reason=as_str(condition.get("reason")),
        message=cut(condition.get("message")),
        changed_at=parse_time(condition.get("lastTransitionTime")),
        heartbeat_at=parse_time(condition.get("lastHeartbeatTime")),
    )


def _taint(taint: Json) -> str:
    key, value = as_str(taint.get("key")), as_str(taint.get("value"))
    return f"{key}{'=' + value if value else ''}:{as_str(taint.get('effect'))}"


def identity(node: NodeState, *, exists: bool = True) -> NodeState:
    """Only who it is: for a node whose present state is not known."""
    return NodeState(
        name=node.name, system_uuid=node.system_uuid, boot_id=node.boot_id, exists=exists
    )
