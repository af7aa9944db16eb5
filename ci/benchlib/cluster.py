"""The deploy side, on a node that is up (`tbuild node up`): no-op, and one style sheet edited until it is served."""
import re
import shutil
import time
import urllib.request

from . import measure

SITE = "http://10.210.0.11:30080"


def run(program, root, work, rounds):
    log = open(work / "cluster-log", "w")
    source = work / "source"
    shutil.copytree(root / "ci/fixtures/tator", source, dirs_exist_ok=True)
    deploy = [program, "-C", str(root), "cluster", "--profile", "demo", "--source", f"tator={source}"]
    measure.command(deploy, log)
    again, edited = [], []
    for _ in range(rounds):
        again.append(measure.command(deploy, log))
    measure.table("tbuild cluster --profile demo, nothing changed", {"tbuild": again})
    sheet = sorted((source / "ui/src/css").rglob("*.scss"))[-1]
    for round_ in range(rounds):
        mark = f"mark{round_}x{time.time_ns()}"
        with open(sheet, "a") as file:
            file.write(f"\n.{mark} {{ color: red; }}\n")
        began = time.monotonic()
        sample = measure.command(deploy, log)
        while mark not in served():
            time.sleep(0.01)
        sample.wall = time.monotonic() - began
        edited.append(sample)
    measure.table("one style sheet edited until it is served", {"tbuild": edited})


def served():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = opener.open(SITE + "/", timeout=10).read().decode()
    sheet = re.search(r'/static/[0-9a-f]{64}/[^"]+\.css', page).group(0)
    return opener.open(SITE + sheet, timeout=10).read().decode()
