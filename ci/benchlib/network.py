"""An image of many packages of apt and pip: with the host's network, recorded, and from the lock; and for the first time
over a line of LINE Mbit/s, since mirrors are rarely as near as here."""
import os
import sys
from pathlib import Path

from . import measure, tools

LINE = 50

APT = "build-essential git imagemagick nodejs python3-venv redis-server"
PIP = "django numpy pandas requests scipy sqlalchemy"
DOCKERFILE = f"""FROM {{base}}
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {APT} \\
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir --no-compile {PIP}
"""


def network(bench, rounds, _):
    folder = bench.work / "network"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base="debian:bookworm"))
    theirs = bench.work / "network-buildah"
    theirs.mkdir(exist_ok=True)
    (theirs / "Dockerfile").write_text(DOCKERFILE.format(base=f"{bench.registry}/{tools.BASE}"))
    ours = bench.tools["tbuild"]
    lock = ours.own / "lockfiles/network-bench-network-tbuild.lock"

    def recorded():
        lock.unlink(missing_ok=True)
        return ours.build(folder, "network", "--network=record", "--no-cache")

    ways = {
        "recorded": recorded,
        "tbuild": lambda: ours.build(folder, "network", "--network=host", "--no-cache"),
        "from the lock": lambda: ours.build(folder, "network", "--network=record", "--no-cache"),
    }
    buildah = bench.tools.get("buildah")
    if buildah:
        ways["buildah"] = lambda: buildah.build(theirs, "network", "--no-cache", *as_here())
    samples = {name: [] for name in ways}
    # Mirrors are warm after the first round, which does not count.
    for round_ in range(min(rounds, 4) + 1):
        for name, way in ways.items():
            sample = way()
            if round_:
                samples[name].append(sample)
    measure.table("apt and pip, many packages: `tbuild` has the host's network", samples)
    first_time(bench, folder, theirs, samples["from the lock"])


def first_time(bench, folder, theirs, replayed):
    """As on a new machine: nothing is in the cache, and the mirrors are at the end of the line. tbuild makes its base of
    packages; a peer pulls it from this machine's registry."""
    port = tools.free_port()
    line = str(Path(__file__).with_name("line.py"))
    pid = bench.daemon([sys.executable, line, str(port), str(LINE)], lambda: tools.answers("127.0.0.1", port))
    proxy = f"http://127.0.0.1:{port}"
    env = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "127.0.0.1,localhost"}
    ours, buildah = bench.tools["tbuild"], bench.tools.get("buildah")
    ours.renew()
    samples = {"recorded": [ours.build(folder, "network", "--network=record", env=env)], "from the lock": replayed}
    if buildah:
        samples["buildah"] = [buildah.build(theirs, "network", "--no-cache", *as_here(), env=env)]
    bench.end(pid)
    measure.table(f"the first time, over {LINE} Mbit/s, and again from the lock", samples, base="from the lock")


def as_here():
    """What tbuild gives its steps by itself: the machine's package sources (Debian's, here) and its trust."""
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    flags = ["--env", f"PIP_CERT={bundle}", "--env", f"SSL_CERT_FILE={bundle}"]
    for path in ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/usr/share/keyrings", bundle):
        if os.path.exists(path):
            flags += ["--volume", f"{path}:{path}:ro"]
    return flags
