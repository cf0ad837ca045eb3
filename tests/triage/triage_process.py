"""`triage run` as a process of its own, on a configuration that a test gives; and a cluster for it.

    with TriageProcess(tmp_path, config) as triage:   # waits until it is ready
        triage.incidents()                            # `triage incidents --json`
        triage.metrics()["triage_acting"]
        triage.stop(signal.SIGKILL)
        triage.start()                                # goes on from its state

What it logs is in a file; a traceback in it fails the test at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.triage.site import HOST, READY, ROOT, free_ports, wait_for
from triage.cli import main
from triage.kube.recorded import RecordedCluster

T = TypeVar("T")
Labels = Mapping[str, str]


def command(*arguments: str | Path) -> list[str]:
    """A command line of triage."""
    return [sys.executable, "-m", "triage.cli", *map(str, arguments)]


def run_triage(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Done(NamedTuple):
    """What came of a command: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def run_here(*arguments: str | Path) -> Done:
    """Run one command in this process, which spares the imports."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(one) for one in arguments])
    texts = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    return Done(code, *texts)


class TriageProcess:
    """A running `triage run`; a context manager that starts it, waits for it and ends it."""

    def __init__(self, folder: Path, config: Mapping[str, Any], name: str = "triage") -> None:
        """`config` is completed with a state folder and a free port for its pages."""
        (port,) = free_ports(1)
        self.url = f"http://{HOST}:{port}"
        self.config_file = folder / f"{name}.yaml"
        self.log = folder / f"{name}.log"
        self.state = folder / f"{name}-state"
        self.environment: dict[str, str] = {}
        self._web = {"listen_address": f"{HOST}:{port}"}
        self.configure(config)
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write another configuration; it holds from the next start or reload on."""
        given = {"state_dir": str(self.state), "web": self._web, **config}
        self.config_file.write_text(json.dumps(given, indent=1))  # JSON is YAML

    # Its life

    def spawn(self) -> None:
        """Run it; returns at once."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command("run", "--config.file", self.config_file),
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Run it and wait until it is ready."""
        self.spawn()
        wait_for(self._ready, "triage to be ready")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended by itself:\n{self.said()}"
        return self.get("/-/ready")[0] == 200

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal and return its exit status."""
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            if self.process is not None:
                self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = self.stop() if self.process is not None else 0
        if kind is None:
            assert "Traceback" not in self.said(), self.said()
            assert code == 0, self.said()

    def said(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def await_said(self, text: str, seconds: float = READY) -> None:
        """Wait until a line with `text` was logged."""
        wait_for(lambda: text in self.said(), f"{text!r} in its log", seconds)

    # Its pages

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages; status 0 when nobody answers."""
        return self._ask(urllib.request.Request(self.url + path))  # noqa: S310

    def post(self, path: str, body: bytes = b"") -> tuple[int, str]:
        """The same for a POST."""
        return self._ask(urllib.request.Request(self.url + path, data=body, method="POST"))  # noqa: S310

    @staticmethod
    def _ask(request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self, name: str) -> list[tuple[Labels, float]]:
        """The samples of a metric: labels and value."""
        _, body = self.get("/metrics")
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(body)
            for sample in family.samples
            if sample.name == name
        ]

    def failing(self) -> set[str]:
        """The sources that it says fail now."""
        return {labels["source"] for labels, _ in self.metrics("triage_source_failing")}

    def open(self) -> list[Labels]:
        """Its open incidents, as /metrics has them."""
        return [labels for labels, _ in self.metrics("triage_incident_open")]

    # Its commands

    def run(self, name: str, *arguments: str | Path) -> Done:
        """Run another command with its configuration, in this process."""
        return run_here(name, "--config.file", self.config_file, *arguments)

    def incidents(self) -> list[dict[str, Any]]:
        """`triage incidents --json`, newest first."""
        return list(self._json("incidents", "--json")["incidents"])

    def show(self, incident: str) -> dict[str, Any]:
        """`triage show ID --json`."""
        return dict(self._json("show", incident, "--json"))

    def _json(self, *arguments: str) -> Any:
        done = self.run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)


class ClusterThread:
    """A recorded cluster that is served by a thread, so that a test can change it as it runs."""

    def __init__(
        self, source: Any, kind: type[RecordedCluster] = RecordedCluster, **more: Any
    ) -> None:
        """`more` goes to `kind`."""
        self._kind = kind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster")
        self._source = source
        self._more = more
        self._cluster: RecordedCluster | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._cluster = self._await(self._make())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._cluster is not None:
                self._await(self._cluster.stop())
        finally:
            self._end()

    async def _make(self) -> RecordedCluster:
        cluster = self._kind(self._source, **self._more)
        await cluster.start()
        return cluster

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(READY)

    async def _end_the_rest(self) -> None:
        """End what a server's cleanup leaves: handlers whose client went away are not told."""
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _end(self) -> None:
        self._await(self._end_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(READY)
        self._loop.close()

    def do(self, what: Callable[[RecordedCluster], T]) -> T:
        """Do something to it, in its own thread."""

        async def work() -> T:
            assert self._cluster is not None
            return what(self._cluster)

        found: T = self._await(work())
        return found

    def stop_serving(self) -> None:
        """Refuse connections from now on; what it holds stays."""
        assert self._cluster is not None
        self._await(self._cluster.stop())

    def serve_again(self) -> None:
        """Serve again, on the same port."""
        assert self._cluster is not None
        self._await(self._cluster.start())
