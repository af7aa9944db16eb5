#!/usr/bin/env python3
"""A line of a stated speed: an HTTP proxy on loopback that passes answers on at so many Mbit/s, for all connections
together. Run as `line.py PORT MBITS`; it ends when it is told to."""
import asyncio
import sys
import time
from urllib.parse import urlsplit

CHUNK = 16 * 1024


class Rate:
    """Who takes bytes waits until the line would have carried them."""

    def __init__(self, mbits):
        self.seconds_a_byte = 8 / (mbits * 1e6)
        self.free_at = time.monotonic()

    async def take(self, count):
        now = time.monotonic()
        self.free_at = max(now, self.free_at) + count * self.seconds_a_byte
        await asyncio.sleep(self.free_at - now)


async def copy(reader, writer, rate=None):
    try:
        while part := await reader.read(CHUNK):
            if rate:
                await rate.take(len(part))
            writer.write(part)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(reader, writer, rate):
    """One connection: CONNECT, or one plain request; what follows it on the same connection is not looked at, so plain
    requests are asked to close."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, version = head.split("\r\n", 1)[0].split(" ")
        if method == "CONNECT":
            host, port = target.rsplit(":", 1)
            up_reader, up_writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            url = urlsplit(target)
            up_reader, up_writer = await asyncio.open_connection(url.hostname, url.port or 80)
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            fields = [line for line in head.split("\r\n")[1:-2] if line.split(":")[0].lower() not in ("connection", "proxy-connection")]
            up_writer.write("\r\n".join([f"{method} {path} {version}", *fields, "Connection: close", "", ""]).encode("latin-1"))
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer, rate))
        up_writer.close()
    except (OSError, ValueError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port, mbits):
    rate = Rate(mbits)
    server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, rate), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
