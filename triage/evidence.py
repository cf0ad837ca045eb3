"""What a verdict is decided on, and the verdict: frozen data, and nothing that acts.

Rules
- Times are seconds since 1970, UTC, as float; durations are seconds unless the name says
  otherwise (`duration_ms`). None is "not known", never zero.
- Every part of the evidence has a `Look`: whether the step could look at all, in which window, and
  what it could not see. "Looked and saw nothing wrong" and "could not look" must never read alike.
- Text in here is masked already (`triage.masking`): evidence is stored, sent and printed as it is.
- All of it goes through JSON and back unchanged (`triage.recording`): plain types, enums, tuples.

Data flows one way: `Anomaly` -> sources -> `Evidence` -> `triage.cascade` -> `Verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Step(StrEnum):
    """The steps of the cascade, in the order in which they are walked."""

    METRIC = "metric"
    PROXY = "proxy"
    APP = "app"
    POD = "pod"
    NODE = "node"
    VM = "vm"
    SYSLOG = "syslog"
    """The hypervisor's own log: it decides nothing by itself, and shows what the VM step found."""


class Outcome(StrEnum):
    """How a step went."""

    RAN = "ran"
    """It looked; see `Look.problems` for what it could see only in part."""
    SKIPPED = "skipped"
    """It was not needed, or nothing is configured that it could look at."""
    FAILED = "failed"
    """It was needed and could not look: what it would have seen is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time that a step looked at; both ends included."""

    start: float
    end: float
    reason: str = ""
    """How it was derived, with the figures: shown in the alert."""

    def __contains__(self, time: float) -> bool:
        return self.start <= time <= self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Whether, where and when a step looked."""

    outcome: Outcome = Outcome.SKIPPED
    source: str = ""
    """What was asked, as an operator names it: "kubernetes main, front/app-0, istio-proxy"."""
    window: Window | None = None
    problems: tuple[str, ...] = ()
    """One line each: what could not be seen, and why (the reason of SKIPPED and FAILED too)."""
    asked_at: float | None = None

    @property
    def whole(self) -> bool:
        """True when it looked and saw all that there was to see."""
        return self.outcome is Outcome.RAN and not self.problems


# What is watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A watched site: what the monitor asks for, how often, and what it takes for good."""

    name: str
    url: str = ""
    method: str = "GET"
    path: str = "/"
    authority: str = ""
    """Host header, "" when not known."""
    user_agent: str = "Blackbox[ _-]?Exporter"
    """Regular expression, searched without regard to case, that tells the monitor's requests."""
    good: tuple[int, ...] = (200,)
    """Statuses that are no anomaly."""
    scrape_interval: float = 15.0
    probe_timeout: float = 10.0
    cluster: str = ""
    namespace: str = ""


class Trigger(StrEnum):
    """What raised the question."""

    METRIC = "metric"
    PROXY_LOG = "proxy_log"
    ALERTMANAGER = "alertmanager"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A stored sample of the status metric; its time is the start of its scrape."""

    time: float
    value: float | None
    """HTTP status; 0: no response; None: a stale marker, or the sample is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One outage of one target, as far as it is known."""

    target: str
    trigger: Trigger
    time: float
    """First bad observation: scrape start of a sample, START_TIME of a line, start of an alert."""
    status: int | None = None
    """The first bad value; 0: no response; None: missing, stale or not known."""
    last_good: float | None = None
    """Scrape start of the last good sample before it."""
    ended: float | None = None
    """Scrape start of the first good sample after it; None while it lasts."""
    samples: tuple[Sample, ...] = ()
    """Samples around it in order of time, the good ones too."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of the series or of the alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEvidence:
    """What the monitor itself saw."""

    look: Look = Look()
    probe_seconds: float | None = None
    """How long the failed probe took (probe_duration_seconds)."""
    phases: dict[str, float] = field(default_factory=dict)
    """probe_http_duration_seconds by phase: resolve, connect, tls, processing, transfer."""
    up: bool | None = None
    """Whether Prometheus could scrape the exporter itself; False is a monitoring path fault."""
    exporter_target: str = ""
    others_failing: tuple[str, ...] = ()
    """Other targets of the same exporter that are bad at the same time."""
    others_good: int = 0
    """Other targets of the same exporter that are good at the same time."""
    clock_error: float | None = None


# Proxy


class ProxyRole(StrEnum):
    """Where the Envoy stands that wrote a line."""

    SIDECAR = "sidecar"
    GATEWAY = "gateway"


