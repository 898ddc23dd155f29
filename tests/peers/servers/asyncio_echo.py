"""An echo server on asyncio, or on uvloop, of bytes or of frames.

  asyncio_echo.py asyncio|uvloop raw|frame

A BufferedProtocol, so that all connections are read into one buffer; of what has come, the whole frames are answered
together, with one write.
"""

import asyncio
import socket
import struct
import sys

SHARED = bytearray(1 << 18)


class Echo(asyncio.BufferedProtocol):
    __slots__ = ("_transport",)

    def connection_made(self, transport):
        self._transport = transport  # with TCP_NODELAY, which is asyncio's default

    def get_buffer(self, _):
        return SHARED

    def buffer_updated(self, count):
        self.take(memoryview(SHARED)[:count])

    def take(self, received):
        self._transport.write(bytes(received))

    def pause_writing(self):
        self._transport.pause_reading()

    def resume_writing(self):
        self._transport.resume_reading()


class EchoFrames(Echo):
    __slots__ = ("_kept",)

    def connection_made(self, transport):
        super().connection_made(transport)
        self._kept = b""

    def take(self, received):
        data = self._kept + received if self._kept else bytes(received)
        whole, count = 0, len(data)
        while count - whole >= 4:
            end = whole + 4 + struct.unpack_from(">I", data, whole)[0]
            if end > count:
                break
            whole = end
        self._kept = data[whole:]
        if whole:
            self._transport.write(data[:whole])


async def serve(make):
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, family=socket.AF_INET, backlog=4096)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.install()
    asyncio.run(serve(EchoFrames if sys.argv[2] == "frame" else Echo))
