"""An image of many packages of apt and pip: with the host's network, recorded, and from the lock."""
import os

from . import measure, tools

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


def as_here():
    """What tbuild gives its steps by itself: the machine's package sources (Debian's, here) and its trust."""
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    flags = ["--env", f"PIP_CERT={bundle}", "--env", f"SSL_CERT_FILE={bundle}"]
    for path in ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/usr/share/keyrings", bundle):
        if os.path.exists(path):
            flags += ["--volume", f"{path}:{path}:ro"]
    return flags
