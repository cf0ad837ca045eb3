from __future__ import annotations

import sys
from pathlib import Path

import pytest

from triage.assembly import Settings, assemble
from triage.config import load
from triage.evidence import Policy
from vmmib.configfile import ConfigError

LEAST = """
prometheus: {url: "http://127.0.0.1:9090"}
targets:
  - {name: shop, url: "https://shop.example/a?b=1"}
"""

WHOLE = """
policy: paper
state_dir: state
prometheus:
  url: "http://prometheus:9090/prefix"
  query: 'probe_http_status_code{job="blackbox"}'
  bearer_token_file: token
clusters:
  - {name: main, kubeconfig: kubeconfig, timeout: 3s}
targets:
  - name: shop
    url: "https://shop.example/"
    match: 'job="blackbox", instance=~"https://shop.*"'
    service: front
    namespace: shop
    gateway: {selector: "istio=ingressgateway"}
    noise: ["healthz"]
    app: {utc_offset: 32400}
  - {name: files, proxy_files: ["/var/log/envoy/*.log"], proxy_json_format: {start: "%START_TIME%"}}
hypervisors:
  - {name: kvm1, address: "192.0.2.1:161", credentials_file: snmp.toml}
  - {name: esx1, address: "[2001:db8::1]:161", credentials_file: snmp.toml, context: esx1,
     host_credentials_file: snmp.toml, syslog_hosts: [esx1.dc.example]}
notifications: {listen_address: "127.0.0.1:0", credentials_files: [snmp.toml]}
syslog: {paths: ["remote/*", /var/log/remote], time_zone: Asia/Tokyo, history: 14d}
alerts:
  external_url: "https://triage.example"
  alertmanager: [{name: am, url: "http://am:9093", http: {timeout: 3}, labels: {team: web}}]
  slack: [{name: ops, url_file: slack}]
  webhook: [{name: hook, url: "http://127.0.0.1:1/x"}]
  heartbeat: {interval: 30s}
windows: {clock_skew: 3s, proxy_before: 40}
incidents: {recovery: 90s}
triggers: {proxy_share: 0.5}
limits: {cpu: 0.9}
retention: {incidents: 50}
lease: {namespace: triage}
"""

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def written(folder: Path, text: str, name: str = "triage.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    written(tmp_path, 'community = "public"\n', "snmp.toml")
    written(tmp_path, "secret", "token")
    written(tmp_path, "https://hooks.example/x", "slack")
    written(tmp_path, KUBECONFIG, "kubeconfig")
    return written(tmp_path, WHOLE)


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [one.removeprefix(f"{path}: ") for one in caught.value.problems]


def test_little_is_enough(tmp_path: Path) -> None:
    config = load(written(tmp_path, LEAST))
    target = config.targets[0].target()
    assert (target.method, target.path, target.authority) == ("GET", "/a?b=1", "shop.example")
    assert config.policy is Policy.DEFAULT


@pytest.mark.asyncio
async def test_all_of_it_reaches_the_parts(whole: Path) -> None:
    config = load(whole)
    settings = Settings.of(config)
    assert settings.windows.policy is Policy.PAPER
    assert (settings.windows.clock_skew, settings.windows.proxy_before) == (3.0, 40.0)
    assert settings.incidents.recovery == settings.triggers.recovery == 90.0
    assert settings.limits.cpu == 0.9
    assert settings.retention.incidents == 50
    assembly = assemble(config)
    try:
        assert [sink.name for sink in assembly.sinks] == ["am", "ops", "hook"]
        assert assembly.alertmanagers[0].labels == (("team", "web"),)
        assert assembly.alertmanagers[0].http.timeout == 3.0
        shop = assembly.watched["shop"].place
        assert shop.cluster is assembly.clusters["main"]
        assert shop.gateway is not None
        assert assembly.clusters["main"].settings.namespaces == ("shop",)
        assert assembly.watched["files"].place.cluster is None
        assert assembly.vms is not None
        assert assembly.heartbeat is not None
        assert assembly.syslog is not None
        assert shop.syslog is assembly.syslog
        assert [one.syslog_hosts for one in assembly.syslog.hypervisors] == [
            (),
            ("esx1.dc.example",),
        ]
        assert [one.address for one in assembly.syslog.hypervisors] == ["192.0.2.1", "2001:db8::1"]
    finally:
        await assembly.close()
    watching = config.watch_settings()
    assert watching is not None
    assert watching.paths == (str(whole.parent / "remote/*"), "/var/log/remote")
    assert watching.store_dir == str(whole.parent / "state" / "syslog")
    assert (watching.time_zone, watching.history) == ("Asia/Tokyo", 14 * 86400.0)
    kvm1, esx1 = (one.settings() for one in config.hypervisors)
    assert kvm1.host_credentials is None
    assert esx1.host_credentials == esx1.credentials
    receiver = config.receiver_settings()
    assert receiver is not None
    assert [one.hypervisor for one in receiver.sources] == ["kvm1", "esx1"]
    assert receiver.sources[1].host == "2001:db8::1"
    assert "public" not in repr(receiver)
    assert "public" not in repr(config)


BAD = {
    "targets: [{name: a, urll: x}]": 'targets[1].urll: unknown key; did you mean "url"?',
    "targets: [{url: 'http://a/'}]": "targets[1].name: is missing",
    "targets: [{name: a}, {name: a}]": 'two targets are named "a": give each a name of its own',
    "targets: [{name: a, url: 'ftp://a/'}]": 'must be a URL such as "http://127.0.0.1:9090"',
    "targets: [{name: a, url: 'http://u:p@a/'}]": "must not hold a password",
    "targets: [{name: a, user_agent: '('}]": "is no regular expression",
    "targets: [{name: a, match: 'x='}]": "matchers: not understood",
    "targets: [{name: a, selector: 'a in ('}]": "not a label selector",
    "targets: [{name: a, proxy_format: '%NO_SUCH_THING'}]": "targets[1].proxy_format: ",
    "targets: [{name: a, cluster: x}]": 'in cluster "x", which is not configured',
    "targets: [{name: a, scrape_interval: 0}]": "targets[1].scrape_interval: ",
    "prometheus: {url: 'http://a', password: x}": "prometheus.password: a secret has no place here",
    "prometheus: {}": "prometheus.url: is missing",
    "hypervisors: [{name: a, address: x, credentials_file: c}]": "hypervisors[1].address: must be",
    "hypervisors: [{name: a, address: 'x:161', credentials_file: f, community: c}]": (
        "a secret has no place here"
    ),
    "notifications: {credentials_files: []}": "notifications.credentials_files: ",
    "alerts: {alertmanager: [{name: a, url: 'http://a'}], slack: [{name: a, url_file: b}]}": (
        'two sinks of alerts are named "a"'
    ),
    "alerts: {alertmanager: [{name: a}]}": "alerts.alertmanager[1].url: is missing",
    "windows: {proxy_befor: 3}": 'windows.proxy_befor: unknown key; did you mean "proxy_before"?',
    "windows: {clock_skew: soon}": "windows.clock_skew: must be seconds",
    "windows: {clock_skew: -1}": "windows.clock_skew: must be at least 0",
    "policy: other": "policy: ",
    "limits: {cpu: 95}": "limits.cpu: ",
    "triggers: {recovery: 3}": "triggers.recovery: unknown key",
    "lease: {}": "lease needs a cluster",
    "web: {listen_address: nowhere}": "web.listen_address: must be HOST:PORT",
    "concurrency: 0": "concurrency: must be at least 1",
    "syslog: {paths: []}": "syslog.paths: ",
    "syslog: {}": "syslog.paths: is missing",
    "syslog: {paths: [x], time_zone: Mars}": "syslog.time_zone: is no time zone",
    "syslog: {paths: [x], history: 1m}": "syslog.history: must be at least",
    "syslog: {paths: [x]}": "syslog needs hypervisors",
    "hypervisors: [{name: a, address: 'x:161', credentials_file: f, syslog_hosts: [b]}]": (
        "there is no section syslog"
    ),
}


@pytest.mark.parametrize("text", BAD)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, text: str) -> None:
    found = problems(written(tmp_path, text))
    assert len(found) == 1
    assert BAD[text] in found[0]
    assert "\n" not in found[0]


