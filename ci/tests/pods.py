#!/usr/bin/env python3
"""Restarts pods one at a time: pods.py KUBECONFIG NAMESPACE [COMPONENT...]

Deletes each pod of the namespace that a Deployment or a StatefulSet keeps (of the components named, or of all), waits
until it is gone and everything is ready again, then goes on to the next. Prints what it restarted.
"""
import base64
import json
import re
import ssl
import sys
import tempfile
import time
import urllib.request

SECONDS = 180
TEXT = open(sys.argv[1], encoding="utf-8").read()


def field(name):
    return re.search(rf"^\s*{name}:\s*(\S+)", TEXT, re.MULTILINE).group(1).strip("\"'")


def context():
    """TLS as the kubeconfig's user."""
    made = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
    with tempfile.NamedTemporaryFile() as file:
        for name in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(field(name)))
        file.flush()
        made.load_cert_chain(file.name)
    return made


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context()))


def ask(path, method="GET"):
    with OPENER.open(urllib.request.Request(field("server") + path, method=method), timeout=30) as answer:
        return json.load(answer)


def pods(namespace):
    """Pods that are kept, by name."""
    found = ask(f"/api/v1/namespaces/{namespace}/pods")["items"]
    kept = ("ReplicaSet", "StatefulSet")
    return {
        one["metadata"]["name"]: one
        for one in found
        if any(owner["kind"] in kept for owner in one["metadata"].get("ownerReferences", ()))
    }


def is_ready(pod):
    conditions = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def settled(namespace, count, gone):
    """Whether as many pods as before are there, ready, and the one deleted is not among them."""
    now = pods(namespace)
    return (
        len(now) == count
        and all(is_ready(one) and "deletionTimestamp" not in one["metadata"] for one in now.values())
        and all(one["metadata"]["uid"] != gone for one in now.values())
    )


def main(namespace, components):
    before = pods(namespace)
    for name, pod in sorted(before.items()):
        component = pod["metadata"]["labels"]["app"]
        if components and component not in components:
            continue
        ask(f"/api/v1/namespaces/{namespace}/pods/{name}", "DELETE")
        end = time.monotonic() + SECONDS
        while not settled(namespace, len(before), pod["metadata"]["uid"]):
            if time.monotonic() > end:
                sys.exit(f"{name} was deleted, and not everything is ready {SECONDS} s later")
            time.sleep(0.3)
        print(component, flush=True)


main(sys.argv[2], sys.argv[3:])
