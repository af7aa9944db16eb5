"""The deploy side, on a node that is up (`tbuild node up`): no-op, and one style sheet edited until it is served."""
import re
import shutil
import threading
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
    again, edited, ended = [], [], []
    for _ in range(rounds):
        again.append(measure.command(deploy, log))
    measure.table("tbuild cluster --profile demo, nothing changed", {"tbuild": again})
    sheet = sorted((source / "ui/src/css").rglob("*.scss"))[-1]
    for round_ in range(rounds):
        mark = f"mark{round_}x{time.time_ns()}"
        with open(sheet, "a") as file:
            file.write(f"\n.{mark} {{ color: red; }}\n")
        began = time.monotonic()
        seen = []
        look = threading.Thread(target=lambda: seen.append(until_served(mark)))
        look.start()
        ended.append(measure.command(deploy, log))
        look.join()
        edited.append(measure.Sample(seen[0] - began, ended[-1].cpu, ended[-1].peak))
    measure.table("one style sheet edited until it is served", {"tbuild": edited})
    measure.table("the same until the command ends (the Job has to be reported complete)", {"tbuild": ended})


def until_served(mark):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if mark in served():
            return time.monotonic()
        time.sleep(0.02)
    raise SystemExit("the edit is not served after two minutes")


def served():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = opener.open(SITE + "/", timeout=10).read().decode()
    sheet = re.search(r'/static/[0-9a-f]{64}/[^"]+\.css', page).group(0)
    return opener.open(SITE + sheet, timeout=10).read().decode()
