"""What is timed besides: many files in one layer, one large layer, many images at once, steps that do nothing."""
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from . import cases, measure, tools

IMAGES = 8


def copy100k(bench, rounds, _):
    folder = cases.context(bench, 100_000)
    cold = {name: [] for name in bench.tools}
    for name, tool in bench.tools.items():
        tool.forget()
        cold[name].append(tool.build(folder, "copy100k"))
    measure.table("COPY of 100,000 files, nothing cached but the base", cold)
    again = {name: [tool.build(folder, "copy100k") for _ in range(rounds)] for name, tool in bench.tools.items()}
    measure.table("the same with nothing changed", again)
    over = {name: [] for name in bench.tools}
    for round_ in range(rounds):
        (folder / "Dockerfile.over").write_text(f"FROM {bench.registry}/{tools.BASE}\nCOPY src /src\nRUN echo {round_} {random.random()} >/over\n")
        with swapped(folder):
            for name, tool in bench.tools.items():
                over[name].append(tool.build(folder, "over100k"))
    measure.table("a RUN over those 100,000 files", over)


class swapped:
    """Dockerfile.over in the place of Dockerfile: not every peer's call here takes a name."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        os.rename(self.folder / "Dockerfile", self.folder / "Dockerfile.copy")
        os.rename(self.folder / "Dockerfile.over", self.folder / "Dockerfile")

    def __exit__(self, *_):
        os.rename(self.folder / "Dockerfile.copy", self.folder / "Dockerfile")


def layer1g(bench, rounds, _):
    folder = bench.work / "layer1g"
    folder.mkdir(exist_ok=True)
    samples = {name: [] for name in bench.tools}
    for round_ in range(max(1, min(rounds, 3))):
        # A piece of 4 MiB, 256 times.
        script = f"srand {random.randrange(10**9)}; $piece = pack(q(N*), map {{ int rand 2**32 }} 1..1048576); print $piece for 1..256"
        (folder / "Dockerfile").write_text(f"FROM {bench.registry}/{tools.BASE}\nRUN perl -e '{script}' >/large\n")
        for name, tool in bench.tools.items():
            samples[name].append(tool.build(folder, "layer1g"))
    measure.table("a RUN that writes 1 GiB", samples)


def empty(bench, rounds, _):
    folder = bench.work / "empty"
    folder.mkdir(exist_ok=True)
    samples = {name: [] for name in bench.tools}
    for round_ in range(rounds):
        steps = "".join(f"RUN : {random.random()} {round_} {step}\n" for step in range(20))
        (folder / "Dockerfile").write_text(f"FROM {bench.registry}/{tools.BASE}\n{steps}")
        for name, tool in bench.tools.items():
            samples[name].append(tool.build(folder, "empty"))
    measure.table("twenty RUNs that do nothing", samples)


def images8(bench, rounds, _):
    folder = bench.work / "images8"
    shutil.rmtree(folder, ignore_errors=True)
    names = [f"image{number}" for number in range(IMAGES)]
    for name in names:
        (folder / name / "src").mkdir(parents=True)
        for file in range(500):
            (folder / name / "src" / f"{file}").write_text(f"{name} {file}\n" * 40)
    config = '[project]\nname = "images8"\n' + "".join(f'[image.{name}]\ncontext = "{name}"\ndockerfile = "{name}/Dockerfile"\n' for name in names)
    (folder / "tbuild.toml").write_text(config)
    cold, again = ({name: [] for name in bench.tools} for _ in range(2))
    for round_ in range(max(1, min(rounds, 3))):
        for name in names:
            (folder / name / "Dockerfile").write_text(
                f"FROM {bench.registry}/{tools.BASE}\nCOPY src /src\nRUN cat /src/* | gzip -6 >/all.gz; : {round_} {random.random()}\nCMD [\"{name}\"]\n"
            )
        for name, tool in bench.tools.items():
            cold[name].append(together(tool, folder, names))
        for name, tool in bench.tools.items():
            again[name].append(together(tool, folder, names))
    measure.table(f"{IMAGES} images at once, their RUN changed", cold)
    measure.table(f"{IMAGES} images at once, nothing changed", again)


def reproducible(bench, rounds, _):
    """Each tool as it is, then told to give the same bytes every time."""
    folder = bench.work / "reproducible"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(cases.context(bench, 10_000) / "src", folder / "src")
    # In pieces: what the program takes itself would count as a builder's where the builder starts it.
    write = "RUN perl -e 'srand 1; $piece = pack(q(N*), map { int rand 2**32 } 1..1048576); print $piece for 1..20' >/eighty"
    (folder / "Dockerfile").write_text(f"FROM {bench.registry}/{tools.BASE}\nCOPY src /src\n{write}\n")
    able = {name: tool for name, tool in bench.tools.items() if tool.reproducible is not None}
    for title, flags in (("as they are", lambda _: []), ("the same bytes every time", lambda tool: tool.reproducible)):
        cold, again = ({name: [] for name in able} for _ in range(2))
        for name, tool in able.items():
            tool.more = flags(tool)
            tool.forget()
            cold[name].append(tool.build_push(folder, "reproducible"))
        for _ in range(rounds):
            for name, tool in able.items():
                again[name].append(tool.build_push(folder, "reproducible"))
        measure.table(f"10,000 files and 80 MB built and pushed, {title}", cold)
        measure.table(f"nothing changed, {title}", again)
    for tool in able.values():
        tool.more = []


def together(tool, folder, names):
    """All images: one call where the tool takes several, else a call each, all at once."""
    if isinstance(tool, tools.Tbuild):
        return tool.images(folder, names)
    pids = getattr(tool, "pids", [])
    before, began = cpu(pids), time.monotonic()
    with ThreadPoolExecutor(len(names)) as pool:
        samples = list(pool.map(lambda name: tool.build(folder / name, name), names))
    return measure.Sample(time.monotonic() - began, cpu(pids) - before, max(sample.peak for sample in samples))


def cpu(pids):
    own = os.times()
    return own.children_user + own.children_system + sum(measure.cpu_of(pid) for pid in pids)
