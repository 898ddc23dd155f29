"""redis-server in a process of its own.

  server = self.enter(RedisServer(folder))
  server.address                                # "unix:PATH"
"""

import os

from harness import Process


class RedisServer(Process):
    """On a Unix socket in a folder of its own, without persistence; ends with the with block."""

    def __init__(self, folder):
        path = os.path.join(folder, "redis.sock")
        self.address = f"unix:{path}"
        super().__init__(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
                          "--daemonize", "no", "--enable-debug-command", "yes", "--dir", folder])
        while "ready to accept connections" not in self.read_line():
            pass
