"""Records what BuildKit makes of the cases: python3 record.py (buildctl of a running buildkitd on PATH).

Reads cases.txt and writes it again, each case's listing replaced by BuildKit's own.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = os.path.join(HERE, "cases.txt")


def listing(file):
    """What a tar holds, a line a name, as the test writes it."""
    lines = []
    with tarfile.open(file) as tar:
        for member in tar:
            name = member.name.strip("/")
            if name in ("", "."):
                continue
            mode = f"{member.mode & 0o7777:o}"
            rest = f"{mode} {member.uid}:{member.gid}"
            if member.isreg():
                content = tar.extractfile(member).read()
                what = f"file {rest} {len(content)} {hashlib.sha256(content).hexdigest()[:8]}"
            elif member.isdir():
                what = f"folder {rest}"
            elif member.issym():
                what = f"link {member.uid}:{member.gid} -> {member.linkname}"
            elif member.islnk():
                what = f"same as {member.linkname.strip('/')}"
            elif member.isfifo():
                what = f"pipe {rest}"
            else:
                what = f"device {rest} {member.devmajor}:{member.devminor}"
            lines.append((name.encode(), f"{name} {what}"))
    return [line for _, line in sorted(lines)]


def build(context, dockerfile):
    with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as file:
        file.write(dockerfile)
    out = os.path.join(context, "..", "out.tar")
    command = ["buildctl", "build", "--frontend", "dockerfile.v0", "--progress", "quiet"]
    command += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
    command += ["--output", f"type=tar,dest={out}"]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        print(done.stderr.decode().splitlines()[-1], file=sys.stderr)
        return ["fails"]
    return listing(out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        context = os.path.join(folder, "context")
        os.mkdir(context)
        subprocess.check_call([sys.executable, os.path.join(HERE, "context.py"), context])
        with open(os.path.join(context, ".dockerignore"), "w", encoding="utf-8") as file:
            file.write("Dockerfile\n.dockerignore\n")
        lines = open(CASES, encoding="utf-8").read().splitlines()
        result = []
        block = []

        def end():
            if block:
                result.append(block[0])
                result.extend(block[1:])
                dockerfile = "".join(line + "\n" for line in block[1:] if not line.startswith(("! ", ">> ")))
                result.extend("  " + line for line in build(context, dockerfile))
                result.append("")
                block.clear()

        for line in lines:
            if line.startswith("# "):
                end()
                block.append(line)
            elif line and not line.startswith("  ") and block:
                block.append(line)
            elif not block:
                result.append(line)
        end()
    with open(CASES, "w", encoding="utf-8") as file:
        file.write("\n".join(result))


main()
