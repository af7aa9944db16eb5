"""HTTP/1.1 by hand, through a socket of TLS."""
import socket
import ssl
import sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
lines = [f"GET {url.path} HTTP/1.1", f"Host: {url.hostname}", "Accept: text/html", "Connection: close"]
plain = socket.create_connection((url.hostname, 443))
with ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname) as tls:
    tls.sendall("\r\n".join(lines + ["", ""]).encode())
    answer = b"".join(iter(lambda: tls.recv(65536), b""))
head, body = answer.split(b"\r\n\r\n", 1)
assert head.startswith(b"HTTP/1.1 200 "), head
fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
if fields.get(b"transfer-encoding") == b"chunked":
    chunked, body = body, b""
    while chunked:
        size, chunked = chunked.split(b"\r\n", 1)
        size = int(size, 16)
        body += chunked[:size]
        chunked = chunked[size + 2:] if size else b""
else:
    assert len(body) == int(fields[b"content-length"]), head
sys.stdout.buffer.write(body)
