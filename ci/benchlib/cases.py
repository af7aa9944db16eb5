"""What is timed: contexts with many files, and a three-stage build."""
import os
import random
import shutil
import subprocess

from . import measure, tools


def run(name, bench, rounds):
    from . import network, steps  # which need this file

    timed = {"noop10k": noop, "noop50k": noop, "edit50k": edit, "workload": workload}
    timed |= {case.__name__: case for case in (steps.copy100k, steps.layer1g, steps.empty, steps.images8, steps.reproducible, network.network)}
    timed[name](bench, rounds, 10_000 if "10k" in name else 50_000)


def context(bench, count, tool="all"):
    """A folder of count small files, a hundred a folder, and the Dockerfile that copies them."""
    folder = bench.work / f"context-{count}-{tool}"
    if not folder.exists():
        for index in range(count):
            if index % 100 == 0:
                (folder / "src" / f"{index // 100:04}").mkdir(parents=True)
            (folder / "src" / f"{index // 100:04}" / f"file{index % 100:02}.txt").write_text(f"{index}\n" * 20)
        (folder / "Dockerfile").write_text(f"FROM {bench.registry}/{tools.BASE}\nCOPY src /src\n")
    return folder


def noop(bench, rounds, count):
    folder = context(bench, count)
    for tool in bench.tools.values():
        tool.build(folder, f"noop{count}")
    edges = ninja(bench, folder, count)
    samples = {name: [] for name in [*bench.tools, *(["ninja"] if edges else [])]}
    for _ in range(rounds):
        for name, tool in bench.tools.items():
            samples[name].append(tool.build(folder, f"noop{count}"))
        if edges:
            samples["ninja"].append(measure.command(["ninja", "-C", str(edges)], bench.log))
    measure.table(f"nothing changed, COPY of {count:,} files (ninja: {count:,} edges)", samples)


def ninja(bench, source, count):
    """As many edges as files, each a copy; built once for real."""
    if not shutil.which("ninja"):
        return None
    folder = bench.work / f"ninja-{count}"
    if not folder.exists():
        folder.mkdir()
        with open(folder / "build.ninja", "w") as file:
            file.write("rule copy\n  command = cp $in $out\n")
            for root, _, names in os.walk(source / "src"):
                for name in names:
                    path = os.path.join(root, name)
                    file.write(f"build {os.path.relpath(path, source)}: copy {path}\n")
        subprocess.run(["ninja", "-C", str(folder)], stdout=bench.log, stderr=bench.log, check=True)
    return folder


def edit(bench, rounds, count):
    folder = context(bench, count)
    for tool in bench.tools.values():
        tool.build(folder, f"noop{count}")
    samples = {name: [] for name in bench.tools}
    for round_ in range(rounds):
        (folder / "src/0123/file45.txt").write_text(f"edited in round {round_}, {random.random()}\n")
        for name, tool in bench.tools.items():
            samples[name].append(tool.build(folder, f"noop{count}"))
    measure.table(f"one of {count:,} files edited", samples)


def three_stages(bench, tool):
    """Stage 1: a RUN that writes 4,000 files, 80 MB. Stage 2: a COPY of 10,000 files, 60 MB, and a RUN that compresses
    part of them. Last stage: the first, the result and a subset."""
    folder = bench.work / f"stages-{tool}"
    shutil.rmtree(folder, ignore_errors=True)
    source = random.Random(1)
    words = ["".join(source.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(source.randint(2, 9))) for _ in range(2000)]
    for index in range(10_000):
        if index % 100 == 0:
            part = folder / "src" / f"{index // 100:03}"
            part.mkdir(parents=True)
        (part / f"f{index % 100:02}.txt").write_text(" ".join(source.choices(words, k=940)) + "\n")
    (folder / "Dockerfile").write_text(
        f"FROM {bench.registry}/{tools.BASE} AS tools\n"
        # One process, so that what is timed is the builder and not the shell.
        "RUN perl -e 'mkdir \"/tools\"; srand 1; for $d (1..40) { mkdir \"/tools/$d\"; for $f (1..100) { "
        "open F, \">\", \"/tools/$d/$f\"; print F join(\" \", map { int rand 1e9 } 1..2048); close F } }'\n"
        f"FROM {bench.registry}/{tools.BASE} AS build\n"
        "WORKDIR /build\n"
        "COPY src /build/src\n"
        "RUN mkdir out && cat src/00?/*.txt src/01?/*.txt | gzip -n -6 > out/part.gz\n"
        "FROM tools\n"
        "COPY --from=build /build/out /result\n"
        "COPY --from=build /build/src/050 /subset\n"
    )
    return folder


def workload(bench, rounds, _):
    folders = {name: three_stages(bench, name) for name in bench.tools}
    cold = {name: [] for name in bench.tools}
    for _ in range(max(1, min(rounds, 3))):
        for name, tool in bench.tools.items():
            tool.forget()
            # The base and nothing else is there, and nothing of the image is in the registry.
            cold[name].append(tool.build_push(folders[name], f"stages{random.randrange(10**9)}"))
    measure.table("three stages, cold build and push (base local)", cold)
    timed(bench, rounds, folders, "three stages, nothing changed, built and pushed", lambda folder, round_: None)
    timed(bench, rounds, folders, "one file edited that the result holds, to pushed",
          lambda folder, round_: (folder / "src/005/f07.txt").write_text(f"edited {round_} {random.random()}\n" * 600))
    timed(bench, rounds, folders, "one file edited that the result does not hold, to pushed",
          lambda folder, round_: (folder / "src/080/f07.txt").write_text(f"edited {round_} {random.random()}\n" * 600))


def timed(bench, rounds, folders, title, change):
    samples = {name: [] for name in bench.tools}
    for name, tool in bench.tools.items():
        tool.build_push(folders[name], "stages")
    for round_ in range(rounds):
        for name, tool in bench.tools.items():
            change(folders[name], round_)
            samples[name].append(tool.build_push(folders[name], "stages"))
    measure.table(title, samples)