def test_what_files_hold_is_checked_when_the_parts_are_made(tmp_path: Path) -> None:
    text = """
clusters: [{name: main, kubeconfig: nowhere}]
hypervisors: [{name: a, address: "x:161", credentials_file: nowhere.toml}]
alerts: {slack: [{name: ops, url_file: nowhere}]}
targets: [{name: a, app_files: [x], noise: ["(a+)+b"]}]
"""
    config = load(written(tmp_path, text))
    with pytest.raises(ConfigError) as caught:
        assemble(config)
    lines = caught.value.problems
    assert len(lines) == 3
    for thing in ("nowhere.toml", "alerts.slack", "target a: "):
        assert any(thing in line for line in lines), lines


def test_the_extra_that_is_not_installed_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 'community = "public"\n', "snmp.toml")
    text = """
syslog: {paths: [x]}
hypervisors: [{name: a, address: "x:161", credentials_file: snmp.toml}]
"""
    config = load(written(tmp_path, text))
    monkeypatch.delitem(sys.modules, "triage.syslog.watch", raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError) as caught:
        assemble(config)
    (line,) = caught.value.problems
    assert line.startswith("syslog: ")
    assert "pip install 'vmmib[syslog]'" in line


@pytest.mark.asyncio
async def test_a_kubeconfig_that_cannot_be_read_is_a_line(tmp_path: Path) -> None:
    assembly = assemble(load(written(tmp_path, "clusters: [{name: main, kubeconfig: nowhere}]")))
    with pytest.raises(ConfigError, match=r"cluster main: .*nowhere does not exist"):
        await assembly.check_files()
    await assembly.close()
