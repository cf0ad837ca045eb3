"""The harness of the end-to-end tests: real components make real lines and samples."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.triage.kube_setup import serving
from tests.triage.site import Daemon, Site, needs, needs_site, wait_for
from triage.evidence import AppEvidence, Match, Outcome, ProxyRequest, Target, Window
from triage.kube.logs import KubernetesLogs
from triage.proxylog.formats import AutoFormat
from triage.sources.app import AppLooker
from triage.sources.files import FileSource
from triage.sources.logs import LogRef

pytestmark = [pytest.mark.e2e, needs_site]
TARGET = Target(name="front", path="/")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), monitored=False) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """In good order before and after."""
    shared.heal()
    yield shared
    shared.heal()
    if shared.app.process is None:
        shared.app.start()


def proxied(site: Site, path: str) -> ProxyRequest:
    """The proxy's line of a request, parsed."""
    found = AutoFormat().parse(site.await_proxy_line(f'"GET {path} HTTP/1.1"'))
    assert found is not None
    return found


def look(site: Site, request: ProxyRequest, *refs: LogRef) -> AppEvidence:
    now = time.time()
    window = Window(start=now - 60, end=now)
    looker = AppLooker(site.source)
    return asyncio.run(looker.look(TARGET, window, request, refs or [site.ref()]))


def test_a_good_answer(site: Site):
    assert site.get("/good") == 200
    request = proxied(site, "/good")
    assert (request.status, request.flags, request.details) == (200, (), "via_upstream")
    evidence = look(site, request)
    own = [line for line in evidence.lines if line.match is Match.OWN]
    assert [(line.status, line.score) for line in own] == [(200, 0.0)]
    files = AppLooker(FileSource())
    window = Window(start=request.time - 30, end=time.time())
    again = asyncio.run(files.look(TARGET, window, request, [site.file_ref()]))
    assert [line.line.text for line in again.lines] == [line.line.text for line in evidence.lines]


def test_an_exception_is_found_in_the_applications_log(site: Site):
    site.break_it("error")
    assert site.get("/error") == 500
    request = proxied(site, "/error")
    assert (request.status, request.details) == (500, "via_upstream")
    site.await_app_line("RuntimeError")
    evidence = look(site, request)
    own = [line for line in evidence.lines if line.match is Match.OWN]
    assert [(line.status, line.score) for line in own] == [(500, 0.95)]
    crash = [line for line in evidence.lines if "could not connect" in line.line.text]
    assert [line.score for line in crash] == [0.9]


@pytest.mark.asyncio
async def test_the_logs_come_through_the_stand_in_for_the_cluster_too(site: Site, tmp_path: Path):
    assert site.get("/cluster") == 200
    request = proxied(site, "/cluster")
    window = Window(start=request.time - 30, end=time.time())
    async with serving(tmp_path, site.cluster) as (_, client):
        looker = AppLooker(KubernetesLogs(client))
        evidence = await looker.look(TARGET, window, request, [site.ref()])
    assert evidence.look.whole
    own = [line for line in evidence.lines if line.match is Match.OWN]
    assert [(line.path, line.status) for line in own] == [("/cluster", 200)]
    direct = await AppLooker(site.source).look(TARGET, window, request, [site.ref()])
    assert direct.read == evidence.read


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_a_connection_that_the_application_closes_is_503_uc(site: Site, kind: str):
    site.break_it(kind)
    assert site.get(f"/{kind}") == 503
    request = proxied(site, f"/{kind}")
    assert request.flags == ("UC",)
    assert request.details is not None
    assert request.details.startswith("upstream_reset_before_response_started")
    evidence = look(site, request)
    assert not [line for line in evidence.lines if line.match is Match.OWN]
    assert evidence.logs_access is True


def test_a_body_that_is_cut_short_is_200_upe(site: Site):
    site.break_it("cut")
    site.get("/cut")
    request = proxied(site, "/cut")
    assert (request.status, request.flags) == (200, ("UPE",))


def test_a_slow_answer_is_504_ut_and_the_application_answers_nobody(site: Site):
    site.break_it("slow", 1.0)
    assert site.get("/slow") == 504
    request = proxied(site, "/slow")
    assert request.flags == ("UT",)
    assert site.app.process is not None


def test_an_application_that_is_down_is_503_uf(site: Site):
    site.app.stop()
    assert site.get("/down") == 503
    request = proxied(site, "/down")
    assert request.flags == ("UF",)
    evidence = look(site, request)
    assert any("Shutting down" in line.line.text for line in evidence.lines)


def test_a_crash_is_503_uc_and_the_former_log_is_kept(site: Site):
    site.break_it("crash")
    assert site.get("/crash") == 503
    assert site.app.died() == -signal.SIGSEGV
    site.heal()
    site.app.start()
    request = proxied(site, "/crash")
    assert request.flags == ("UC",)
    evidence = look(site, request, site.ref(), site.ref(previous=True))
    assert evidence.look.outcome is Outcome.RAN
    assert evidence.containers == ("front/front-app-0/app", "front/front-app-0/app (previous)")
    assert any(line.line.previous for line in evidence.lines)


def test_an_exporters_line_is_noise(site: Site):
    site.break_it("exporter")
    assert site.get("/exporter") == 200
    site.await_app_line("exporting traces")
    evidence = look(site, proxied(site, "/exporter"))
    noise = [line for line in evidence.lines if line.noise]
    assert [(line.noise, line.score) for line in noise] == [("telemetry exporter", 0.0)]
    assert evidence.with_error >= 1


@needs("prometheus-alertmanager")
def test_samples_and_alerts(tmp_path: Path):
    with Site(tmp_path, alerting=True) as site:
        broken = site.break_it("close")
        bad = site.prometheus.await_value("probe_http_status_code", 503.0)
        assert bad > broken - 1.0
        site.await_proxy_line(" 503 UC ")
        post = site.receiver.await_post(lambda one: one["json"]["status"] == "firing")
        assert post["path"] == "/alertmanager"
        assert post["json"]["alerts"][0]["labels"]["alertname"] == "SiteDown"
        assert site.alertmanager.alerts()
        site.proxy.stop()
        site.prometheus.await_value("probe_http_status_code", 0.0)
        site.proxy.start()
        site.heal()
        good = site.prometheus.await_value("probe_http_status_code", 200.0)
        samples = site.prometheus.samples("probe_http_status_code[1m]")
        assert [value for at, value in samples if at == bad] == [503.0]
        assert good > bad
        site.receiver.await_post(lambda one: one["json"]["status"] == "resolved")
        daemons = [site.app, site.proxy, site.exporter, site.prometheus, site.alertmanager]
        processes = [daemon.process for daemon in daemons if daemon is not None]
    assert all(process is not None and process.returncode is not None for process in processes)


def test_what_does_not_start_is_said_and_leaves_no_process(tmp_path: Path):
    daemon = Daemon("broken", ["false"], tmp_path, "http://127.0.0.1:1/")
    with pytest.raises(AssertionError, match="broken ended by itself"), daemon:
        pass
    assert daemon.process is None
    with pytest.raises(AssertionError, match="in vain for luck"):
        wait_for(lambda: None, "luck", 0.05)