class Match(StrEnum):
    """Whose request a line is about."""

    OWN = "own"
    """The monitor's: its user agent, method, path, authority and time all fit."""
    LIKELY = "likely"
    """Nothing speaks against it, but something that would prove it is not logged."""
    OTHER = "other"
    """Another client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRequest:
    """One access log entry of Envoy; a field that is "-" or not logged is None (or ())."""

    time: float
    """START_TIME: when the request began."""
    method: str | None = None
    path: str | None = None
    protocol: str | None = None
    status: int | None = None
    """RESPONSE_CODE; 0 when none was sent."""
    flags: tuple[str, ...] = ()
    """RESPONSE_FLAGS, in the order given: ("URX", "UF")."""
    details: str | None = None
    """RESPONSE_CODE_DETAILS, spaces as logged."""
    termination_details: str | None = None
    """CONNECTION_TERMINATION_DETAILS."""
    transport_failure: str | None = None
    """UPSTREAM_TRANSPORT_FAILURE_REASON."""
    bytes_received: int | None = None
    bytes_sent: int | None = None
    duration_ms: float | None = None
    upstream_service_ms: float | None = None
    """x-envoy-upstream-service-time."""
    forwarded_for: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    authority: str | None = None
    upstream_host: str | None = None
    upstream_cluster: str | None = None
    upstream_local: str | None = None
    downstream_local: str | None = None
    downstream_remote: str | None = None
    server_name: str | None = None
    """REQUESTED_SERVER_NAME."""
    route: str | None = None
    retries: int | None = None
    """UPSTREAM_REQUEST_ATTEMPT_COUNT - 1, where it is logged."""
    written_at: float | None = None
    """When the container runtime took the line, where that is known."""
    role: ProxyRole = ProxyRole.SIDECAR
    pod: str = ""
    """namespace/name, or the file that it was read from."""
    match: Match = Match.OTHER
    raw: str = ""
    """The line, masked, cut to a bounded length."""

    @property
    def end(self) -> float:
        """When the request ended, as far as the line tells."""
        return self.time + (self.duration_ms or 0.0) / 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEvidence:
    """The access log lines of the target's Envoys in the window."""

    look: Look = Look()
    requests: tuple[ProxyRequest, ...] = ()
    """OWN and LIKELY ones first, worst first; then a bounded number of OTHER ones that failed."""
    own: int = 0
    likely: int = 0
    others: int = 0
    others_failed: int = 0
    unparsed: int = 0
    pods: tuple[str, ...] = ()
    """Whose logs were read."""
    pods_unread: tuple[str, ...] = ()
    """Whose logs should have been read and could not be."""
    errors: tuple[LogLine, ...] = ()
    """Envoy's own warnings and errors in the window (not access log lines)."""


# Application


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a container's log, or of a file."""

    time: float
    text: str
    pod: str = ""
    container: str = ""
    stream: str = ""
    """"stdout", "stderr" or ""."""
    previous: bool = False
    """Of the container's instance before its last restart."""


class AppLineKind(StrEnum):
    """What an application's line is."""

    ACCESS = "access"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppLine:
    """A line of an application container, and what is made of it."""

    line: LogLine
    kind: AppLineKind = AppLineKind.TEXT
    method: str | None = None
    path: str | None = None
    status: int | None = None
    request_id: str | None = None
    level: str | None = None
    """Lower-case: "error", "critical", "warning", ..."""
    match: Match = Match.OTHER
    """ACCESS: whether it is the probed request. TEXT: OWN only by request id."""
    score: float = 0.0
    """0 to 1: how sure it is that the line tells of a failure of this application."""
    noise: str | None = None
    """The pattern that says it is noise; its score is 0."""
    why: str = ""
    """What the score comes from, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEvidence:
    """The application containers' lines in the window."""

    look: Look = Look()
    lines: tuple[AppLine, ...] = ()
    """Those that matter: the probed request's, those with a score, some noise as proof of it."""
    read: int = 0
    """Lines in the window."""
    containers: tuple[str, ...] = ()
    """namespace/pod/container whose logs were read; "(previous)" appended for a former instance."""
    non_200: int = 0
    """Access lines with a status other than 200, whoever asked (the paper's table 4)."""
    with_error: int = 0
    """Lines that contain "error", whatever they mean (the paper's table 4)."""
    logs_access: bool | None = None
    """Whether the application logs requests at all, as far as its lines show."""


# Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeEvent:
    """A Kubernetes event, or one of its series."""

    time: float
    """When it happened last."""
    first: float | None = None
    type: str = "Normal"
    reason: str = ""
    message: str = ""
    count: int = 1
    object: str = ""
    """"Pod/front/front-app-0", "Node/worker-1"."""
    container: str = ""
    """From involvedObject.fieldPath."""


class ContainerKind(StrEnum):
    """What a container is for."""

    APP = "app"
    PROXY = "proxy"
    INIT = "init"


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """A finished instance of a container."""

    reason: str = ""
    """"OOMKilled", "Error", "Completed", "ContainerCannotRun", ..."""
    exit_code: int | None = None
    signal: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """A container's state, now and last."""

    name: str
    kind: ContainerKind = ContainerKind.APP
    ready: bool | None = None
    state: str = ""
    """"running", "waiting", "terminated" or "" (not reported)."""
    reason: str = ""
    """Of waiting or terminated: "CrashLoopBackOff", "ImagePullBackOff", "OOMKilled", ..."""
    message: str = ""
    started_at: float | None = None
    restarts: int = 0
    current: Termination | None = None
    """When the state is terminated."""
    last: Termination | None = None
    """The instance before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """A pod that backs the target, or did so at the time."""

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    ip: str = ""
    phase: str = ""
    """"Pending", "Running", "Succeeded", "Failed", "Unknown"."""
    reason: str = ""
    """"Evicted", "NodeLost", ..."""
    message: str = ""
    ready: bool | None = None
    ready_since: float | None = None
    """Last transition of the condition Ready."""
    not_ready_reason: str = ""
    """Reason and message of the condition that keeps it from being ready."""
    scheduled: bool | None = None
    created: float | None = None
    deleted: float | None = None
    """deletionTimestamp less its grace period: when its deletion was asked for."""
    gone: bool = False
    """It was seen before, and no longer exists; the rest is as it was last seen."""
    containers: tuple[ContainerState, ...] = ()
    owner: str = ""
    """"ReplicaSet/front-app-6d4f", "StatefulSet/db"."""
    hash: str = ""
    """pod-template-hash or controller-revision-hash."""
    backing: bool | None = None
    """Whether the service sent it requests (in its ready endpoints)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A Deployment's, StatefulSet's or DaemonSet's state."""

    kind: str
    name: str
    desired: int = 0
    ready: int = 0
    updated: int = 0
    available: int = 0
    in_progress: bool = False
    changed_at: float | None = None
    """When its newest revision began, where that is known."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEvidence:
    """The pods that back the target."""

    look: Look = Look()
    pods: tuple[PodState, ...] = ()
    events: tuple[KubeEvent, ...] = ()
    """Of the pods, their owners and the service, in or after the window, oldest first."""
    rollouts: tuple[Rollout, ...] = ()
    service_exists: bool | None = None
    endpoints_ready: int | None = None
    endpoints_not_ready: int | None = None
    expected: str = ""
    """Which pods were looked for: "service front/front-app (app=front)"."""


# Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition of a node."""

    type: str
    status: str
    """"True", "False" or "Unknown"."""
    reason: str = ""
    message: str = ""
    changed_at: float | None = None
    heartbeat_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A Kubernetes node that runs, or ran, a pod of the target."""

    name: str
    system_uuid: str = ""
    """status.nodeInfo.systemUUID, as reported."""
    ready: bool | None = None
    conditions: tuple[Condition, ...] = ()
    taints: tuple[str, ...] = ()
    """"key=value:Effect"."""
    unschedulable: bool = False
    lease_renewed_at: float | None = None
    """kube-node-lease: when its kubelet last said that it lives."""
    boot_id: str = ""
    exists: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvidence:
    """The nodes that the pods run on."""

    look: Look = Look()
    nodes: tuple[NodeState, ...] = ()
    events: tuple[KubeEvent, ...] = ()


# VM


class VmOperState(StrEnum):
    """VirtualMachineOperState of VM-MIB (RFC 7666); the value is its name there."""

    UNKNOWN = "unknown"
    OTHER = "other"
    PREPARING = "preparing"
    RUNNING = "running"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    RESUMING = "resuming"
    PAUSED = "paused"
    MIGRATING = "migrating"
    SHUTTINGDOWN = "shuttingdown"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    BLOCKED = "blocked"
    DELETED = "deleted"


class VmAdminState(StrEnum):
    """VirtualMachineAdminState of VM-MIB (RFC 7666)."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDisk:
    """A row of vmStorageTable; rates are between two readings, None when there was one."""

    index: int
    name: str = ""
    """vmStorageResourceID."""
    reads_per_s: float | None = None
    writes_per_s: float | None = None
    read_octets_per_s: float | None = None
    write_octets_per_s: float | None = None
    read_latency_ms: float | None = None
    """Mean per request in the interval (vmStorageReadLatency); None without requests."""
    write_latency_ms: float | None = None
    allocated_octets: int | None = None
    capacity_octets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmNic:
    """A row of vmNetworkTable with the hypervisor's IF-MIB row of its vmNetworkIfIndex."""

    index: int
    if_index: int | None = None
    """None: the hypervisor shows no interface for it."""
    name: str = ""
    """ifDescr or ifName of the tap."""
    mac: str = ""
    admin_up: bool | None = None
    oper_up: bool | None = None
    in_errors_per_s: float | None = None
    out_errors_per_s: float | None = None
    in_discards_per_s: float | None = None
    out_discards_per_s: float | None = None
    in_packets_per_s: float | None = None
    out_packets_per_s: float | None = None
    changed_at: float | None = None
    """ifLastChange as a time of day, where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmCpu:
    """CPU between two readings."""

    vcpus: int | None = None
    usage: float | None = None
    """0 to 1 of all virtual CPUs (vmCpuTime)."""
    busiest: float | None = None
    """0 to 1 of the busiest virtual CPU (vmCpuCoreTime)."""
    host_load: float | None = None
    """0 to 1: the mean of the hypervisor's hrProcessorLoad."""
    host_cpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmState:
    """The row of vmTable that is the node's machine."""

    node: str
    """Kubernetes node."""
    uuid: str
    """vmUUID, canonical."""
    hypervisor: str
    """Configured name."""
    vm_index: int
    name: str = ""
    oper_state: VmOperState = VmOperState.UNKNOWN
    admin_state: VmAdminState | None = None
    up_seconds: float | None = None
    """vmUpTime."""
    cpu: VmCpu = VmCpu()
    disks: tuple[VmDisk, ...] = ()
    nics: tuple[VmNic, ...] = ()
    asked_at: float = 0.0
    swapped: bool = False
    """The UUID matched only with its first three fields byte-swapped."""
    interval: float | None = None
    """Between the two readings of the rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorAnswer:
    """What became of asking one hypervisor."""

    name: str
    address: str = ""
    context: str = ""
    answered: bool = False
    silent: bool = False
    """Nothing came back at all. Neither: it answers, and not to us, or shows no VM-MIB."""
    problem: str = ""
    """Why not: "no answer within 2 s", "wrong community or no access", ..."""
    seconds: float | None = None
    vm_number: int | None = None
    up_seconds: float | None = None
    """vmHvUpTime."""
    agent_up_seconds: float | None = None
    """sysUpTime of the SNMP agent: a restart of snmpd is no restart of the hypervisor."""
    software: str = ""
    table_changed_seconds: float | None = None
    """How long ago vmTable last gained or lost a row (vmHvUpTime - vmTableLastChange)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmNotification:
    """A notification of VM-MIB that was received."""

    time: float
    """When it was received."""
    name: str
    """"vmPaused", "vmRunning", "vmDeleted", ..., or "coldStart" and the like."""
    hypervisor: str = ""
    """Configured name, "" when the sender is none of the configured ones."""
    sender: str = ""
    vm_index: int | None = None
    vm_name: str = ""
    uuid: str = ""
    """Canonical, "" when it carries none."""
    state_before: VmOperState | None = None
    """Its vmOperState: the state before the change."""
    text: str = ""
    """Its variable bindings as an operator reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmEvidence:
    """The nodes' machines on the hypervisors."""

    look: Look = Look()
    vms: tuple[VmState, ...] = ()
    missing: tuple[str, ...] = ()
    """Nodes whose UUID no hypervisor that answered has."""
    last_known: dict[str, str] = field(default_factory=dict)
    """Node -> hypervisor that had its VM before (the kept index)."""
    hypervisors: tuple[HypervisorAnswer, ...] = ()
    rates_missing: tuple[str, ...] = ()
    """One line for each VM that runs and whose CPU and storage rates could not be told yet: of
    interest where slowness is to be explained."""
    notifications: tuple[VmNotification, ...] = ()
    """In the window: of these VMs and of their hypervisors, oldest first."""
    listening_since: float | None = None
    """Since when notifications are received without a break; None: not at all."""
    rows: tuple[str, ...] = ()
    """The deciding rows as snmpwalk prints them: "VM-MIB::vmOperState.3 = INTEGER: paused(8)"."""


