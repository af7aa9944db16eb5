"""What is inside of the machine: services on loopback and on the address of clouds' metadata. What they are asked goes to
the file `inside`. One of them is a proxy. And a name server whose answers for one name lead there, from the second
question on."""
import http.server
import os
import socket
import sys
import threading
import urllib.request

FOLDER = sys.argv[1]
OUTSIDE = socket.inet_aton("192.0.2.1")
LOOPBACK = socket.inet_aton("127.0.0.1")
TYPE_A = b"\x00\x01"


class Inside(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(os.path.join(FOLDER, "inside"), "a") as asked:
            print(self.headers["Host"], self.path, file=asked)
        body = b"what is inside\n"
        if self.path.startswith("http://"):
            body = urllib.request.urlopen(self.path).read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def names():
    """RFC 1035, section 4: one question, and an address for `rebind.example.com`."""
    address = OUTSIDE
    while True:
        query, client = server.recvfrom(4096)
        end = query.index(b"\0", 12) + 5
        name, kind = query[12:end - 4], query[end - 4:end - 2]
        answer = b""
        if name == b"\6rebind\7example\3com\0" and kind == TYPE_A:
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + address
            address = LOOPBACK
        counts = b"\0\1\0" + (b"\1" if answer else b"\0") + b"\0\0\0\0"
        server.sendto(query[:2] + b"\x81\x80" + counts + query[12:end] + answer, client)


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("192.0.2.1", 53))
threading.Thread(target=names).start()
for host in ["127.0.0.1", "169.254.169.254"]:
    web = http.server.ThreadingHTTPServer((host, 80), Inside)
    threading.Thread(target=web.serve_forever).start()
print("ready", flush=True)
