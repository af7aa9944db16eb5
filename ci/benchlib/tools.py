"""The tools, each with its daemons, its cache and its own way to say build and push."""
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from . import measure

BASE = "bench/base:1"


class Bench:
    """Servers on loopback, a base image in a registry, and the tools that are here."""

    def __init__(self, program, work, peers):
        self.program, self.work, self.daemons = program, work, []
        self.log = open(work / "log", "w")
        self.registry = f"127.0.0.1:{free_port()}"
        self.peers = peers
        self.tools = {}

    def __enter__(self):
        try:
            self._registry()
            self._base()
            self.tools["tbuild"] = Tbuild(self)
            for name, make in [("docker", Docker), ("buildkit20", Docker), ("buildah", Buildah), ("buildkit", BuildKit)]:
                if name in self.peers and make.here():
                    self.tools[name] = make(self, name)
            for tool in self.tools.values():
                tool.fetch_base()
        except BaseException:
            self.__exit__()
            raise
        print("timed:", ", ".join(self.tools))
        return self

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait()
        self.log.close()

    def daemon(self, argv, ready, env=None):
        child = subprocess.Popen(argv, stdout=self.log, stderr=self.log, env={**os.environ, **(env or {})})
        self.daemons.append(child)
        for _ in range(300):
            if ready():
                return child.pid
            if child.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"{argv[0]} does not come up, see {self.log.name}")

    def end(self, pid):
        child = next(child for child in self.daemons if child.pid == pid)
        child.terminate()
        child.wait()
        self.daemons.remove(child)

    def run(self, argv, daemons=(), env=None, cwd=None):
        return measure.command(argv, self.log, daemons, env, cwd)

    def _registry(self):
        config = self.work / "registry.yml"
        config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.work}/registry}}}}\nhttp: {{addr: '{self.registry}'}}\n"
        )
        host, port = self.registry.split(":")
        self.daemon(["docker-registry", "serve", str(config)], lambda: answers(host, int(port)))

    def _base(self):
        folder = self.work / "base"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text("FROM debian:bookworm\n")
        self.run([self.program, "--store", str(self.work / "base-store"), "build", "--push", "-t", f"{self.registry}/{BASE}", str(folder)])

    def image(self, name):
        return f"{self.registry}/bench/{name}:1"


class Tool:
    """build(context, image), push(image) and build_push(context, image) give a Sample; forget() leaves a cache that has
    nothing but the base. It starts a new one beside the old: deleting many files slows some file systems for minutes,
    and whoever comes next would pay."""

    # Flags that make it give the same bytes every time; None where it cannot. tbuild needs none.
    reproducible = None

    def __init__(self, bench, name):
        self.bench, self.name = bench, name
        self.caches = 0
        self.more = []
        self.renew()

    def renew(self):
        """A new folder for the tool's cache."""
        self.caches += 1
        self.own = self.bench.work / f"{self.name}-{self.caches}"
        self.own.mkdir()

    def forget(self):
        self.renew()
        self.fetch_base()

    @staticmethod
    def here():
        return True

    def base_context(self):
        folder = self.own / "from"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(f"FROM {self.bench.registry}/{BASE}\nRUN true\n")
        return folder

    def fetch_base(self):
        self.build(self.base_context(), "warm")


class Tbuild(Tool):
    reproducible = []

    def __init__(self, bench):
        super().__init__(bench, "tbuild")

    def _call(self, context, image, *flags, env=None):
        # The folder of the run takes the lock of the base.
        return self.bench.run(
            [self.bench.program, "--store", str(self.own / "store"), "-C", str(self.own), "build", "-t", self.bench.image(f"{image}-tbuild"), *flags, str(context)],
            env=env,
        )

    def build(self, context, image, *flags, env=None):
        return self._call(context, image, *flags, env=env)

    def build_push(self, context, image):
        return self._call(context, image, "--push")

    def images(self, project, names):
        return self.bench.run([self.bench.program, "--store", str(self.own / "store"), "-C", str(project), "image", *names])


class Docker(Tool):
    def renew(self):
        super().renew()
        bench, name = self.bench, self.name
        if self.caches > 1:
            bench.end(self.pids[0])
        self.socket = f"unix://{self.own}/sock"
        self.env = {"DOCKER_BUILDKIT": "1" if name == "buildkit20" else "0", "DOCKER_HOST": self.socket, "DOCKER_CONFIG": str(self.own / "config")}
        pid = bench.daemon(
            ["dockerd", "--data-root", f"{self.own}/data", "--exec-root", f"{self.own}/exec", "--pidfile", f"{self.own}/pid", "-H", self.socket,
             "--iptables=false", "--bridge=none", "--storage-driver=overlay2"],
            lambda: subprocess.run([docker(), "version"], env={**os.environ, **self.env}, capture_output=True).returncode == 0,
        )
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.pids = [pid, *map(int, children)]

    @staticmethod
    def here():
        return bool(shutil.which("dockerd"))

    def build(self, context, image):
        return self.bench.run([docker(), "build", "-q", "--network=host", "-t", self.bench.image(f"{image}-{self.name}"), str(context)], self.pids, self.env)

    def push(self, image):
        return self.bench.run([docker(), "push", "-q", self.bench.image(f"{image}-{self.name}")], self.pids, self.env)

    def build_push(self, context, image):
        return add(self.build(context, image), self.push(image))


class Buildah(Tool):
    reproducible = ["--timestamp=0"]

    def renew(self):
        super().renew()
        self.flags = ["--root", f"{self.own}/root", "--runroot", f"{self.own}/run", "--storage-driver", "overlay"]

    @staticmethod
    def here():
        return bool(shutil.which("buildah"))

    def build(self, context, image, *flags, env=None):
        return self.bench.run(
            ["buildah", *self.flags, "bud", *self.more, *flags, "-q", "--layers", "--network=host", "--isolation=chroot", "--tls-verify=false",
             "-t", self.bench.image(f"{image}-{self.name}"), str(context)],
            env=env,
        )

    def push(self, image):
        return self.bench.run(["buildah", *self.flags, "push", "-q", "--tls-verify=false", self.bench.image(f"{image}-{self.name}")])

    def build_push(self, context, image):
        return add(self.build(context, image), self.push(image))


class BuildKit(Tool):
    """A buildkitd that someone else started, with this run's loopback registry allowed in its configuration."""

    reproducible = ["--opt", "build-arg:SOURCE_DATE_EPOCH=0"]

    @staticmethod
    def here():
        return bool(os.environ.get("BUILDKIT_HOST") and shutil.which("buildctl"))

    def _call(self, context, image, push):
        output = f"type=image,name={self.bench.image(f'{image}-{self.name}')},push={push},registry.insecure=true"
        if self.more:
            output += ",rewrite-timestamp=true"
        return self.bench.run(
            ["buildctl", "build", *self.more, "--progress=plain", "--frontend=dockerfile.v0", "--local", f"context={context}", "--local", f"dockerfile={context}", "--output", output]
        )

    def build(self, context, image):
        return self._call(context, image, "false")

    def build_push(self, context, image):
        return self._call(context, image, "true")

    def forget(self):
        self.bench.run(["buildctl", "prune", "--all"])
        self.fetch_base()


def add(one, two):
    return measure.Sample(one.wall + two.wall, one.cpu + two.cpu, max(one.peak, two.peak))


def docker():
    return "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False
