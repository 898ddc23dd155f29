"""Endpoint drives a real WebSocket implementation, `ws`, `websockets` or `aiohttp`, in a process of its own (peers/).

  with Endpoint("ws") as endpoint:
      endpoint.command("connect", url=server.url, subprotocols=[])
      endpoint.expect("open")
      endpoint.send_text("hello")
      endpoint.receive()          # "hello"
"""

import base64
import json
import os
import shutil
import subprocess

from harness import Process, require


def command_line(kind, mode):
    """What starts the peer; skips or fails the test where it is not there."""
    if kind == "ws":
        script = os.environ["WS_PEER"]
        package = os.path.join(os.path.dirname(os.path.dirname(script)), "node_modules/ws/package.json")
        require(os.path.exists(package), "the npm package ws (npm ci --prefix tests/integration)")
        require(shutil.which("node"), "node")
        # Symbolic links stay as they are, so that the package is found beside the script in the runfiles.
        return ["node", "--preserve-symlinks", "--preserve-symlinks-main", script, mode]
    python = "/usr/bin/python3"
    found = subprocess.run([python, "-c", f"import {kind}"], stderr=subprocess.DEVNULL, check=False)
    require(found.returncode == 0, f"Python's package {kind} (Debian's python3-{kind})")
    return [python, "-B", os.environ[f"{kind.upper()}_PEER"], mode]


class Endpoint(Process):
    def __init__(self, kind):
        super().__init__(command_line(kind, "commands"))

    def command(self, name, **arguments):
        self.write(json.dumps({"command": name, **arguments}).encode() + b"\n")

    def expect(self, *events):
        """The next event, which must be one of these."""
        got = json.loads(self.read_line())
        if got["event"] not in events:
            raise AssertionError(f"not {' or '.join(events)} but {str(got)[:200]}")
        return got

    def send(self, message):
        binary = isinstance(message, bytes)
        self.command("send", data=_encoded(message), binary=binary)

    def send_fragments(self, *parts):
        binary = isinstance(parts[0], bytes)
        self.command("fragments", parts=[_encoded(part) for part in parts], binary=binary)

    def receive(self):
        """The next message: str or bytes."""
        event = self.expect("message")
        data = base64.b64decode(event["data"])
        return data if event["binary"] else data.decode()

    def ping(self, payload):
        self.command("ping", data=_encoded(payload))

    def expect_pong(self):
        return base64.b64decode(self.expect("pong")["data"])

    def close(self, code=None, reason=""):
        self.command("close", code=code, reason=reason)

    def expect_close(self):
        """The code and the reason that this side has seen."""
        event = self.expect("close")
        return event["code"], event["reason"]


class EchoServer(Process):
    """The same implementation as a server that sends back every message."""

    def __init__(self, kind):
        super().__init__(command_line(kind, "echo"))
        self.port = json.loads(self.read_line())["port"]
        self.url = f"ws://127.0.0.1:{self.port}/"


def _encoded(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()
