"""A private libvirtd without privileges, whose test hypervisor several processes share.

As root it is run as nobody, so that it touches nothing of the machine's own libvirt.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.netsnmp import wait_until


class Libvirtd:
    """Below `folder`, which it makes; `uri` is that of the shared test hypervisor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "s" / "libvirt-sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"test+unix:///default?socket={self._socket}"

    def __enter__(self) -> Self:
        folder = self._folder
        (folder / "s").mkdir(parents=True)
        config = folder / "libvirtd.conf"
        config.write_text(
            f'unix_sock_dir = "{folder}/s"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
            'unix_sock_rw_perms = "0777"\nmax_client_requests = 5\n'
        )
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (folder, folder / "s"):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        program = shutil.which("libvirtd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program is None:
            raise RuntimeError("libvirtd is not installed (Debian: libvirt-daemon)")
        with (folder / "log").open("wb") as log:
            self._process = process = subprocess.Popen(
                [program, "-f", str(config), "-p", str(folder / "pid")],
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": str(folder),
                    "XDG_RUNTIME_DIR": str(folder),
                    "XDG_CONFIG_HOME": f"{folder}/config",
                    "XDG_CACHE_HOME": f"{folder}/cache",
                    "XDG_DATA_HOME": f"{folder}/data",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **identity,
            )

        def up() -> bool:
            if process.poll() is not None:
                raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])
            return self._socket.exists()

        wait_until(up, 20, "libvirtd to start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
