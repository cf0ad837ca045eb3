"""The incident of `vmmib demo`, told step by step on the terminal.

A virtual machine is paused, the site on it fails, triage says why, the machine runs again. Every
figure that is shown was measured in this run; every command that is shown was run.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.error import URLError
from urllib.request import urlopen

from triage.demo.monitor import AGENT, INSTANCE
from triage.demo.scene import HOST, Scene
from triage.demo.site import NAMESPACE, NODE

GOOD_BEFORE = 3
"""Good samples before the machine is paused."""
WITHIN = 20.0
"""Seconds for each step."""
WIDTH = 96
"""Columns."""
SERVICE = "triage run"
TITLE = "node: VM paused"
STALLED = "I/O error"
"""In the hypervisor's syslog."""

CONFIG = """\
state_dir = "state"

[prometheus]
url = "{prometheus}"

[[targets]]
name = "shop"
url = "{url}"
user_agent = "^{agent}/"
namespace = "{namespace}"
service = "front"
gateway = {{}}                    # the usual one: istio-system, istio=ingressgateway

[[clusters]]
name = "recorded"
kubeconfig = "kubeconfig"

[[hypervisors]]
name = "hv1"
address = "{snmp}"
credentials_file = "snmp.toml"

[syslog]
paths = ["syslog"]              # a file for each hypervisor, here hv1.log
refresh = "1s"

[notifications]
listen_address = "{traps}"
credentials_files = ["snmp.toml"]

[alerts]
webhook = [{{ name = "receiver", url = "{alerts}" }}]

[incidents]
recovery = "3s"                 # the usual minute, and
firing_at_least = "0s"          # Alertmanager's five, are too long for a demo

[web]
listen_address = "{web}"
"""


SYSLOG = find_spec("polars") is not None
"""Whether logs can be read: it is an extra."""
_SYSLOG = CONFIG[CONFIG.index("[syslog]") : CONFIG.index("[notifications]")]


class StoryError(Exception):
    """The story went another way; the text tells how, in a line."""


class Stage(Protocol):
    """Where programs run (`vmmib.demo.Stage`)."""

    @property
    def folder(self) -> Path:
        """Of the whole demo; temporary."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Of programs."""
        ...

    def start(self, name: str, command: Sequence[str], ready: Callable[[], bool]) -> None:
        """Run a program; return when it is ready. Raises an error that tells why it is not."""
        ...

    def end(self, name: str) -> None:
        """End a program now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The virtual machine that is paused."""

    name: str
    uuid: str
    runs: Callable[[], bool]
    """May be called in any thread; never raises."""
    pause: Callable[[], object]
    resume: Callable[[], object]


def tell(
    stage: Stage,
    machine: Machine,
    *,
    snmp: str,
    community: str,
    traps: str,
    heading: Callable[[str], None],
    output: Path | None,
) -> None:
    """Tell the story; raises StoryError.

    `snmp`: address of snmpd; `traps`: where it sends notifications to, HOST:PORT; `output`: folder
    for the incident's page and recording.
    """
    folder = stage.folder / "triage"
    folder.mkdir(0o700)
    with Scene(folder, machine.name, machine.uuid.upper(), machine.runs) as scene:
        heading(f"A shop, in a cluster whose node {NODE} is the virtual machine {machine.name}")
        _say_what_is_real(machine.name)
        config = _configure(folder, scene, snmp=snmp, community=community, traps=traps)
        commands = Commands(config, stage.environment)
        _run(stage, config)
        try:
            incident = _incident(scene, machine, commands, heading)
            _keep(commands, incident, output, heading)
        finally:
            stage.end(SERVICE)


def _say_what_is_real(machine: str) -> None:
    _columns(
        "real",
        f"the state of {machine}, vmmib, snmpd, SNMP and its notifications; triage, its "
        "configuration, its alert, and every command that is shown",
    )
    _columns("recorded", f"Kubernetes' objects; but {NODE} has the UUID of {machine}")
    _columns(
        "stood in for",
        "the hypervisor's syslog, four days of it; the shop: a small server that answers while "
        f"{machine} runs, and logs in the words of Envoy and uvicorn; and Prometheus, which probes "
        "it each second",
    )
    if not SYSLOG:
        _columns("left out", "the hypervisor's syslog: pip install 'vmmib[syslog]' to see it, too")


