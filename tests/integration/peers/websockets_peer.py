"""Python's package `websockets` at the end of a pipe: what endpoint.py drives. Commands come as lines of JSON on
standard input, events leave as lines of JSON on standard output; bytes are in base64.

  websockets_peer.py commands     does as it is told, with one connection at a time
  websockets_peer.py echo         a server that sends back every message; it prints {"event":"listening","port":N} only
"""

import asyncio
import base64
import http
import json
import ssl
import sys

from websockets import exceptions, frames
from websockets.legacy import client as websockets_client
from websockets.legacy import server as websockets_server

SUBPROTOCOLS = ["chat", "other"]
MAX_LINE = 16 << 20
MAX_MESSAGE = 4 << 20


def tell(**event):
    print(json.dumps(event), flush=True)


def to_text(data):
    return base64.b64encode(data).decode()


class Peer:
    def __init__(self):
        self.connection = None
        self.tasks = set()

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)  # the loop holds only weak references
        task.add_done_callback(self.tasks.discard)

    async def watch(self, connection):
        self.connection = connection
        tell(event="open", subprotocol=connection.subprotocol or "",
             extensions=",".join(extension.name for extension in connection.extensions))
        try:
            while True:
                message = await connection.recv()
                binary = isinstance(message, bytes)
                tell(event="message", binary=binary, data=to_text(message if binary else message.encode()))
        except exceptions.ConnectionClosed:
            tell(event="close", code=connection.close_code, reason=connection.close_reason)

    async def do_connect(self, url, subprotocols, ca=None):
        context = ssl.create_default_context(cafile=ca) if ca else None
        try:
            connection = await websockets_client.connect(
                url, subprotocols=subprotocols or None, ping_interval=None, max_size=MAX_MESSAGE, ssl=context)
        except exceptions.InvalidStatusCode as error:
            tell(event="refused", status=error.status_code)
            return
        self.start(self.watch(connection))

    async def do_serve(self, chain=None, key=None):
        context = None
        if chain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, key)
        await serve(self.watch, context)

    async def do_send(self, data, binary):
        data = base64.b64decode(data)
        await self.connection.send(data if binary else data.decode())

    async def do_fragments(self, parts, binary):
        parts = [base64.b64decode(part) for part in parts]
        await self.connection.send(part if binary else part.decode() for part in parts)

    async def do_ping(self, data):
        data = base64.b64decode(data)
        pong = await self.connection.ping(data)

        async def report():
            await pong
            tell(event="pong", data=to_text(data))

        self.start(report())

    async def do_close(self, code, reason):
        if code is None:
            # The package has no other way to send a close frame without a code.
            await self.connection.write_close_frame(frames.Close(1005, ""), b"")
        else:
            self.start(self.connection.close(code, reason))

    async def do_terminate(self):
        self.connection.transport.abort()


async def refuse(path, headers):
    return (http.HTTPStatus.FORBIDDEN, [], b"not here") if path == "/refused" else None


async def serve(handler, context=None):
    server = await websockets_server.serve(handler, "127.0.0.1", 0, subprotocols=SUBPROTOCOLS, ping_interval=None,
                                    max_size=MAX_MESSAGE, process_request=refuse, ssl=context)
    tell(event="listening", port=server.sockets[0].getsockname()[1])
    return server


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    if sys.argv[1] == "echo":
        server = await serve(echo)
        await server.wait_closed()
        return
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = Peer()
    while line := await lines.readline():
        arguments = json.loads(line)
        await getattr(peer, "do_" + arguments.pop("command"))(**arguments)


if __name__ == "__main__":
    asyncio.run(main())
