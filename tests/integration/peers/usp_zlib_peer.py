"""A server that behaves on the wire as that of usp's older Python port does: a length in four bytes in the order of this
machine, a zlib stream of level 5, one answer for each message, with the same content. It takes an empty message for the
end, and does not close a connection whose client has ended. It needs nothing but the standard library, and prints
`listening on 127.0.0.1:PORT` once it accepts.
"""

import selectors
import socket
import struct
import zlib

LENGTH = struct.Struct("I")


def encode(message):
    body = zlib.compress(message, level=5)
    return LENGTH.pack(len(body)) + body


class Connection:
    def __init__(self, accepted):
        self.socket = accepted
        self.received = bytearray()

    def messages(self):
        """Those that are whole."""
        while len(self.received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self.received)[0]
            if len(self.received) < end:
                return
            message = zlib.decompress(self.received[LENGTH.size:end])
            del self.received[:end]
            yield message

    def read(self):
        """False at what the port takes for the end."""
        piece = self.socket.recv(1 << 16)
        self.received += piece
        for message in self.messages():
            if not message:
                return False
            self.socket.sendall(encode(message))
        return bool(piece)


def main():
    left_open = []
    with selectors.DefaultSelector() as selector, socket.create_server(("127.0.0.1", 0)) as listener:
        selector.register(listener, selectors.EVENT_READ)
        print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection = Connection(listener.accept()[0])
                    selector.register(connection.socket, selectors.EVENT_READ, connection)
                    continue
                try:
                    goes_on = key.data.read()
                except ConnectionError:
                    goes_on = False
                if not goes_on:
                    selector.unregister(key.fileobj)
                    left_open.append(key.data)


if __name__ == "__main__":
    main()
