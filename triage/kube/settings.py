"""What is configured about one Kubernetes cluster, and about the pods of one target."""

from __future__ import annotations

from dataclasses import dataclass

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeSettings:
    """A cluster: how to reach it, and how much to ask of it. Durations in seconds."""

    name: str = "default"
    """How the cluster is called in evidence and errors."""
    kubeconfig: str = ""
    """Path; "": the pod's service account where there is one, otherwise $KUBECONFIG or
    ~/.kube/config."""
    context: str = ""
    """Of the kubeconfig; "": its current-context."""
    service_account: str = SERVICE_ACCOUNT
    """Folder with the files token and ca.crt, used inside a cluster."""
    namespaces: tuple[str, ...] = ()
    """Whose pods are watched, so that those that vanish in an outage are still known."""
    timeout: float = 5.0
    """Of one attempt of one request."""
    attempts: int = 2
    """In all, of a request that may be repeated."""
    concurrency: int = 8
    """Requests at once; followed logs are not counted."""
    followers: int = 200
    """Logs followed at once."""
    page: int = 500
    """Objects per page of a list."""
    max_objects: int = 20_000
    """Of one list."""
    max_body: int = 64 * 1024 * 1024
    """Bytes of one answer."""
    log_bytes: int = 64 * 1024 * 1024
    """Bytes of one container's log read for one question."""
    line_bytes: int = 256 * 1024
    """Longer lines are cut."""
    follow_idle: float = 60.0
    """A followed log that gives nothing for so long is asked for again."""
    reload: float = 60.0
    """How often credentials (token files, exec plugins, certificates) are looked at again."""
    max_pods: int = 50
    """Pods of one target that one look describes."""
    max_events: int = 200
    """Events that one look gives."""
    remember: float = 3600.0
    """How long a pod or node that vanished is remembered."""
    remember_pods: int = 10_000
    """Pods remembered at most."""
    watch: float = 300.0
    """How long one watch lasts before it is asked for again."""
    retry: float = 15.0
    """Longest wait before a watch that failed is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSelector:
    """Which pods back a target: by a service, a label selector or an owner (the first given)."""

    namespace: str
    service: str = ""
    selector: str = ""
    """Label selector as kubectl -l takes it: "app=front,tier in (web, api)"."""
    owner: str = ""
    """"Deployment/front", "StatefulSet/db", "DaemonSet/agent", "ReplicaSet/front-6d4f"."""
    containers: tuple[str, ...] = ()
    """Containers whose logs are the application's; (): all but the proxy."""
    proxy_container: str = "istio-proxy"

    @property
    def shown(self) -> str:
        """How an operator names it."""
        if self.service:
            return f"service {self.namespace}/{self.service}"
        if self.selector:
            return f"pods of {self.namespace} with {self.selector}"
        return f"{self.owner or 'all pods'} in {self.namespace}"
