"""Skaffold beside tbuild: the same two edits, in two parts of the site alone (the Django server, and nginx with the
compiled style sheets), from images that tbuild has made. Its users' ways: `run`, and `dev` with files synced into pods.
Needs skaffold, kubectl and dockerd on the PATH."""
import json
import os
import shutil
import signal
import subprocess
import time

from . import measure
from .tools import docker

NAMESPACE = "skaffold"
REGISTRY = "localhost:5000"
APP, WEB = "http://10.210.0.11:30091/healthz", "http://10.210.0.11:30092/styles.css"
NEEDED = ["skaffold", "kubectl", "dockerd"]

APP_DOCKERFILE = """\
FROM {tator_online}
USER 0:0
RUN find /tator_online -name __pycache__ -prune -exec rm -rf '{{}}' +
COPY main /tator_online/main
COPY tator_online /tator_online/tator_online
"""

WEB_DOCKERFILE = """\
FROM {frontend} AS css
COPY css /build/ui/src/css
RUN bundle-css /build /out
FROM {nginx}
COPY nginx.conf /etc/nginx/nginx.conf
COPY --from=css /out/ui/src/css /srv
"""

NGINX = """\
pid /tmp/nginx.pid;
events {}
http {
  access_log off;
  include /etc/nginx/mime.types;
  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server { listen 8080; root /srv; }
}
"""

PROJECT = {
    "apiVersion": "skaffold/v4beta13",
    "kind": "Config",
    "metadata": {"name": "bench"},
    "build": {
        "local": {"push": True, "useBuildkit": False},
        "tagPolicy": {"inputDigest": {}},
        "insecureRegistries": [REGISTRY],
        "artifacts": [
            {
                "image": f"{REGISTRY}/skaffold/app",
                "context": "app",
                "docker": {"network": "none"},
                "sync": {"manual": [{"src": "main/**/*.py", "dest": "/tator_online"}, {"src": "tator_online/**/*.py", "dest": "/tator_online"}]},
            },
            {"image": f"{REGISTRY}/skaffold/web", "context": "web", "docker": {"network": "none"}},
        ],
    },
    "manifests": {"rawYaml": ["site.json"]},
    "deploy": {"kubectl": {}},
}


def missing():
    """What is not there of what it needs."""
    return [name for name in NEEDED if not shutil.which(name)]