# The hypervisor's syslog


class SyslogKind(StrEnum):
    """What is unusual in a hypervisor's log (`triage.syslog.tables.FindingKind`)."""

    OUTAGE = "outage"
    NEW_EDGES = "new_edges"
    RARE_TEMPLATE = "rare_template"
    BURST = "burst"
    SILENCE = "silence"
    RESTART = "restart"
    CHANGE = "change"
    SCAN = "scan"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogLine:
    """A line of a hypervisor's log."""

    time: float
    text: str
    """"tag[pid]: message": masked, bounded."""
    template: str = ""
    """Id of its template, 12 hex digits; "" where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogFinding:
    """Something unusual in one hypervisor's log, and the lines that show it."""

    kind: SyslogKind
    hypervisor: str
    """Configured name."""
    host: str
    """As the log names it."""
    start: float
    end: float
    summary: str
    """One sentence, with figures."""
    score: float = 0.0
    """How far above its threshold: 1 is at the threshold."""
    lines: tuple[SyslogLine, ...] = ()
    """In order of time, bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogEvidence:
    """What the hypervisors' logs hold that is unusual for them, in the window."""

    look: Look = Look()
    findings: tuple[SyslogFinding, ...] = ()
    """In order of time."""
    hosts: tuple[str, ...] = ()
    """Whose lines were looked at: "kvm1 (kvm1.dc1.example)"."""
    read: int = 0
    """Lines of these hosts in the window."""
    learning_since: float | None = None
    """The oldest line that "unusual" was learnt from: a short past makes much look rare."""
    read_until: float | None = None
    """The newest line that was read of any host."""
    model: int = 0
    """Version of the templates."""