def _configure(folder: Path, scene: Scene, *, snmp: str, community: str, traps: str) -> Path:
    config = folder / "triage.toml"
    text = (CONFIG if SYSLOG else CONFIG.replace(_SYSLOG, "")).format(
        prometheus=scene.prometheus,
        url=INSTANCE,
        agent=AGENT.partition("/")[0],
        namespace=NAMESPACE,
        snmp=snmp,
        traps=traps,
        alerts=scene.alerts_to,
        web=f"{HOST}:{_free_port()}",
    )
    config.write_text(text)
    secret = folder / "snmp.toml"
    secret.touch(0o600)
    secret.write_text(f'community = "{community}"\n')
    print(f"\n$ cd {folder}\n$ cat {config.name}\n{text.rstrip()}")
    return config


def _run(stage: Stage, config: Path) -> None:
    web = re.findall(r'listen_address = "(.*)"', config.read_text())[-1]
    print(f"\n$ triage run --config.file {config.name}", flush=True)
    stage.start(
        SERVICE,
        [*_triage("run"), "--config.file", str(config)],
        lambda: _ready(f"http://{web}/-/ready"),
    )


# The incident


def _incident(
    scene: Scene, machine: Machine, commands: Commands, heading: Callable[[str], None]
) -> str:
    """Pause the machine, and have it run again; return the incident's id."""
    _until(scene, lambda: scene.statuses[-GOOD_BEFORE:] == [200] * GOOD_BEFORE, "the shop to be up")
    print(f"\nsamples of {INSTANCE}: {_shown(scene.statuses)}")

    heading(f"The storage of {machine.name}'s hypervisor fails, and libvirt pauses it")
    scene.host_log.stall()
    seen = len(scene.statuses)
    machine.pause()
    paused = time.monotonic()
    try:
        alert = _awaited(scene)
        after = time.monotonic() - paused
        _until(scene, lambda: len(scene.statuses) > seen + 1, "a sample")
        print(f"samples of {INSTANCE}: {_shown(scene.statuses[seen:])}")
        print(f"\nthe alert, {after:.1f} s later:\n")
        _show_alert(alert)
        _check(alert)
        heading("The same at a terminal")
        commands.run("incidents")
        print()
        commands.run("show", alert["incident"])
    finally:
        machine.resume()
    heading(f"{machine.name} runs again")
    seen = len(scene.statuses)
    _until(scene, lambda: bool(scene.alerts[-1]["event"] == "resolved"), "the end of the alert")
    print(f"samples of {INSTANCE}: {_shown(scene.statuses[seen:])}\n")
    _show_resolved(scene.alerts[-1])
    return str(alert["incident"])


def _awaited(scene: Scene) -> Mapping[str, Any]:
    """Return the first alert with the right verdict. Raises StoryError."""

    def found() -> list[Mapping[str, Any]]:
        return [one for one in scene.alerts if one["verdict"]["title"] == TITLE]

    try:
        _until(scene, lambda: bool(found()), f"the alert {TITLE!r}")
    except StoryError as error:
        others = [one["verdict"]["title"] for one in scene.alerts]
        said = f"; triage said {others}" if others else ""
        raise StoryError(f"{error}{said}") from None
    return found()[0]


def _check(alert: Mapping[str, Any]) -> None:
    """Raise StoryError unless the alert has its evidence."""
    lines = [one["text"] for one in alert["evidence"]]
    if not any(re.search(r"::vmOperState\.\d+ = INTEGER: paused\(8\)", line) for line in lines):
        raise StoryError("the alert lacks the row vmOperState, paused(8)")
    if not any(line.startswith("vmPaused") for line in lines):
        raise StoryError("the alert lacks the notification vmPaused")
    if SYSLOG and not any(
        one["step"] == "syslog" and STALLED in one["text"] for one in alert["evidence"]
    ):
        raise StoryError("the alert lacks what the hypervisor's syslog said")


