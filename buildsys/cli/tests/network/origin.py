"""An origin over HTTP and HTTPS on 192.0.2.1; what it is asked goes to the file `asked`."""
import http.server
import os
import ssl
import subprocess
import sys
import threading

FOLDER = sys.argv[1]
COUNT = {}


def listed(name):
    """The paths in a file that a test writes."""
    try:
        with open(os.path.join(FOLDER, name)) as file:
            return file.read().split()
    except FileNotFoundError:
        return []


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=secret-of-the-origin")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def git(self, sent=b""):
        """Answers with git's own server (git-http-backend(1)) of the repositories in the folder `git`."""
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": FOLDER,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(sent)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        backend = ["git", "http-backend"]
        output = subprocess.run(backend, input=sent, env=environment, stdout=subprocess.PIPE, check=True).stdout
        head, body = output.split(b"\r\n\r\n", 1)
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        self.answer(body, status, **fields)

    def do_GET(self):
        path = self.path.split("?")[0]
        with open(os.path.join(FOLDER, "asked"), "a") as asked:
            print(self.command, self.path, file=asked)
        if path.startswith("/git/"):
            self.git()
            return
        COUNT[path] = COUNT.get(path, 0) + 1
        if path in listed("gone"):
            self.answer(b"gone\n", 404)
            return
        # Another server of the same files.
        path = path.replace("/second/", "/base/")
        file = FOLDER + "/www" + path.rstrip("/")
        if os.path.isfile(file):
            with open(file, "rb") as content:
                self.answer(content.read())
            return
        if path == "/base/list":
            self.answer("\n".join(listed("list")).encode())
            return
        if path in listed("changed"):
            self.answer(b"other content of %s\n" % path.encode())
            return
        if path == "/base/to":
            self.answer(b"", 302, Location=self.path.partition("?")[2])
        elif path == "/base/login":
            there = "https://me:secret-of-a-login@origin.example.com/base/file"
            self.answer(b"", 302, Location=there)
        elif path == "/base/moved":
            there = "http://origin.example.com/base/file?token=secret-of-a-link"
            self.answer(b"", 302, Location=there)
        elif path == "/base/count":
            self.answer(b"%d\n" % COUNT[path])
        elif path.startswith("/base/"):
            self.answer(b"content of %s\n" % path.encode(), Content_Type="text/plain")
        else:
            self.answer(b"nothing\n", 404)

    do_HEAD = do_GET

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        with open(os.path.join(FOLDER, "asked"), "a") as asked:
            print(self.command, self.path, file=asked)
        if self.path.startswith("/git/"):
            self.git(sent)
        else:
            self.answer(b"got " + sent)

    def log_message(self, *_):
        pass


def serve(port, context=None):
    server = http.server.ThreadingHTTPServer(("192.0.2.1", port), Origin)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(os.path.join(FOLDER, "certificate.pem"), os.path.join(FOLDER, "key.pem"))
serve(80)
serve(8080)
serve(443, tls)
print("ready", flush=True)
