#!/usr/bin/env python3
"""Asks for pages without a break: load.py LOG NAME=URL... until standard input ends.

One thread a URL, a connection of its own for each request. LOG gets one line a failure (what does not answer with a
status below 400 within 20 seconds); one line a NAME is printed in the end: NAME, requests, failures, longest in ms.
"""
import http.client
import sys
import threading
import time
from urllib.parse import urlsplit

PAUSE = 0.02
stop = threading.Event()


def ask(url):
    """None, or what was wrong."""
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    try:
        connection.request("GET", url.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return None if answer.status < 400 else f"status {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def loop(name, url, log, counts):
    while not stop.is_set():
        began = time.monotonic()
        wrong = ask(url)
        took = time.monotonic() - began
        counts[0] += 1
        counts[2] = max(counts[2], took)
        if wrong:
            counts[1] += 1
            print(time.strftime("%H:%M:%S"), name, f"{took:.2f}s", wrong, file=log, flush=True)
        time.sleep(PAUSE)


def main():
    urls = dict(one.split("=", 1) for one in sys.argv[2:])
    counts = {name: [0, 0, 0.0] for name in urls}
    with open(sys.argv[1], "a", encoding="utf-8") as log:
        threads = [threading.Thread(target=loop, args=(n, urlsplit(u), log, counts[n])) for n, u in urls.items()]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        stop.set()
        for thread in threads:
            thread.join()
    for name, (requests, failures, longest) in counts.items():
        print(name, requests, failures, int(longest * 1000))


main()
