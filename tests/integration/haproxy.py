"""HAProxy in a process of its own, in TCP mode, between a free port and a server.

  proxy = self.enter(Haproxy(server.address, send="send-proxy-v2"))
  proxy = self.enter(Haproxy(server.address, accept="accept-proxy"))
  proxy.address                                                              # "127.0.0.1:PORT"

It is given its listening socket, so that the port is a free one and there is nothing to wait for.
"""

import os
import shutil
import socket
import subprocess
import tempfile

from harness import DEADLINE, require

CONFIGURATION = """
global
  maxconn 1000
  nbthread 1
defaults
  mode tcp
  timeout connect 30s
  timeout client 30s
  timeout server 30s
  {options}
listen relay
  bind fd@{descriptor} {accept}
  server behind {server} {send}
"""


class Haproxy:
    def __init__(self, server, accept="", send="", options=""):
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        require(shutil.which("haproxy", path=path), "haproxy")
        self._folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
            self.address = f"127.0.0.1:{self.port}"
            configuration = os.path.join(self._folder.name, "haproxy.cfg")
            with open(configuration, "w", encoding="utf-8") as written:
                written.write(CONFIGURATION.format(descriptor=listener.fileno(), accept=accept, server=server,
                                                   send=send, options=options))
            self._child = subprocess.Popen([shutil.which("haproxy", path=path), "-db", "-q", "-f", configuration],
                                           pass_fds=[listener.fileno()])

    def __enter__(self):
        return self

    @property
    def pid(self):
        return self._child.pid

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait(DEADLINE)
        self._folder.cleanup()
