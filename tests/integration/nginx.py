"""nginx in a process of its own, with a configuration for one test.

  nginx = self.enter(Nginx('return 200 "hello";'))                          # over TLS
  nginx = self.enter(Nginx(proxy("http", server.address), encrypted=False))
  nginx.address                                                              # ("127.0.0.1", PORT)

It inherits its listening socket, as it does from its own predecessor in an upgrade: the port is a free one, and there
is nothing to wait for.
"""

import os
import pwd
import shutil
import subprocess
import tempfile

from harness import DEADLINE, require
from tls_harness import chain_and_key, listen

CONFIGURATION = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_header {{ default upgrade; "" close; }}
  server {{
    listen {listen};
    {server}
  }}
}}
"""


def proxy(scheme, address, more=""):
    """The configuration that hands everything on to a server of http or https."""
    return f"""location / {{
      proxy_pass {scheme}://{address};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_header;
      {more}
    }}"""


class Nginx:
    """nginx' master process, which ends its worker when it is told to end, at the end of the with block."""

    def __init__(self, server, name="p256", encrypted=True, listen_options=""):
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        require(shutil.which("nginx", path=path), "nginx")
        self._folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        listener = listen()
        self.port = listener.getsockname()[1]
        self.address = ("127.0.0.1", self.port)
        where = f"127.0.0.1:{self.port}"
        if encrypted:
            chain, key = chain_and_key(name)
            where += " ssl"
            server = f"ssl_certificate {chain};\n    ssl_certificate_key {key};\n    {server}"
        where += f" {listen_options}"
        configuration = os.path.join(self._folder.name, "nginx.conf")
        with open(configuration, "w", encoding="utf-8") as written:
            written.write(CONFIGURATION.format(folder=self._folder.name, user=pwd.getpwuid(os.getuid()).pw_name,
                                               listen=where, server=server))
        with listener:
            self._child = subprocess.Popen(
                [shutil.which("nginx", path=path), "-p", self._folder.name, "-c", configuration, "-e", "stderr"],
                pass_fds=[listener.fileno()], env={**os.environ, "NGINX": f"{listener.fileno()};"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.terminate()
        self._child.wait(DEADLINE)
        self._folder.cleanup()
