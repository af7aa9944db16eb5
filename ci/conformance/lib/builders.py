"""The builders: each gives a case's image as an archive, or says why it refuses."""
import os
import re
import subprocess
import time
from pathlib import Path

from . import cases


class Refused(Exception):
    """What a builder says when it does not build."""


def call(arguments, **options):
    done = subprocess.run([str(part) for part in arguments], capture_output=True, text=True, errors="replace", **options)
    if done.returncode:
        raise Refused(done.stdout.strip() + "\n" + done.stderr.strip())
    return done.stdout


def environment(case, servers):
    return {**os.environ, **dict(value.split("=", 1) for value in case.filled("env", servers))}


class BuildKit:
    """The reference: a buildkitd at BUILDKIT_HOST, spoken to with buildctl."""

    def __init__(self, base, _work):
        self.base = base
        self.version = re.search(r"v\d\S*", call(["buildctl", "debug", "info"]))[0]

    def build(self, case, work, archive, servers):
        command = ["buildctl", "build", "--progress=plain", "--frontend=dockerfile.v0"]
        local, opt = lambda name, path: ["--local", f"{name}={path}"], lambda text: ["--opt", text]
        command += local("context", work / "context") + local("dockerfile", work / "context")
        # Said outright, the front end is the built-in one, and a syntax directive fetches no other.
        command += opt("cmdline=built-in")
        command += local("base", self.base) + opt("context:base=local:base")
        for name in case.fields["context"]:
            command += local(name, work / name) + opt(f"context:{name}=local:{name}")
        for field, name in [("dockerfile", "filename"), ("target", "target"), ("platform", "platform")]:
            if case.fields[field]:
                command += opt(f"{name}={case.fields[field]}")
        env = environment(case, servers)
        for arg in case.filled("arg", servers):
            if "=" in arg or arg in env:
                command += opt(f"build-arg:{arg if '=' in arg else arg + '=' + env[arg]}")
        for label in case.fields["label"]:
            command += opt(f"label:{label}")
        for option in case.filled("option", servers):
            command += option.split(" ")
        call([*command, "--output", f"type=oci,dest={archive}"], cwd=work, env=env)


class Started:
    """A builder with something to end: `with` does."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Buildah(Started):
    """Debian's buildah, storage of its own."""

    def __init__(self, base, work):
        self.own = ["--root", work / "buildah", "--runroot", work / "buildah-run", "--storage-driver", "overlay"]
        (work / "base.Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        self.bud("-f", work / "base.Dockerfile", "-t", "localhost/base", base)

    def bud(self, *arguments, **options):
        return call(["buildah", *self.own, "bud", "--isolation=chroot", "--network=host", "--format=docker", "--pull-never", "--identity-label=false", *arguments], **options)

    def build(self, case, work, archive, servers):
        tag = f"localhost/{case.name}"
        arguments = docker_flags(case, work, servers)
        for name in case.fields["context"]:
            arguments.append(f"--build-context={name}={work / name}")
        self.bud(*arguments, "-t", tag, "--layers=false", work / "context", cwd=work, env=environment(case, servers))
        call(["buildah", *self.own, "push", tag, f"docker-archive:{archive}"])

    def __exit__(self, *_):
        call(["buildah", *self.own, "rmi", "--all", "--force"])


class Docker(Started):
    """Debian's docker.io with its classic builder: a dockerd at DOCKER_HOST, or one of its own."""

    PROGRAM = "/usr/bin/docker"

    def __init__(self, base, work):
        self.env = {"DOCKER_BUILDKIT": "0", "DOCKER_HOST": os.environ.get("DOCKER_HOST", f"unix://{work}/docker.sock")}
        self.daemon, self.work = None, work
        if "DOCKER_HOST" not in os.environ:
            self.start(work)
        (work / "base.Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        call([self.PROGRAM, "build", "-q", "-f", work / "base.Dockerfile", "-t", "base", base], env={**os.environ, **self.env})

    def start(self, work):
        command = ["dockerd", "--data-root", work / "docker", "--exec-root", work / "docker-run", "--pidfile", work / "docker.pid"]
        command += ["-H", self.env["DOCKER_HOST"], "--iptables=false", "--bridge=none", "--storage-driver=overlay2"]
        log = open(work / "docker.log", "w")
        self.daemon = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        for _ in range(300):
            if subprocess.run([self.PROGRAM, "version"], env={**os.environ, **self.env}, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit("dockerd does not start:\n" + (work / "docker.log").read_text())

    def build(self, case, work, archive, servers):
        if case.fields["context"]:
            raise Refused("the classic builder has no named contexts")
        env = environment(case, servers) | self.env
        call([self.PROGRAM, "build", "--network=host", *docker_flags(case, work, servers), "-t", case.name, work / "context"], cwd=work, env=env)
        call([self.PROGRAM, "save", "-o", archive, case.name], env=env)

    def __exit__(self, *_):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
            # It leaves its network namespace mounted.
            subprocess.run(["umount", self.work / "docker-run/netns/default"], stderr=subprocess.DEVNULL)


def docker_flags(case, work, servers):
    """The flags that docker build and buildah share."""
    flags = [f"--file={work / 'context' / (case.fields['dockerfile'] or 'Dockerfile')}"]
    flags += [f"--{name}={case.fields[name]}" for name in ["target", "platform"] if case.fields[name]]
    flags += [f"--build-arg={arg}" for arg in case.filled("arg", servers)]
    flags += [f"--label={label}" for label in case.fields["label"]]
    for option in case.filled("option", servers):
        flags += option.split(" ")
    return flags


def reason(error, work):
    """The line of a builder's output that says why, without what differs from run to run."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"(?i)\s*error", line)]
    line = (named or lines or ["no reason given"])[-1]
    # Names of hosts that someone's name service or registry says belong to the machine.
    line = re.sub(r"(failed to resolve source metadata).*", r"\1", line.replace(str(work), "..."))
    line = re.sub(r"/\S*/cachemounts/[^/\s]+", "", line)
    line = re.sub(r" of ref \S+:", ":", line)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", line).strip()


def outcome(builder, case, work, busybox, servers):
    """The listing of what a builder makes of a laid-out case, or none and the reason why it refuses."""
    from . import listing

    archive = Path(work) / "image.tar"
    try:
        builder.build(case, work, archive, servers)
    except Refused as error:
        return None, reason(error, work)
    lines = listing.of_archive(archive, busybox)
    return lines if case.name == "base" else listing.abbreviate(lines, cases.base_lines()), None


ALL = {"buildkit": BuildKit, "buildah": Buildah, "docker": Docker}
__all__ = ["ALL", "Refused", "cases", "outcome"]
