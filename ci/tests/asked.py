#!/usr/bin/env python3
"""asked.py COMMAND... on a terminal of its own; standard input has lines `PROMPT<tab>ANSWER`, each given once its prompt
is seen. Prints what the terminal shows, and ends with the command's exit code."""
import os
import pty
import select
import subprocess
import sys
import time

answers = [line.rstrip("\n").split("\t") for line in sys.stdin]
here, there = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=there, stdout=there, stderr=there, start_new_session=True)
os.close(there)
shown, since, deadline = b"", 0, time.monotonic() + 120
while time.monotonic() < deadline:
    if select.select([here], [], [], 0.1)[0]:
        try:
            part = os.read(here, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    if answers and (found := shown.find(answers[0][0].encode(), since)) >= 0:
        prompt, answer = answers.pop(0)
        since = found + len(prompt)
        os.write(here, answer.encode() + b"\n")
else:
    child.kill()
sys.stdout.write(shown.decode(errors="replace"))
if answers:
    sys.exit(f"never asked: {answers[0][0]}")
sys.exit(child.wait())