# All of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that one decision rests on; a file of it is decided again by `triage replay`."""

    target: Target
    anomaly: Anomaly
    decided_at: float
    """The clock of the decision: the decision itself reads none."""
    metric: MetricEvidence = MetricEvidence()
    proxy: ProxyEvidence = ProxyEvidence()
    app: AppEvidence = AppEvidence()
    pod: PodEvidence = PodEvidence()
    node: NodeEvidence = NodeEvidence()
    vm: VmEvidence = VmEvidence()
    syslog: SyslogEvidence = SyslogEvidence()
    gathered: tuple[Step, ...] = ()
    """Steps that were taken, in order; the others were not needed or not configured."""


# The verdict


class Policy(StrEnum):
    """How evidence is decided on."""

    DEFAULT = "default"
    """By response flags and details, with deeper layers explaining shallower ones."""
    PAPER = "paper"
    """Figure 4 of the source paper to the letter."""


class Cause(StrEnum):
    """The closed list of causes."""

    MONITORING_PATH = "monitoring_path"
    CLIENT = "client"
    PROXY = "proxy"
    PROXY_CONFIGURATION = "proxy_configuration"
    COMMUNICATION = "communication"
    """Between proxy and application."""
    APPLICATION = "application"
    POD = "pod"
    NODE = "node"
    UNDETERMINED = "undetermined"


class Confidence(StrEnum):
    """How sure a verdict is."""

    CERTAIN = "certain"
    """The deciding evidence was seen, and every step that could overrule it looked."""
    PROBABLE = "probable"
    """The evidence points there; something that would prove it was not seen."""
    POSSIBLE = "possible"
    """What is left when the rest was ruled out, or could not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A line that decided, or that a reader wants to see beside it."""

    step: Step
    time: float | None
    source: str
    text: str
    deciding: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step saw."""

    step: Step
    outcome: Outcome
    summary: str
    """One sentence; for SKIPPED and FAILED the reason."""
    window: Window | None = None
    lag: float | None = None
    """Seconds from the step's deciding line to what it explains (the anomaly, the proxy line)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The cause, how sure that is, and what shows it."""

    cause: Cause
    reason: str
    """Of the cause's documented reasons, such as "vm_not_running"; "" where it has none."""
    title: str
    """For people, short: "node: VM paused"."""
    summary: str
    """One or two sentences with names and times."""
    confidence: Confidence
    policy: Policy
    steps: tuple[StepResult, ...]
    proofs: tuple[Proof, ...] = ()
    unknowns: tuple[str, ...] = ()
    """What could not be looked at and might change the verdict."""
    object: str = ""
    """What is at fault: "pod front/front-app-0", "VM worker-1 on esx1", ..."""
    decided_at: float = 0.0
