"""The deploy side, on a node that is up (`tbuild node up`): from an empty cluster, with nothing changed, with one file
of each kind edited until it is served, and how large the images are. Beside Skaffold, where it is on the PATH."""
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request

from . import measure, skaffold

SITE = "http://10.210.0.11:30080"
IMAGES = ["tator_online", "tator_static", "ui", "transcode", "tator_client", "postgis", "redis", "pgbouncer", "objectstore", "nginx"]
# The apt packages that the Dockerfile of Tator's old tator_online names (containers/tator/Dockerfile.mako), installed on
# bookworm with what they depend on: the image was larger. Others were not measured.
OLD = {"tator_online": 1800}
HEALTHZ = r'return HttpResponse\("[^"]*", content_type="text/plain"\)'


class Site:
    """The demo site with a source of the bench's own."""

    def __init__(self, program, root, work):
        self.log = open(work / "cluster-log", "w")
        self.source = work / "source"
        self.work = work
        shutil.copytree(root / "ci/fixtures/tator", self.source, dirs_exist_ok=True)
        self.tbuild = [program, "-C", str(root), "--progress", "plain"]
        self.options = ["--profile", "demo", "--source", f"tator={self.source}"]
        self.sheet = sorted((self.source / "ui/src/css").rglob("*.scss"))[-1]
        self.views = self.source / "api/main/views.py"

    def run(self, *arguments):
        return measure.command([*self.tbuild, *arguments, *self.options], self.log)

    def watch(self):
        """`tbuild dev-push --watch`, once it waits for edits."""
        path = self.work / "watch-log"
        with open(path, "w") as log:
            argv = [*self.tbuild, "dev-push", "--watch", *self.options]
            child = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return skaffold.Waiting(child, path, " up to date in ")


def edited(edit, look, rounds, act):
    """Per round: an edit that leaves a mark, and what is done about it. Until the mark is served, and to the end of what
    is done; None where a program does it that waits for edits."""
    served, ended = [], []
    for _ in range(rounds):
        mark = f"mark{time.time_ns()}"
        edit(mark)
        began = time.monotonic()
        seen = []
        looking = threading.Thread(target=lambda: seen.append(until(lambda: mark in look())))
        looking.start()
        done = act() if act else measure.Sample(0, 0, 0)
        looking.join()
        if not seen:
            raise SystemExit("the edit is not served after two minutes")
        ended.append(done)
        served.append(measure.Sample(seen[0] - began, done.cpu, done.peak))
        if not act:
            # The next edit is another save.
            time.sleep(1)
    return served, ended


def run(program, root, work, rounds):
    site = Site(program, root, work)
    site.run("clean", "--data", "--yes")
    began = time.monotonic()
    first = site.run("cluster")
    first.wall = until(lambda: get(f"{SITE}/dives/")) - began
    first, idle = {"tbuild": [first]}, {"tbuild": [site.run("cluster") for _ in range(rounds)]}

    change_sheet = lambda mark: append(site.sheet, f"\n.{mark} {{ color: red; }}\n")
    change_code = lambda mark: replace(site.views, HEALTHZ, f'return HttpResponse("{mark}", content_type="text/plain")')
    style = lambda: get(SITE + re.search(r'/static/[0-9a-f]{64}/[^"]+\.css', get(f"{SITE}/dives/")).group(0))
    health = lambda: get(f"{SITE}/healthz")
    sheets, codes = {}, {}
    sheets["cluster"], ends = edited(change_sheet, style, rounds, lambda: site.run("cluster"))
    sheets["  its end"] = ends

    page = site.source / "api/main/templates/main/index.html"
    change_page = lambda mark: replace(page, r'<p class="lead"[^>]*>', f'<p class="lead" id="{mark}">')
    upgraded, ends = edited(change_page, lambda: get(f"{SITE}/dives/"), max(1, rounds // 2), lambda: site.run("cluster"))
    upgraded = {"tbuild": upgraded, "its end": ends}

    site.options += ["--profile", "dev"]
    site.run("cluster")
    push = lambda: site.run("dev-push")
    push()
    sheets["dev-push"], sheets["  its end "] = edited(change_sheet, style, rounds, push)
    codes["dev-push"], codes["  its end"] = edited(change_code, health, rounds, push)
    watch = site.watch()
    sheets["dev-push -w"], _ = edited(change_sheet, style, rounds, None)
    codes["dev-push -w"], _ = edited(change_code, health, rounds, None)
    watch.end()

    lacking = skaffold.missing()
    if lacking:
        print(f"Skaffold is left out: {', '.join(lacking)} not on the PATH")
    else:
        with skaffold.Skaffold(site, kubeconfig(site)) as other:
            beside(other, rounds, first, idle, sheets, codes)

    measure.table("a first run with everything built, from an empty cluster until the page is served; tbuild the whole demo site, Skaffold two parts of it", first)
    measure.table("nothing changed", idle)
    measure.table("one style sheet edited until it is served; by tbuild no pod is restarted", sheets, "dev-push")
    measure.table("one Python file edited until it is served", codes, "dev-push")
    measure.table("one image changed, upgraded until it is served", upgraded)
    sizes(site)


def beside(other, rounds, first, idle, sheets, codes):
    """What Skaffold can do of it."""
    other.run()
    other.delete()
    began = time.monotonic()
    sample = other.run()
    sample.wall = until(lambda: get(skaffold.APP) and get(skaffold.WEB)) - began
    first["skaffold"] = [sample]
    idle["skaffold"] = [other.run() for _ in range(rounds)]
    change_sheet = lambda mark: append(other.sheet, f"\n.{mark} {{ color: red; }}\n")
    change_code = lambda mark: replace(other.views, HEALTHZ, f'return HttpResponse("{mark}", content_type="text/plain")')
    style, health = lambda: get(skaffold.WEB), lambda: get(skaffold.APP)
    sheets["skaffold run"], _ = edited(change_sheet, style, rounds, other.run)
    codes["skaffold run"], _ = edited(change_code, health, rounds, other.run)
    dev = other.dev()
    sheets["skaffold dev"], _ = edited(change_sheet, style, rounds, None)
    codes["skaffold dev"], _ = edited(change_code, health, rounds, None)
    dev.end()


def kubeconfig(site):
    said = subprocess.run([*site.tbuild, "node", "status"], capture_output=True, text=True, check=True).stdout
    return next(line.split(": ", 1)[1] for line in said.splitlines() if line.startswith("kubeconfig: "))


def sizes(site):
    print(f"\nimages of the demo site, unpacked{'':<10}of old")
    for image in IMAGES:
        file = site.work / "image.tar"
        site.run("image", image, "-o", f"type=tar,dest={file}")
        old = f"over {OLD[image]} MB, of all that the real site needs" if image in OLD else "-"
        print(f"  {image:<16}{file.stat().st_size / 1e6:>8.0f} MB{'':<15}{old}")
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
    raise SystemExit("nothing of it is served after two minutes")


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(url, timeout=10).read().decode()
