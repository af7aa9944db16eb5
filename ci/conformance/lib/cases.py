"""The cases of buildsys/cli/tests/conformance/cases: how they are written is in the README beside them."""
import os
import subprocess
from pathlib import Path

TESTS = Path(__file__).resolve().parents[3] / "buildsys/cli/tests/conformance"
# Headers that may come once, and those that may come again.
ONCE = ["about", "dockerfile", "target", "platform", "error", "pending"]
MANY = ["arg", "label", "context", "option", "env", "difference"]


class Case:
    """One case as it is written."""

    def __init__(self, path):
        self.name = path.stem
        self.fields = {name: None for name in ONCE} | {name: [] for name in MANY}
        self.files, self.setup = [], None
        section, head = None, True
        for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
            if line.startswith("--- "):
                head, section = False, self._section(line[4:].split(), path, number)
            elif head:
                self._header(line.strip(), path, number)
            else:
                section.append(line)

    def _header(self, line, path, number):
        if not line or line.startswith("#"):
            return
        name, _, value = line.partition(":")
        if name in ONCE and self.fields[name] is None:
            self.fields[name] = value.strip()
        elif name in MANY:
            self.fields[name].append(value.strip())
        else:
            raise ValueError(f"{path}:{number}: header {name}")

    def _section(self, words, path, number):
        lines = []
        if words == ["setup"]:
            self.setup = lines
        elif words == ["differs"]:
            pass
        elif words[0] == "file" and len(words) in (2, 3):
            mode = int(words[2], 8) if len(words) == 3 else 0o644
            folder, colon, name = words[1].partition(":")
            self.files.append((folder if colon else "context", name if colon else folder, mode, lines))
        else:
            raise ValueError(f"{path}:{number}: section {words}")
        return lines

    def lay_out(self, work):
        """Writes the case's folders below `work`."""
        (work / "context").mkdir(parents=True)
        for folder, name, mode, lines in self.files:
            file = work / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(lines))
            file.chmod(mode)
        for context in self.fields["context"]:
            (work / context).mkdir(exist_ok=True)
        if self.setup is not None:
            subprocess.run(["sh", "-euc", "".join(self.setup)], cwd=work / "context", check=True, stdout=subprocess.DEVNULL)

    def filled(self, name, servers):
        """The values of a header, with the addresses of the servers that hold the case's folders."""
        values = self.fields[name]
        return [values_with(value, self.name, servers) for value in values]


def values_with(text, name, servers):
    """@HTTP@ and @GIT@ are where the case's folder is served."""
    for server, address in servers.items():
        text = text.replace(f"@{server}@", f"{address}/{name}")
    return text


def load(names):
    """The cases called `names`, or all."""
    paths = sorted((TESTS / "cases").glob("*.case"))
    known = {path.stem: path for path in paths}
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no case {name}")
    return [Case(known[name]) for name in (names or known)]


def make_base(folder):
    """The folder that cases build FROM."""
    subprocess.run([TESTS / "base.sh", folder], check=True)
    return folder


def expected_of(name):
    """Where what BuildKit made of a case is written down."""
    return TESTS / "expected" / f"{name}.txt"


def base_lines():
    """The files of the base, as the case of that name lists them."""
    return [line for line in expected_of("base").read_text().splitlines() if line.startswith("/")]


os.umask(0o022)
