"""An origin over HTTP and HTTPS on 192.0.2.1; what it is asked goes to the file `asked`."""
import http.server
import os
import ssl
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

    def do_GET(self):
        path = self.path.split("?")[0]
        with open(os.path.join(FOLDER, "asked"), "a") as asked:
            print(self.command, self.path, file=asked)
        COUNT[path] = COUNT.get(path, 0) + 1
        if path in listed("gone"):
            self.answer(b"gone\n", 404)
            return
        # Another server of the same files.
        path = path.replace("/second/", "/base/")
        if path == "/base/list":
            self.answer("\n".join(listed("list")).encode())
            return
        if path in listed("changed"):
            self.answer(b"other content of %s\n" % path.encode())
            return
        if path == "/base/moved":
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
serve(443, tls)
print("ready", flush=True)
