"""All of triage on all real components: what the end-to-end tests and the benchmarks play on.

    with Stage(tmp_path) as stage:
        stage.site.break_it("close")
        told = stage.await_alert(cause="communication")   # the webhook's body
        stage.heal()                                      # and wait until the incident is over

`Site` has the monitored site and Alertmanager. Beside it run `triage run`, and a recorded cluster
that serves the site's objects and logs and can be changed. With a `Machine`, the pod's node is a VM
of libvirt's test hypervisor, asked through a real snmpd and vmmib, which send notifications too.

Envoy's routes are in a file that it watches: they change without a restart.
"""

from __future__ import annotations

import datetime as dt
import json
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.agent_process import AgentProcess
from tests.libvirt_env import PrivateLibvirtd
from tests.netsnmp import Snmpd, free_port
from tests.triage.site import (
    HOST,
    NAMESPACE,
    NODE_UUID,
    POD,
    READY,
    SERVICE,
    Site,
    find,
    wait_for,
)
from tests.triage.triage_process import ClusterThread, TriageProcess
from triage.kube.recorded import Fault, RecordedCluster, status

TARGET = "front"
VM = "worker-1-vm"
DEAD, EMPTY = "inbound|9||", "outbound|80||empty.front.svc.cluster.local"
"""A cluster that Envoy has not, and one without endpoints."""
BROKEN = "/broken"
"""A path that is routed to a port where nobody listens."""

_DOMAIN = f"""<domain type='test'><name>{VM}</name><uuid>{NODE_UUID}</uuid>
<memory unit='MiB'>64</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"""

Object = dict[str, Any]
Post = dict[str, Any]


def now() -> str:
    """The time as Kubernetes writes it."""
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


class Machine:
    """The node's VM on libvirt's test hypervisor, with vmmib and snmpd before it."""

    def __init__(self, folder: Path) -> None:
        self.traps = free_port()
        """Where notifications are sent to."""
        self.credentials = folder / "snmp.toml"
        self.credentials.write_text('community = "public"\n')
        self.credentials.chmod(0o600)
        self._libvirtd = PrivateLibvirtd(folder / "lv")
        self.snmpd = Snmpd(folder, extra_conf=f"trap2sink udp:{HOST}:{self.traps} public")
        self.agent = AgentProcess(
            folder, [self._libvirtd.test_uri], self.snmpd.agentx_socket, "--poll-interval", "0.5"
        )
        self._stack = ExitStack()
        self._connection: Any = None

    def __enter__(self) -> Self:
        import libvirt  # noqa: PLC0415 - tests without a machine need none

        with self._stack as stack:
            stack.callback(self._libvirtd.stop)
            self._libvirtd.start()
            opened: Any = libvirt.open(self._libvirtd.test_uri)  # type: ignore[no-untyped-call]
            self._connection = opened
            stack.callback(self._connection.close)
            self._connection.defineXML(_DOMAIN).create()
            stack.enter_context(self.snmpd)
            stack.enter_context(self.agent)
            wait_for(lambda: len(self._names()) == 2, "vmmib to show both VMs")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _names(self) -> list[str]:
        done = self.snmpd.run("snmpwalk", "1.3.6.1.2.1.236.1.4.1.2", check=False)
        return [line for line in done.stdout.splitlines() if "STRING" in line]

    @property
    def domain(self) -> Any:
        """The VM as libvirt has it."""
        return self._connection.lookupByName(VM)

    def heal(self) -> None:
        """Have it run again, whatever became of it, and its agent answer."""
        if self.snmpd.process is None:
            self.snmpd.start()
        names = [one.name() for one in self._connection.listAllDomains()]
        domain = self.domain if VM in names else self._connection.defineXML(_DOMAIN)
        if not domain.isActive():
            domain.create()
        elif domain.state()[0] == 3:  # VIR_DOMAIN_PAUSED
            domain.resume()
        wait_for(lambda: len(self._names()) == 2, "vmmib to show both VMs again")

    def config(self) -> dict[str, Any]:
        """Its part of triage's configuration."""
        hypervisor = {
            "name": "hv1",
            "address": f"{HOST}:{self.snmpd.port}",
            "credentials_file": str(self.credentials),
            "timeout": 0.5,
        }
        receiver = {
            "listen_address": f"{HOST}:{self.traps}",
            "credentials_files": [str(self.credentials)],
        }
        return {"hypervisors": [hypervisor], "notifications": receiver}


