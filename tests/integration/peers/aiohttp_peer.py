"""Python's package `aiohttp` at the end of a pipe: what endpoint.py drives. Commands come as lines of JSON on standard
input, events leave as lines of JSON on standard output; bytes are in base64.

  aiohttp_peer.py commands     does as it is told, with one connection at a time
  aiohttp_peer.py echo         a server that sends back every message; it prints {"event":"listening","port":N} only

Made for the aiohttp 3.8 of Debian 12. What that has no public way for (fragments, a close frame without a code, a
reset) goes past it.
"""

import asyncio
import base64
import json
import os
import ssl
import struct
import sys

import aiohttp
from aiohttp import WSMsgType, web

SUBPROTOCOLS = ["chat", "other"]
MAX_LINE = 16 << 20
MAX_MESSAGE = 4 << 20
# Pings are answered here, not by aiohttp, which would show no pong either; and so are close frames, to each of which
# aiohttp would answer 1000.
OPTIONS = {"autoping": False, "autoclose": False, "max_msg_size": MAX_MESSAGE}


def tell(**event):
    print(json.dumps(event), flush=True)


def to_text(data):
    return base64.b64encode(data).decode()


class Peer:
    def __init__(self):
        self.session = None
        self.connection = None
        self.transport = None
        self.is_client = False
        self.receiving = None
        self.closing = None
        self.tasks = set()

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)  # the loop holds only weak references
        task.add_done_callback(self.tasks.discard)
        return task

    async def watch(self, connection, subprotocol, transport):
        self.connection = connection
        self.transport = transport
        self.closing = None
        tell(event="open", subprotocol=subprotocol or "",
             extensions="permessage-deflate" if connection.compress else "")
        self.receiving = self.start(self.receive(connection))
        try:
            code, reason = await self.receiving
        except asyncio.CancelledError:
            if not self.closing:
                raise
            # Nobody may receive meanwhile: close() would not wait for the answer. It does not keep its reason.
            await connection.close(**self.closing)
            code, reason = connection.close_code, ""
        tell(event="close", code=code, reason=reason)
        transport.close()

    async def receive(self, connection):
        """Until the other side ends; its code and its reason."""
        while (message := await connection.receive()).type in (
                WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
            if message.type == WSMsgType.PING:
                await connection.pong(message.data)
            elif message.type == WSMsgType.PONG:
                tell(event="pong", data=to_text(message.data))
            else:
                binary = message.type == WSMsgType.BINARY
                tell(event="message", binary=binary, data=to_text(message.data if binary else message.data.encode()))
        if message.type != WSMsgType.CLOSE:
            return 1006, ""  # connection.close_code is 1000 at an end without a close frame
        if message.data == 0:
            return 1005, ""  # the answer to a close frame without a code
        await connection.close(code=message.data)
        return message.data, message.extra

    async def do_connect(self, url, subprotocols, ca=None):
        context = ssl.create_default_context(cafile=ca) if ca else None
        self.is_client = True
        self.session = self.session or aiohttp.ClientSession()
        try:
            connection = await self.session.ws_connect(url, protocols=subprotocols, compress=15, ssl=context, **OPTIONS)
        except aiohttp.WSServerHandshakeError as error:
            tell(event="refused", status=error.status)
            return
        self.start(self.watch(connection, connection.protocol, connection._conn.transport))

    async def do_serve(self, chain=None, key=None):
        context = None
        if chain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, key)
        await serve(self.watch, context)

    async def do_send(self, data, binary):
        data = base64.b64decode(data)
        await (self.connection.send_bytes(data) if binary else self.connection.send_str(data.decode()))

    async def do_fragments(self, parts, binary):
        for i, part in enumerate(parts):
            opcode = 0 if i > 0 else WSMsgType.BINARY if binary else WSMsgType.TEXT
            self.transport.write(self.frame(opcode, base64.b64decode(part), i == len(parts) - 1))

    def frame(self, opcode, payload, final):
        """One that is not compressed, which is always allowed."""
        size = len(payload)
        form = size if size < 126 else 126 if size < 65536 else 127
        head = struct.pack("!BB", final << 7 | opcode, self.is_client << 7 | form)
        head += struct.pack("!H", size) if form == 126 else struct.pack("!Q", size) if form == 127 else b""
        if not self.is_client:
            return head + payload
        key = os.urandom(4)
        stream = (key * (size // 4 + 1))[:size]
        return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")

    async def do_ping(self, data):
        await self.connection.ping(base64.b64decode(data))

    async def do_close(self, code, reason):
        if code is None:
            self.transport.write(self.frame(WSMsgType.CLOSE, b"", final=True))
        else:
            self.closing = {"code": code, "message": reason.encode()}
            self.receiving.cancel()

    async def do_terminate(self):
        self.transport.abort()


async def serve(handler, context=None):
    async def open_or_refuse(request):
        if request.path == "/refused":
            return web.Response(status=403, text="not here")
        connection = web.WebSocketResponse(protocols=SUBPROTOCOLS, **OPTIONS)
        await connection.prepare(request)
        await handler(connection, connection.ws_protocol, request.transport)
        return connection

    app = web.Application()
    app.router.add_get("/{path:.*}", open_or_refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    tell(event="listening", port=runner.addresses[0][1])
    return runner


async def echo(connection, _subprotocol, _transport):
    async for message in connection:
        if message.type == WSMsgType.PING:
            await connection.pong(message.data)
        elif message.type == WSMsgType.TEXT:
            await connection.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await connection.send_bytes(message.data)
    await connection.close(code=connection.close_code or 1000)


async def main():
    if sys.argv[1] == "echo":
        await serve(echo)
        await asyncio.Event().wait()
        return
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = Peer()
    while line := await lines.readline():
        arguments = json.loads(line)
        await getattr(peer, "do_" + arguments.pop("command"))(**arguments)
    if peer.session:
        await peer.session.close()


if __name__ == "__main__":
    asyncio.run(main())
