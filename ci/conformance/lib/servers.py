"""Servers on loopback that hold the folders of all cases: HTTP, and git's own protocol."""
import re
import socket
import subprocess
import sys
import time


class Servers:
    """Started on entry, ended by their own handles. `addresses` are those that @HTTP@ and @GIT@ stand for."""

    def __init__(self, folder):
        self.folder, self.running, self.addresses = folder, [], {}

    def __enter__(self):
        http = subprocess.Popen([sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.running.append(http)
        port = re.search(r"port (\d+)", http.stdout.readline())[1]
        self.addresses["HTTP"] = f"127.0.0.1:{port}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # The program itself, without the wrapper, so that ending it ends it.
        path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
        command = [f"{path}/git-daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", f"--base-path={self.folder}"]
        self.running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        self.addresses["GIT"] = f"127.0.0.1:{port}"
        until_open(port)
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.terminate()
            process.wait()


def until_open(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")
