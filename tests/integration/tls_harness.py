"""What the tests of TLS share: certificates, sluice's endpoint (tls_peer.cc), and tools whose output is read as bytes.

  server = self.enter(TlsServer())                # with the certificate "p256", for localhost and 127.0.0.1
  with server.connect() as client: ...            # plain TCP; the handshake is the peer's
  told = server.expect("open")                    # {"version": "TLS 1.3", "cipher": ..., ...}
"""

import atexit
import fcntl
import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

from harness import DEADLINE, Process, Server, require

_folder = None


def certificates():
    """The folder with what tls_certificates.cc writes; made once."""
    global _folder
    if _folder is None:
        _folder = tempfile.mkdtemp(prefix="certificates.", dir=os.environ.get("TEST_TMPDIR"))
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
        subprocess.run([os.environ["TLS_CERTIFICATES"], _folder], check=True, timeout=DEADLINE)
    return _folder


def file(name):
    return os.path.join(certificates(), name)


def chain_and_key(name):
    return file(name + ".pem"), file(name + ".key")


def identity(name):
    """The flag of tls_flags.h."""
    return "--identity=" + ",".join(chain_and_key(name))


def openssl_identity(name):
    """The same for the openssl command, which takes only the first certificate of a file for the leaf."""
    chain, key = chain_and_key(name)
    return ["-cert", chain, "-key", key, *(["-cert_chain", file("intermediate.pem")] if name == "chained" else [])]


def roots(name="root"):
    return f"--roots={file(name + '.pem')}"


def _unescape(text):
    return text.encode().decode("unicode_escape")


class Teller:
    """A process that tells what happens in lines of words that are separated by tabs."""

    def expect(self, name):
        """The next that it tells, which must be this; its words."""
        event, *words = self.read_line().split("\t")
        if event != name:
            raise AssertionError(f"not {name} but {event} {words}")
        return {name: _unescape(value) for name, value in (word.split("=", 1) for word in words)}

    def expect_close(self, status="OK"):
        """The connection has ended like this: OK, or part of the error. The bytes that were received."""
        told = self.expect("close")
        if not (told["status"] == "OK" if status == "OK" else status in told["status"]):
            raise AssertionError(f"it ended not with {status} but {told['status']}")
        return int(told["bytes"])

    def expect_failed(self, *parts):
        """A handshake has failed, and the error has these parts. It also names the peer."""
        status = self.expect("failed")["status"]
        for part in ("127.0.0.1:", "TLS handshake", *parts):
            if part not in status:
                raise AssertionError(f"no {part} in: {status}")
        return status


class TlsServer(Teller, Server):
    def __init__(self, *flags, identities=("p256",), threads=1):
        super().__init__([os.environ["TLS_PEER"], "serve", "127.0.0.1:0", str(threads),
                          *map(identity, identities), *flags])

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def assert_serves(self):
        """It goes on serving others."""
        with client_context().wrap_socket(self.connect(), server_hostname="localhost") as client:
            client.sendall(b"still here?")
            if client.recv(100) != b"still here?":
                raise AssertionError("no echo")
            self.expect("open")
            client.unwrap().close()
        self.expect("end")
        self.expect_close()


class TlsClient(Teller, Process):
    def __init__(self, port, *flags, text=None, trust="root"):
        words = [] if text is None else [text]
        super().__init__([os.environ["TLS_PEER"], "connect", f"127.0.0.1:{port}", *words, roots(trust), *flags])


def client_context(trust="root", **attributes):
    """Of Python's ssl."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file(trust + ".pem"))
    return _with(context, attributes)


def server_context(name="p256", **attributes):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*chain_and_key(name))
    return _with(context, attributes)


def _with(context, attributes):
    # Python takes a missing close_notify for one unless it is told otherwise.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    for attribute, value in attributes.items():
        setattr(context, attribute, value)
    return context


def listen():
    """A socket that accepts; each of its operations fails after DEADLINE."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(DEADLINE)
    return listener