def _show_alert(alert: Mapping[str, Any]) -> None:
    verdict, target = alert["verdict"], alert["target"]
    status = alert["outage"]["status"]
    _columns(alert["event"].upper(), verdict["title"], indent="  ")
    _columns("", f"{verdict['confidence']}, severity {alert['severity']}", indent="  ")
    _columns("target", f"{target['name']}, {target['url']}, status {status}", indent="  ")
    _columns("summary", verdict["summary"], indent="  ")
    for number, step in enumerate(alert["steps"]):
        text = f"{step['step']:<7} {step['summary']}"
        short = text if len(text) <= WIDTH - 16 else text[: WIDTH - 20] + " ..."
        _columns("steps" if number == 0 else "", short, indent="  ")
    for number, one in enumerate(line for line in alert["evidence"] if line["deciding"]):
        _columns("evidence" if number == 0 else "", f"{one['source']}: {one['text']}", indent="  ")
    beside = [one for one in alert["evidence"] if one["step"] == "syslog"]
    for number, one in enumerate(beside):
        _columns("beside it" if number == 0 else "", f"{one['source']}: {one['text']}", indent="  ")
    if any(
        step["step"] == "node" and step["summary"] == f"{NODE}: ready" for step in alert["steps"]
    ):
        print()
        _wrapped(
            f"Kubernetes does not know yet: to it, the pod and {NODE} are ready, for it waits 40 s "
            "before it takes a silent kubelet for lost. The virtual machine's own rows decide.",
            "",
            "",
        )


def _show_resolved(alert: Mapping[str, Any]) -> None:
    outage = alert["outage"]
    _columns(alert["event"].upper(), alert["verdict"]["title"], indent="  ")
    span = f"{_time(outage['started_at'])} to {_time(outage['ended_at'])}"
    _columns("target", f"{alert['target']['name']}, was bad from {span}", indent="  ")


def _keep(
    commands: Commands, incident: str, output: Path | None, heading: Callable[[str], None]
) -> None:
    heading("What stays of it")
    if output is None:
        print("nothing: vmmib demo --output DIR leaves the incident's page and its recording there")
        return
    output = output.resolve()
    page, recording = output / "incident.html", output / "incident.json"
    commands.run("show", incident, "--html", "-o", str(page))
    commands.run("export", incident, "-o", str(recording))
    commands.run("replay", str(recording), configured=False)
    print(f"\nIn a browser, {page} shows the timeline and the evidence.")


# Programs


def _triage(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "triage.cli", *arguments]


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs triage's commands before the reader's eyes."""

    config: Path
    environment: Mapping[str, str]

    def run(self, name: str, *arguments: str, configured: bool = True) -> None:
        """Show and run a command; raise StoryError when it fails."""
        option = "--config.file"
        shown = [option, self.config.name] if configured else []
        print("$ " + " ".join(["triage", name, *shown, *arguments]), flush=True)
        options = [option, str(self.config)] if configured else []
        try:
            done = subprocess.run(  # noqa: S603 - a command of ours
                [*_triage(name), *options, *arguments],
                env=dict(self.environment),
                timeout=WITHIN,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StoryError(f"triage {name} does not end") from None
        if done.returncode == PIPE_CLOSED:
            raise BrokenPipeError
        if done.returncode != 0:
            raise StoryError(f"triage {name} failed")


PIPE_CLOSED = 141


# Small things


def _until(scene: Scene, true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not true():
        if scene.failure is not None:
            raise StoryError(f"the stand-ins ended: {scene.failure!r}")
        if time.monotonic() > deadline:
            raise StoryError(f"waited {WITHIN:g} s for {what}, in vain")
        time.sleep(0.02)


def _ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - a URL of ours
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _shown(statuses: Iterable[int]) -> str:
    return " ".join(str(status or "no response") for status in statuses)


def _time(text: str) -> str:
    """The time of day in a RFC 3339 time."""
    return text.partition("T")[2]


def _columns(name: str, text: str, indent: str = "") -> None:
    _wrapped(text, f"{indent}{name:<14}", indent + " " * 14)


def _wrapped(text: str, first: str, rest: str) -> None:
    clean = "".join(char if char.isprintable() else "?" for char in text)
    wrapper = textwrap.TextWrapper(
        WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
    print(wrapper.fill(clean))
