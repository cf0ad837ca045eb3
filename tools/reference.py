"""Write docs/triage-reference.md from the code: every key, cause and kind of proxy line.

tools/reference.py          writes it
tools/reference.py --check  exits with 1 when it is not what the code says
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from triage import config
from triage.alerts.alertmanager import AlertmanagerSettings
from triage.alerts.apprise import AppriseSettings
from triage.alerts.heartbeat import HeartbeatSettings
from triage.alerts.http import HttpSettings
from triage.alerts.slack import SlackSettings
from triage.alerts.webhook import WebhookSettings
from triage.cascade.causes import MEANING, REASONS
from triage.cascade.machine import Limits
from triage.incidents import IncidentSettings
from triage.kube.settings import KubeSettings
from triage.proxylog.flags import table
from triage.sources.app import AppSettings
from triage.sources.prometheus_api import PrometheusSettings
from triage.store import StoreSettings
from triage.syslog.watch_settings import WatchSettings
from triage.triggers import TriggerSettings
from triage.windows import WindowSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "triage-reference.md"

SECTIONS: tuple[tuple[str, str, type, type | None], ...] = (
    ("top level", "", config.Config, None),
    ("prometheus", "`[prometheus]`", config.PrometheusConfig, PrometheusSettings),
    ("targets", "`[[targets]]`", config.TargetConfig, None),
    ("targets.app", "`[targets.app]`", config.AppConfig, AppSettings),
    ("targets.gateway", "`[targets.gateway]`", config.GatewayConfig, None),
    ("clusters", "`[[clusters]]`", config.ClusterConfig, KubeSettings),
    ("hypervisors", "`[[hypervisors]]`", config.HypervisorConfig, None),
    ("notifications", "`[notifications]`", config.NotificationsConfig, None),
    ("syslog", "`[syslog]`", config.SyslogConfig, WatchSettings),
    ("alerts", "`[alerts]`", config.AlertsConfig, None),
    ("alerts.alertmanager", "`[[alerts.alertmanager]]`", config.AlertmanagerConfig,
     AlertmanagerSettings),
    ("alerts.slack", "`[[alerts.slack]]`", config.SlackConfig, SlackSettings),
    ("alerts.webhook", "`[[alerts.webhook]]`", config.WebhookConfig, WebhookSettings),
    ("alerts.apprise", "`[[alerts.apprise]]`", config.AppriseConfig, AppriseSettings),
    ("alerts.heartbeat", "`[alerts.heartbeat]`", config.HeartbeatConfig, HeartbeatSettings),
    ("http", "`[....http]`, of every sink", HttpSettings, HttpSettings),
    ("windows", "`[windows]`", config.WindowsConfig, WindowSettings),
    ("incidents", "`[incidents]`", config.IncidentsConfig, IncidentSettings),
    ("triggers", "`[triggers]`", config.TriggersConfig, TriggerSettings),
    ("limits", "`[limits]`", config.LimitsConfig, Limits),
    ("retention", "`[retention]`", config.RetentionConfig, StoreSettings),
    ("lease", "`[lease]`", config.LeaseConfig, None),
    ("web", "`[web]`", config.WebConfig, None),
)  # fmt: skip
"""Heading, how a file names it, its section, and the settings that document its keys."""


def documented(kind: type) -> dict[str, str]:
    """Return what stands below each field of a class, in one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    name = ""
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = " ".join(str(node.value.value).split())
            name = ""
        else:
            name = ""
    return found


def keys(section: type) -> dict[str, Any]:
    """Return the default of each key; MISSING for one that must be given."""
    if is_dataclass(section):
        return {one.name: one.default for one in fields(section)}
    if not issubclass(section, BaseModel):
        return {}
    found = {}
    for name, info in section.model_fields.items():
        default = info.get_default(call_default_factory=True, validated_data={})
        found[name] = MISSING if default is PydanticUndefined else default
    return found


def shown(default: Any) -> str:
    """Return a default as a file would have it."""
    if default is MISSING:
        return "must be given"
    if isinstance(default, BaseModel) or is_dataclass(default):
        return "see below"
    if isinstance(default, Enum):
        return f"`{default.value}`"
    if default in (None, "", (), {}):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`"


def page() -> str:
    """Return the page."""
    lines = [
        "# triage: reference",
        "",
        "Made from the code by `make reference`; `make docs` fails when it is out of date.",
        "",
        "## Causes",
        "",
        "The closed list: what a verdict can say. [How it decides](triage.md#the-decision).",
        "",
    ]
    for cause, meaning in MEANING.items():
        lines += [f"### `{cause.value}`", "", meaning, "", "| reason | when |", "| --- | --- |"]
        lines += [f"| `{reason}` | {text} |" for reason, text in REASONS[cause].items()]
        lines.append("")
    lines += ["## Configuration keys", "", "Times are seconds, or text with a unit.", ""]
    for heading, written, section, settings in SECTIONS:
        known = documented(section) if settings is None else documented(settings)
        lines += [f"### {heading}", ""]
        if written:
            lines += [written, ""]
        lines += ["| key | default | |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {shown(default)} | {known.get(name, '').replace('|', chr(92) + '|')} |"
            for name, default in keys(section).items()
        ]
        lines.append("")
    lines += [
        "## Proxy lines",
        "",
        "What is made of Envoy's response code details and response flags. The details decide; the",
        "flags where there are none.",
        "",
        table(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write or check the page; return the exit code."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/triage-reference.md is not what the code says: make reference", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
