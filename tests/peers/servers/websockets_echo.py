"""A WebSocket server on Python's websockets, on uvloop where that is installed.

  websockets_echo.py websocket [--tls=CHAIN,KEY | --deflate | --broadcast]

Without pings; with the C extension for masking, which Debian's package has.
"""

import asyncio
import contextlib
import logging
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

# Of connections that end without a closing handshake it would tell, with a traceback each.
logging.getLogger("websockets").setLevel(logging.CRITICAL)

OPTION = sys.argv[2] if len(sys.argv) > 2 else ""
ALL = set()


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def broadcast(connection):
    ALL.add(connection)
    try:
        async for message in connection:
            websockets.broadcast(ALL, message)
    finally:
        ALL.discard(connection)


def tls():
    if not OPTION.startswith("--tls="):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*OPTION.removeprefix("--tls=").split(","))
    return context


async def serve():
    deflate = ServerPerMessageDeflateFactory(compress_settings={"level": 1})
    server = await websockets.serve(broadcast if OPTION == "--broadcast" else echo, "127.0.0.1", 0, ssl=tls(),
                                    compression=None, extensions=[deflate] if OPTION == "--deflate" else None,
                                    ping_interval=None, backlog=4096, max_size=1 << 24)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Future()


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop
        uvloop.install()
    asyncio.run(serve())
