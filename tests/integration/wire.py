"""WebSocket on the wire (RFC 6455), as little as a badly behaved peer needs: each bit of a frame can be wrong."""

import base64
import hashlib
import os
import re
import struct

from harness import receive_exactly

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the answer to KEY, from RFC 6455 section 1.3

HEADERS = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(line="GET / HTTP/1.1", **changes):
    """The opening handshake. A change names a header with _ for -; None leaves the header out."""
    headers = dict(HEADERS)
    for name, value in changes.items():
        headers[name.replace("_", "-")] = value
    lines = [line] + [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def receive_head(connection):
    """Status and headers (names in lower case) of an HTTP answer; nothing after them is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive_exactly(connection, 1)
    return parse_head(head)


def parse_head(head):
    status_line, *lines = head.decode("latin-1").split("\r\n\r\n", 1)[0].split("\r\n")
    version, status, _ = status_line.split(" ", 2)
    if version != "HTTP/1.1":
        raise AssertionError(f"no status line of HTTP/1.1: {status_line}")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status), {name.lower(): value for name, value in headers.items()}


def shake_hands(connection):
    connection.sendall(request())
    status, headers = receive_head(connection)
    if (status, headers["sec-websocket-accept"]) != (101, ACCEPT):
        raise AssertionError(f"the handshake was answered with {status} {headers}")


def accept_handshake(connection, **changes):
    """A server's part, with headers changed or left out as in request(). The client's own head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive_exactly(connection, 1)
    key = re.search(rb"Sec-WebSocket-Key: (.*)\r\n", head).group(1)
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": base64.b64encode(digest).decode()}
    for name, value in changes.items():
        headers[name.replace("_", "-")] = value
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    connection.sendall(("HTTP/1.1 101 Switching Protocols\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
    return head.decode()


def frame(opcode, payload=b"", fin=True, reserved=0, masked=True, length_form=None):
    """A client's frame. length_form 126 or 127 forces a longer form of the length than it needs."""
    size = len(payload)
    form = length_form or (size if size < 126 else 126 if size < 65536 else 127)
    head = struct.pack("!BB", fin << 7 | reserved << 4 | opcode, masked << 7 | form)
    head += struct.pack("!H", size) if form == 126 else struct.pack("!Q", size) if form == 127 else b""
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + _xor(payload, key)


def _xor(data, key):
    size = len(data)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def receive_frame(connection):
    """The next frame of a server: (opcode, payload). All that a server of ours sends is final and unmasked."""
    first, second = receive_exactly(connection, 2)
    if first & 0xF0 != 0x80 or second & 0x80:
        raise AssertionError(f"a frame begins with {first:#x} {second:#x}")
    size = second
    if size == 126:
        size, = struct.unpack("!H", receive_exactly(connection, 2))
    elif size == 127:
        size, = struct.unpack("!Q", receive_exactly(connection, 8))
    return first & 0x0F, receive_exactly(connection, size)


def receive_client_frame(connection):
    """The next frame of a client: (opcode, payload, the key that masked it)."""
    first, second = receive_exactly(connection, 2)
    if first & 0xF0 != 0x80 or not second & 0x80:
        raise AssertionError(f"a client's frame begins with {first:#x} {second:#x}")
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(receive_exactly(connection, 2 if size == 126 else 8), "big")
    key = receive_exactly(connection, 4)
    return first & 0x0F, _xor(receive_exactly(connection, size), key), key


def receive_close(connection, receive=receive_frame):
    """The code and the reason of the close frame that must come next."""
    opcode, payload = receive(connection)[:2]
    if opcode != CLOSE:
        raise AssertionError(f"not a close frame but {opcode} {payload[:100]}")
    code = struct.unpack("!H", payload[:2])[0] if payload else None
    return code, payload[2:].decode()