class Stage:
    """The site, the cluster, triage, and the VM if there is one; a context manager."""

    def __init__(
        self,
        folder: Path,
        machine: Machine | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        interval: float = 1.5,
        **site: Any,
    ) -> None:
        """`settings` are merged into triage's configuration; `site` goes to `Site`."""
        self.folder = folder
        self.machine = machine
        self.site = Site(folder, alerting=True, interval=interval, **site)
        self._routes = folder / "routes.json"
        self._watch_routes()
        self.cluster = ClusterThread(self.site.cluster)
        self._settings = dict(settings or {})
        self._stack = ExitStack()
        self._triage: TriageProcess | None = None
        self._faults: list[Fault] = []
        self.began = 0.0
        """When the last fault was made, or could be made."""

    def __enter__(self) -> Self:
        with self._stack as stack:
            stack.enter_context(self.site)
            stack.enter_context(self.cluster)
            path = self.folder / "kubeconfig"
            self.cluster.do(lambda cluster: cluster.write_kubeconfig(path))
            self._triage = stack.enter_context(TriageProcess(self.folder, self.config()))
            self._stack = stack.pop_all()
        self.began = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def triage(self) -> TriageProcess:
        """The running service."""
        assert self._triage is not None
        return self._triage

    def config(self) -> dict[str, Any]:
        """What triage runs with: outages are over after seconds, and each is told of."""
        site = self.site
        config: dict[str, Any] = {
            "prometheus": {"url": site.prometheus.url, "first_lookback": 5},
            "poll_interval": 0.2,
            "clusters": [
                {
                    "name": "main",
                    "kubeconfig": str(self.folder / "kubeconfig"),
                    "timeout": 2,
                    "retry": 1,
                }
            ],
            "targets": [
                {"name": TARGET, "url": site.url, "namespace": NAMESPACE, "service": SERVICE}
            ],
            "alerts": {
                "alertmanager": [
                    {"name": "am", "url": site.alertmanager.url, "resend": 5, "hold": 0}
                ],
                "webhook": [{"name": "hook", "url": f"{site.receiver.url}/triage"}],
            },
            "incidents": {
                "recovery": 2,
                "firing_at_least": 0,
                "pending_limit": 8,
                "look_again": 1,
                "flap_count": 1000,
            },
            # One machine, one clock, nothing that delivers logs late
            "windows": {
                "clock_skew": 0.2,
                "delivery": 0.5,
                "app_flush": 0.5,
                "app_after": 1,
                "timed_out_after": 3,
            },
        }
        if self.machine is not None:
            config |= self.machine.config()
        for key, value in self._settings.items():
            known = config.get(key)
            config[key] = {**known, **value} if isinstance(known, dict) else value
        return config

    # Envoy's routes

    def _watch_routes(self) -> None:
        """Take the routes out of Envoy's configuration, to a file that it watches."""
        path = self.site.folder / "envoy.json"
        config = json.loads(path.read_text())
        resources = config["static_resources"]
        manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        routes = manager.pop("route_config")
        self._hosts = routes["virtual_hosts"]
        self._name = routes["name"]
        source = {"path_config_source": {"path": str(self._routes)}, "resource_api_version": "V3"}
        manager["rds"] = {"route_config_name": self._name, "config_source": source}
        config["node"] = {"id": "front-app-0", "cluster": "front"}
        own = resources["clusters"][0]
        closed = json.loads(json.dumps(own).replace(str(self.site.app_port), str(free_port())))
        self._closed = closed["name"]
        empty = {"name": EMPTY, "type": "STATIC", "connect_timeout": "1s"}
        resources["clusters"] += [closed, {**empty, "load_assignment": {"cluster_name": EMPTY}}]
        path.write_text(json.dumps(config))
        self.route()

    def route(self, cluster: str | None = None, patience: float = 0.5) -> None:
        """Send requests to this cluster of Envoy's, with this timeout; None: to the application."""
        own = self._hosts[0]["routes"][0]
        action = {"cluster": cluster or own["route"]["cluster"], "timeout": f"{patience}s"}
        broken = {
            "match": {"prefix": BROKEN},
            "name": "broken",
            "route": {"cluster": self._closed, "timeout": "1s"},
        }
        self._write_routes([broken, {**own, "route": action}])

    def unroute(self) -> None:
        """Have no route for anything."""
        self._write_routes([])

    def _write_routes(self, routes: list[Object]) -> None:
        resource = {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": self._name,
            "virtual_hosts": [{**self._hosts[0], "routes": routes}],
        }
        fresh = self._routes.with_suffix(".new")
        fresh.write_text(json.dumps({"version_info": str(time.time_ns()), "resources": [resource]}))
        fresh.replace(self._routes)

    # The cluster

    def change(self, plural: str, name: str, change: Callable[[Object], None]) -> None:
        """Change one of the cluster's objects."""

        def work(cluster: RecordedCluster) -> None:
            namespace = "" if plural == "nodes" else NAMESPACE
            item = cluster.find(plural, namespace, name)
            assert item is not None
            change(item)
            cluster.apply(item)

        self.cluster.do(work)

    def container(self, name: str, **state: Any) -> None:
        """Change what the pod says of one of its containers."""

        def change(pod: Object) -> None:
            (one,) = [c for c in pod["status"]["containerStatuses"] if c["name"] == name]
            one.update(state)

        self.change("pods", POD, change)

    def ready(self, ready: bool, why: str = "") -> None:
        """Have the pod be ready or not, and take it out of the service's endpoints if not."""

        def condition(pod: Object) -> None:
            for one in pod["status"]["conditions"]:
                if one["type"] in {"Ready", "ContainersReady"}:
                    said = {} if ready else {"reason": "ContainersNotReady", "message": why}
                    one.pop("reason", None)
                    one.update({"status": str(ready), "lastTransitionTime": now(), **said})

        def endpoints(item: Object) -> None:
            (subset,) = item["subsets"]
            known = subset.pop("addresses", None) or subset.pop("notReadyAddresses")
            subset["addresses" if ready else "notReadyAddresses"] = known

        self.change("pods", POD, condition)
        self.change("endpoints", SERVICE, endpoints)

    def event(self, reason: str, message: str, container: str = "") -> None:
        """Have Kubernetes tell of something about the pod."""
        about = {"kind": "Pod", "namespace": NAMESPACE, "name": POD, "uid": f"uid-{POD}"}
        if container:
            about["fieldPath"] = f"spec.containers{{{container}}}"
        name = f"{POD}.{time.time_ns():x}"
        self.cluster.do(
            lambda cluster: cluster.apply(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"namespace": NAMESPACE, "name": name},
                    "involvedObject": about,
                    "type": "Warning",
                    "reason": reason,
                    "message": message,
                    "firstTimestamp": now(),
                    "lastTimestamp": now(),
                    "count": 1,
                }
            )
        )

    def trouble(self, pattern: str, **what: Any) -> None:
        """Have the API server answer requests that fit with trouble, until `heal`."""
        self._faults.append(self.cluster.do(lambda cluster: cluster.fault(pattern, **what)))

    def deny(self, pattern: str, code: int, reason: str, message: str) -> None:
        """The same with a Status of the API server."""
        self.trouble(pattern, status=code, body=json.dumps(status(code, reason, message)))

    def _remove_faults(self, cluster: RecordedCluster) -> None:
        while self._faults:
            cluster.remove(self._faults.pop())

    # The node

    def freeze(self) -> None:
        """Stop all that runs on the pod's node, as its VM does when it does not run.

        The kubelet does not answer the API server any more, either.
        """
        self.site.app.send(signal.SIGSTOP)
        self.site.proxy.send(signal.SIGSTOP)
        said = (
            f'Get "https://192.0.2.11:10250/containerLogs/{NAMESPACE}/{POD}": dial tcp: i/o timeout'
        )
        self.deny(r"/log\?", 500, "InternalError", said)

    # What comes of it

    def posts(self, since: float | None = None) -> list[Post]:
        """What the webhook was told about outages that began after the last `heal`."""
        start = self.began - 1.0 if since is None else since
        found = [one["json"] for one in list(self.site.receiver.received) if _ours(one)]
        return [one for one in found if _time(one["outage"]["started_at"]) >= start]

    def await_alert(self, seconds: float = READY, **verdict: str) -> Post:
        """Wait for a firing alert whose verdict has these values; give the webhook's body.

        Alertmanager must have it, too.
        """

        def fits(post: Post) -> bool:
            told: dict[str, str] = post["verdict"]
            return post["event"] != "resolved" and verdict.items() <= told.items()

        def found() -> Post | None:
            return next((one for one in self.posts() if fits(one)), None)

        try:
            told = wait_for(found, f"an alert of {verdict}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from None
        self.await_alertmanager(told)
        return told

    def await_alertmanager(self, told: Post) -> Object:
        """Wait until Alertmanager has what the webhook was told."""

        def found() -> Object | None:
            return next(
                (
                    one
                    for one in self.site.alertmanager.alerts()
                    if one["labels"].get("incident") == told["incident"]
                    and one["labels"].get("cause") == told["verdict"]["cause"]
                ),
                None,
            )

        return wait_for(found, f"Alertmanager to have {told['incident']}")

    def told(self) -> str:
        """What was told so far, for messages."""
        lines = [
            f"{one['event']} {one['verdict']['title']} ({one['verdict']['confidence']}) "
            f"{one['unknowns']}"
            for one in self.posts()
        ]
        return f"told so far: {lines}; open: {self.triage.open()}; {self.triage.said()[-1500:]}"

    def heal(self) -> None:
        """Make all well again, and wait until no incident is open."""
        site = self.site
        site.heal()
        self.route()
        self.cluster.do(self._remove_faults)
        for daemon in (site.app, site.proxy, site.exporter, site.prometheus, site.alertmanager):
            assert daemon is not None
            if daemon.process is None:
                daemon.start()
            else:
                daemon.send(signal.SIGCONT)
        objects = json.loads((site.cluster / "objects.json").read_text())
        self.cluster.do(lambda cluster: cluster.apply({"kind": "List", **objects}))
        if self.machine is not None:
            self.machine.heal()
        site.prometheus.await_value("probe_http_status_code", 200.0)
        try:
            wait_for(lambda: not self.triage.open(), "every incident to be over")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.told()}") from None
        self.began = time.time()


def _ours(post: Post) -> bool:
    return post["path"] == "/triage" and post["json"] is not None


def _time(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def lacking() -> str:
    """What a stage lacks here; "" when nothing."""
    names = ("envoy", "prometheus", "prometheus-blackbox-exporter", "prometheus-alertmanager")
    missing = [name for name in names if find(name) is None]
    return f"needs {', '.join(missing)}" if missing else ""
