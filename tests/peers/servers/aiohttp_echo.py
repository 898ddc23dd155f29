"""A WebSocket server on aiohttp, on uvloop where that is installed.

  aiohttp_echo.py websocket [--tls=CHAIN,KEY | --deflate | --broadcast]

Without heartbeats and access log. aiohttp compresses with zlib's fastest level by itself.
"""

import asyncio
import contextlib
import ssl
import sys

from aiohttp import WSMsgType, web

OPTION = sys.argv[2] if len(sys.argv) > 2 else ""
ALL = set()


async def serve_one(request):
    socket = web.WebSocketResponse(autoping=True, compress=OPTION == "--deflate", max_msg_size=1 << 24)
    await socket.prepare(request)
    ALL.add(socket)
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif OPTION == "--broadcast":
                for each in ALL:
                    await each.send_bytes(message.data)
            else:
                await socket.send_bytes(message.data)
    finally:
        ALL.discard(socket)
    return socket


def tls():
    if not OPTION.startswith("--tls="):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*OPTION.removeprefix("--tls=").split(","))
    return context


async def serve():
    application = web.Application()
    application.router.add_get("/", serve_one)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls(), backlog=4096).start()
    print(f"listening on 127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Future()


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop
        uvloop.install()
    asyncio.run(serve())
