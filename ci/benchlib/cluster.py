"""The deploy side, on a node that is up (`tbuild node up`): from an empty cluster, with nothing changed, with one file
of each kind edited until it is served, and how large the images are."""
import re
import shutil
import threading
import time
import urllib.error
import urllib.request

from . import measure

SITE = "http://10.210.0.11:30080"
IMAGES = ["tator_online", "tator_static", "ui", "transcode", "tator_client", "postgis", "redis", "pgbouncer", "objectstore", "nginx"]


class Site:
    """The demo site with a source of the bench's own."""

    def __init__(self, program, root, work):
        self.log = open(work / "cluster-log", "w")
        self.source = work / "source"
        self.work = work
        shutil.copytree(root / "ci/fixtures/tator", self.source, dirs_exist_ok=True)
        self.tbuild = [program, "-C", str(root), "--profile", "demo", "--source", f"tator={self.source}"]

    def run(self, *arguments):
        return measure.command([*self.tbuild, *arguments], self.log)

    def edited(self, edit, path, rounds, *arguments):
        """Per round: an edit that leaves a mark, and a command. Until the mark is served, and until the command ends."""
        served, ended = [], []
        for _ in range(rounds):
            mark = f"mark{time.time_ns()}"
            edit(mark)
            began = time.monotonic()
            seen = []
            look = threading.Thread(target=lambda: seen.append(until(lambda: mark in get(path()))))
            look.start()
            ended.append(self.run(*arguments))
            look.join()
            served.append(measure.Sample(seen[0] - began, ended[-1].cpu, ended[-1].peak))
        return {"tbuild": served, "its end": ended}


def run(program, root, work, rounds):
    site = Site(program, root, work)
    site.run("clean", "--data", "--yes")
    began = time.monotonic()
    first = site.run("cluster")
    first.wall = until(lambda: get("/dives/")) - began
    measure.table("tbuild cluster --profile demo on an empty cluster, from a warm store, until the page is served", {"tbuild": [first]})
    measure.table("nothing changed", {"tbuild": [site.run("cluster") for _ in range(rounds)]})

    sheet = sorted((site.source / "ui/src/css").rglob("*.scss"))[-1]
    style = lambda: re.search(r'/static/[0-9a-f]{64}/[^"]+\.css', get("/dives/")).group(0)
    samples = site.edited(lambda mark: append(sheet, f"\n.{mark} {{ color: red; }}\n"), style, rounds, "cluster")
    measure.table("one style sheet edited until it is served, by tbuild cluster; no pod restarted", samples)

    page = site.source / "api/main/templates/main/index.html"
    samples = site.edited(lambda mark: replace(page, r'<p class="lead"[^>]*>', f'<p class="lead" id="{mark}">'), lambda: "/dives/", max(2, rounds // 2), "cluster")
    measure.table("one image changed, upgraded until it is served", samples)

    site.run("cluster", "--profile", "dev")
    views = site.source / "api/main/views.py"
    healthz = r'return HttpResponse\("[^"]*", content_type="text/plain"\)'
    change = lambda mark: replace(views, healthz, f'return HttpResponse("{mark}", content_type="text/plain")')
    samples = site.edited(change, lambda: "/healthz", rounds, "dev-push", "--profile", "dev")
    measure.table("one Python file edited until it is served, by tbuild dev-push", samples)

    print("\nimages, unpacked")
    for image in IMAGES:
        file = work / "image.tar"
        site.run("image", image, "-o", f"type=tar,dest={file}")
        print(f"  {image:<16}{file.stat().st_size / 1e6:>8.0f} MB")
        file.unlink()


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def replace(path, pattern, text):
    before = path.read_text()
    after, count = re.subn(pattern, lambda _: text, before, count=1)
    if not count:
        raise SystemExit(f"{path} has no {pattern}")
    path.write_text(after)


def until(holds):
    """When `holds` first answers with something; pages that are not there yet do not count."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if holds():
                return time.monotonic()
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.02)
    raise SystemExit("the edit is not served after two minutes")


def get(path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(SITE + path, timeout=10).read().decode()
