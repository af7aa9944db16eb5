"""Wall clock, CPU seconds and peak memory of a command, and the table of a case."""
import os
import statistics
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


class Sample:
    """Wall and CPU in seconds, peak resident memory of the largest process in MB."""

    def __init__(self, wall, cpu, peak):
        self.wall, self.cpu, self.peak = wall, cpu, peak


def command(argv, log, daemons=(), env=None, cwd=None, good=(0,)):
    """Runs argv, its output into the open file log; daemons are pids that work for it. Raises if it fails."""
    before = sum(cpu_of(pid) for pid in daemons)
    for pid in daemons:
        reset_peak(pid)
    began = time.monotonic()
    child = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **(env or {})})
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in good:
        log.flush()
        raise SystemExit(f"{' '.join(argv)}: exit {child.returncode}, see {log.name}")
    cpu = usage.ru_utime + usage.ru_stime + sum(cpu_of(pid) for pid in daemons) - before
    peak = max([usage.ru_maxrss / 1024] + [peak_of(pid) for pid in daemons])
    return Sample(wall, cpu, peak)


def cpu_of(pid):
    """CPU seconds of a process and of the children that it waited for."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / TICK


def peak_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def table(title, samples, base="tbuild"):
    """samples: tool -> [Sample]. Prints a line a tool, with its ratio to base by medians."""
    print(f"\n{title}")
    print(f"  {'':<12}{'median':>10}{'least':>10}{'ratio':>8}{'CPU':>9}{'peak MB':>9}")
    ours = statistics.median(s.wall for s in samples[base])
    for tool, list_ in samples.items():
        walls = [s.wall for s in list_]
        median = statistics.median(walls)
        print(
            f"  {tool:<12}{text(median):>10}{text(min(walls)):>10}{median / ours:>7.1f}x"
            f"{statistics.median(s.cpu for s in list_):>8.2f}s{max(s.peak for s in list_):>9.0f}",
            flush=True,
        )


def text(seconds):
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