class Skaffold:
    """A project of its own in the bench's folder, and a Docker Engine to build with."""

    def __init__(self, site, kubeconfig):
        self.site, self.folder = site, site.work / "skaffold"
        self.log = open(site.work / "skaffold-log", "w")
        self.folder.mkdir()
        self.env = {
            **os.environ,
            "KUBECONFIG": kubeconfig,
            "DOCKER_HOST": f"unix://{self.folder}/sock",
            "DOCKER_CONFIG": str(self.folder / "docker"),
            "SKAFFOLD_UPDATE_CHECK": "false",
            "SKAFFOLD_INTERACTIVE": "false",
            "SKAFFOLD_CONFIG": str(self.folder / "config"),
            "SKAFFOLD_CACHE_FILE": str(self.folder / "cache"),
        }
        # It sends usage to its makers unless it is told not to.
        (self.folder / "config").write_text("global:\n  collect-metrics: false\n  survey: {disable-prompt: true}\n  update-check: false\n")

    def __enter__(self):
        try:
            self._dockerd()
            images = {name: self._load(name) for name in ["tator_online", "frontend", "nginx"]}
            self._project(images)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if hasattr(self, "dockerd"):
            self._end()
        self.log.close()

    def _end(self):
        self.delete()
        self.dockerd.terminate()
        self.dockerd.wait()

    def _kubectl(self, *arguments):
        done = subprocess.run(["kubectl", *arguments], env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def _dockerd(self):
        own = self.folder
        argv = ["dockerd", "--data-root", f"{own}/data", "--exec-root", f"{own}/exec", "--pidfile", f"{own}/pid", "-H", self.env["DOCKER_HOST"],
                "--iptables=false", "--bridge=none", "--storage-driver=overlay2"]
        self.dockerd = subprocess.Popen(argv, stdout=self.log, stderr=self.log)
        for _ in range(300):
            if subprocess.run([docker(), "version"], env=self.env, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit(f"dockerd does not come up, see {self.log.name}")

    def _load(self, name):
        """An image of tbuild's in the Docker Engine, by a name of its own."""
        file = self.site.work / "image.tar"
        self.site.run("image", name, "-o", f"type=docker,dest={file}")
        with open(file) as archive:
            said = subprocess.run([docker(), "load", "-q"], stdin=archive, env=self.env, capture_output=True, text=True, check=True).stdout
        file.unlink()
        own = f"bench/{name}:1"
        loaded = said.strip().splitlines()[-1].split(": ", 1)[1]
        subprocess.run([docker(), "tag", loaded, own], env=self.env, check=True)
        return own

    def _project(self, images):
        app, web = self.folder / "app", self.folder / "web"
        shutil.copytree(self.site.source / "api/main", app / "main")
        shutil.copytree(self.site.source / "api/tator_online", app / "tator_online")
        (app / "Dockerfile").write_text(APP_DOCKERFILE.format(**images))
        shutil.copytree(self.site.source / "ui/src/css", web / "css")
        (web / "Dockerfile").write_text(WEB_DOCKERFILE.format(**images))
        (web / "nginx.conf").write_text(NGINX)
        (self.folder / "skaffold.yaml").write_text(json.dumps(PROJECT))
        deployment = json.loads(self._kubectl("-n", "tator", "get", "deployment", "gunicorn", "-o", "json"))
        # What is asked of it needs no database, so it gets no secrets.
        env = [{"name": one["name"], "value": one.get("value", "none")} for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]
        command = ["gunicorn", "--bind=0.0.0.0:8080", "--worker-class=gthread", "--workers=2", "--threads=4", "--worker-tmp-dir=/dev/shm", "--reload", "tator_online.wsgi"]
        # Synced files are written by the container's own user.
        parts = [
            part("app", 30091, {"command": command, "env": env, "securityContext": {"runAsUser": 0}, "readinessProbe": probe("/healthz")}),
            part("web", 30092, {"readinessProbe": probe("/styles.css")}),
        ]
        items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *sum(parts, [])]
        (self.folder / "site.json").write_text("\n---\n".join(map(json.dumps, items)))
        self.views, self.sheet = app / "main/views.py", sorted((web / "css").rglob("*.scss"))[-1]

    def _pids(self):
        pid = self.dockerd.pid
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
        return [pid, *map(int, children)]

    def run(self):
        """`skaffold run`."""
        return measure.command(["skaffold", "run", "-f", "skaffold.yaml", "--status-check=true", "--force=false"], self.log, self._pids(), self.env, self.folder)

    def delete(self):
        self._kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")

    def dev(self):
        """`skaffold dev`, once it waits for edits."""
        path = self.site.work / "skaffold-dev-log"
        argv = ["skaffold", "dev", "-f", "skaffold.yaml", "--cleanup=false", "--trigger=notify", "--port-forward=off", "--tail=false"]
        with open(path, "w") as log:
            child = subprocess.Popen(argv, stdout=log, stderr=log, env=self.env, cwd=self.folder)
        return Waiting(child, path, "Watching for changes")


class Waiting:
    """A program that does something at each save, once it says that it waits for one."""

    def __init__(self, child, path, ready):
        self.child = child
        for _ in range(1800):
            if ready in path.read_text(errors="replace"):
                return
            if child.poll() is not None:
                break
            time.sleep(0.1)
        child.kill()
        raise SystemExit(f"{child.args[0]} does not come to wait for edits, see {path}")

    def end(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait()


def probe(path):
    return {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 1}


def part(name, port, more):
    labels = {"app": name}
    container = {"name": name, "image": f"{REGISTRY}/skaffold/{name}", "ports": [{"containerPort": 8080}], **more}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    meta = {"name": name, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
         "spec": {"selector": {"matchLabels": labels}, "template": template}},
    ]
