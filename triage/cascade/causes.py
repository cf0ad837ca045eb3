"""The closed list of causes and their reasons, from which docs/triage-reference.md is made."""

from __future__ import annotations

from triage.evidence import Cause

MEANING: dict[Cause, str] = {
    Cause.MONITORING_PATH: "The site answered well, or was never asked: the fault lies between the "
    "monitor and the proxy, or in the monitor.",
    Cause.CLIENT: "The client itself ended or spoilt the request.",
    Cause.PROXY: "The proxy failed by itself.",
    Cause.PROXY_CONFIGURATION: "The proxy did as it was told: its configuration or policy has no "
    "way for the request.",
    Cause.COMMUNICATION: "The proxy and the application did not come to an end with each other, "
    "and neither of them, nor what they run on, shows a fault.",
    Cause.APPLICATION: "The application failed the request.",
    Cause.POD: "The pod, or one of its containers, was not there to answer.",
    Cause.NODE: "The machine below the pod was not there, or not able, to run it.",
    Cause.UNDETERMINED: "What was seen does not decide; the verdict says what could not be seen.",
}

REASONS: dict[Cause, dict[str, str]] = {
    Cause.MONITORING_PATH: {
        "answered_well": "the proxy logged a good answer to the monitor's own request",
        "not_seen_by_proxy": "the monitor's request never came to a proxy that served others",
        "answered_before_proxy": "the monitor got a status that no proxy of the target sent",
        "not_connected": "the monitor could not resolve the name, connect or agree on TLS",
        "exporter_down": "Prometheus could not scrape the exporter",
        "exporter_at_fault": "all targets of the exporter failed at once",
    },
    Cause.CLIENT: {
        "client_gone": "the client closed its connection before the answer",
        "protocol_error": "the client's request broke the protocol",
    },
    Cause.PROXY: {
        "overload": "the proxy shed load: circuit breaker or overload manager",
        "internal": "the proxy failed in a way that its flags name",
        "error": "the proxy answered an error by itself",
    },
    Cause.PROXY_CONFIGURATION: {
        "no_route": "no route or no filter chain fits the request (NR)",
        "cluster_not_found": "the route names a cluster that does not exist (NC)",
        "rbac_denied": "an authorization policy denied it",
        "authorization_denied": "the external authorization service denied or failed it (UAEX)",
        "rate_limited": "a rate limit refused it (RL, RLSE)",
        "fault_injected": "a fault filter delayed or aborted it on purpose (FI, DI)",
        "configuration": "another of the proxy's settings refused it, or left it no host to ask",
    },
    Cause.COMMUNICATION: {
        "connection_reset": "the connection to the application ended before its answer",
        "connect_failure": "the application's port did not take the connection",
        "protocol_error": "the application's answer broke the protocol (UPE)",
        "answer_lost": "a good answer was logged nearer to the application, and was lost",
    },
    Cause.APPLICATION: {
        "http_status": "it answered with that status",
        "error_logged": "it logged errors that fit the request and the time",
        "slow": "it did not answer in time",
        "not_listening": "it was starting or stopping, and did not listen",
    },
    Cause.POD: {
        "oom_killed": "a container was killed for want of memory",
        "crashed": "a container ended by itself, or by a signal",
        "crash_loop": "a container keeps ending, and waits to be started again",
        "liveness_killed": "the kubelet killed a container that failed its liveness probe",
        "not_ready": "its readiness probe failed, or a container is not ready",
        "image": "a container's image cannot be had",
        "container_config": "a container cannot be made: configuration, volume or sandbox",
        "init_failed": "an init container does not finish",
        "unschedulable": "no node takes the pod",
        "starting": "the pod was started and is not ready yet",
        "evicted": "the pod was evicted or preempted",
        "failed": "the pod failed",
        "deleted": "the pod was deleted",
        "rollout": "a rollout replaced the pods",
        "missing": "there is no pod behind the service",
    },
    Cause.NODE: {
        "vm_not_running": "the node's VM is, or was, in a state other than running",
        "vm_restarted": "the node's VM started again in the outage",
        "vm_missing": "no hypervisor that answered has the node's VM",
        "hypervisor_unreachable": "the hypervisor that has the VM does not answer",
        "hypervisor_restarted": "the hypervisor started again in the outage",
        "cpu_starved": "the VM's virtual CPUs are saturated, or its host's CPUs are",
        "storage_slow": "the VM's storage answers slowly or not at all",
        "network_down": "the VM's network interface is down on the hypervisor, or drops packets",
        "kubelet_not_ready": "the VM runs, and its kubelet is not ready",
        "unknown": "the pod is healthy and cannot be reached; nothing deeper shows why",
    },
    Cause.UNDETERMINED: {
        "no_evidence": "no step saw anything that decides",
        "could_not_look": "the steps that would decide could not look",
    },
}