def accept(listener):
    connection, _ = listener.accept()
    connection.settimeout(DEADLINE)
    return connection


def exchange(connection, data, count=None):
    """harness.exchange for a socket of Python's ssl: sends data and receives count bytes (as many as it sends, unless
    said) at the same time."""
    count = len(data) if count is None else count
    received = bytearray()
    unsent = memoryview(data)
    connection.setblocking(False)
    while len(received) < count or unsent:
        moved = False
        wants_to_write = False
        try:
            while len(received) < count:
                piece = connection.recv(count - len(received))
                if not piece:
                    raise AssertionError(f"the connection ended after {len(received)} of {count} bytes")
                received += piece
                moved = True
        except ssl.SSLWantReadError:
            pass
        try:
            if unsent:
                unsent = unsent[connection.send(unsent[:1 << 16]):]
                moved = True
        except ssl.SSLWantWriteError:
            wants_to_write = True
        if not moved:
            ready = select.select([connection], [connection] if wants_to_write else [], [], DEADLINE)
            if not any(ready):
                raise AssertionError(f"nothing came in {DEADLINE} s; {len(received)} of {count} bytes are there")
    connection.settimeout(DEADLINE)
    return bytes(received)


class Tool:
    """A child process whose output is read as bytes, standard error after that. It is killed at the end of the with
    block."""

    def __init__(self, command, merge=False):
        require(shutil.which(command[0]), command[0])
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT if merge else subprocess.PIPE, bufsize=0)
        self._output = {}
        self._ended = set()
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=(pipe, name), daemon=True)
                         for pipe, name in ((self._child.stdout, "output"), (self._child.stderr, "errors")) if pipe]
        for reader in self._readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        self._child.stdin.close()

    def _read(self, pipe, name):
        with pipe:
            while piece := pipe.read(1 << 16):
                with self._changed:
                    self._output[name] = self._output.get(name, bytearray()) + piece
                    self._changed.notify_all()
        with self._changed:
            self._ended.add(name)
            self._changed.notify_all()

    def wait_for(self, text, name="output", start=0):
        """Until it has written this; where that begins."""
        def found():
            return self._output.get(name, b"").find(text, start)

        with self._changed:
            self._changed.wait_for(lambda: found() >= 0 or name in self._ended, DEADLINE)
            if found() < 0:
                raise AssertionError(f"no {text[:100]} in {name}: {self._describe()}")
            return found()

    def wait_for_count(self, text, count, name="output"):
        """Until it has written this so often; False if it ends before."""
        def found():
            return self._output.get(name, b"").count(text) >= count

        with self._changed:
            self._changed.wait_for(lambda: found() or name in self._ended, DEADLINE)
            return found()

    def _describe(self):
        return {name: bytes(data[-2000:]) for name, data in self._output.items()}

    def output(self, name="output"):
        with self._changed:
            return bytes(self._output.get(name, b""))

    def write(self, data):
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[self._child.stdin.write(remaining):]

    def write_apart(self, data):
        """Writes this, and returns when the tool has read all of it: what is written next it reads by itself."""
        pipe = self._child.stdin
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1)  # a page: there is room again when it is empty
        self.write(data)
        if not select.select([], [pipe], [], DEADLINE)[1]:
            raise AssertionError(f"its input was not read in {DEADLINE} s: {self._describe()}")

    def end_input(self):
        self._child.stdin.close()

    def kill(self):
        self._child.kill()

    def wait(self):
        """The exit status, once it has ended by itself, and all that it wrote."""
        status = self._child.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return status, b"".join(bytes(data) for data in self._output.values()).decode(errors="backslashreplace")


def run(command, data=b""):
    """A tool that ends by itself: its exit status and all that it wrote."""
    require(shutil.which(command[0]), command[0])
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE,
                          check=False)
    return done.returncode, done.stdout.decode(errors="backslashreplace")
