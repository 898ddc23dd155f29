"""`sluice echo`, `cat` and `bench` against a peer of the usp protocol in Go (peers/usp_peer.go), whose gzip, flate and
JSON are those of the library that the protocol comes from."""

import base64
import json
import os
import random
import shutil
import subprocess
import tempfile
import zlib

from harness import DEADLINE, Process, Sluice, TestCase, main, require

SLUICE = os.environ["SLUICE"]
TEXT, BINARY, PING, PONG = 0, 1, 2, 3
NONE, GZIP, FLATE = 0, 1, 2
COMPRESSIONS = {"none": NONE, "gzip": GZIP, "flate": FLATE}
FROM = 500  # bytes on, both sides compress

NOISE = random.Random(1).randbytes(20000)
HEADER = {"id": "7", "note": "Grüße \"&\" <tags> \n\u2028 \U0001f600", "": ""}


def compressible(count):
    return (b"words and more words; " * (count // 22 + 1))[:count]


def setUpModule():  # pylint: disable=invalid-name
    """Builds the peer."""
    require(shutil.which("go"), "go (Debian's golang-go)")
    Peer.folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
    Peer.binary = os.path.join(Peer.folder.name, "usp_peer")
    environment = dict(os.environ, GO111MODULE="off", GOCACHE=os.path.join(Peer.folder.name, "cache"))
    subprocess.run(["go", "build", "-o", Peer.binary, os.environ["USP_PEER"]], env=environment, check=True)


def tearDownModule():  # pylint: disable=invalid-name
    Peer.folder.cleanup()


class Peer(Process):
    """The peer, doing as it is told."""

    folder = None
    binary = None

    def __init__(self):
        super().__init__([self.binary, "commands"])

    def command(self, name, **arguments):
        self.write(json.dumps({"command": name, **arguments}).encode() + b"\n")

    def send(self, body=b"", kind=TEXT, header=None, compression=NONE):
        self.command("send", type=kind, header=header, compression=compression, body=base64.b64encode(body).decode())

    def send_raw(self, data):
        self.command("raw", body=base64.b64encode(data).decode())

    def expect(self, name):
        event = json.loads(self.read_line())
        if event["event"] != name:
            raise AssertionError(f"not {name} but {str(event)[:200]}")
        return event

    def receive_any(self):
        """The next message: its type, header, body, and how it was compressed."""
        event = self.expect("message")
        return event["type"], event["header"] or {}, base64.b64decode(event["body"] or ""), event["compression"]

    def receive(self):
        """The next that is no ping; those come when a server thinks it time."""
        while True:
            message = self.receive_any()
            if message[0] != PING:
                return message


class EchoServer(Process):
    """The peer as a server that sends back every message."""

    def __init__(self, compression):
        super().__init__([Peer.binary, "echo", compression, str(FROM)])
        self.url = f"usp://127.0.0.1:{json.loads(self.read_line())['port']}"


class EchoTest(TestCase):
    MESSAGES = [(TEXT, {}, b"hello"), (BINARY, HEADER, bytes(range(256))), (TEXT, HEADER, b""), (TEXT, {}, b""),
                (BINARY, {}, compressible(FROM)), (TEXT, HEADER, compressible(20000)), (BINARY, {}, NOISE)]

    def start(self, compression="none", least=FROM, *flags):
        self.server = self.enter(
            Sluice("--protocol=usp", f"--codec=compression={compression},min_compress_bytes={least}", *flags))
        return self.connect()

    def connect(self):
        peer = self.enter(Peer())
        peer.command("connect", address=self.server.address)
        peer.expect("open")
        return peer

    def test_messages_come_back_however_either_side_compresses(self):
        for name, ours in COMPRESSIONS.items():
            peer = self.start(name)
            for theirs in COMPRESSIONS.values():
                for kind, header, body in self.MESSAGES:
                    peer.send(body, kind, header, theirs)
                    got = peer.receive()
                    self.assertTrue(got[:3] == (kind, header, body), (name, theirs, len(body), got[:2]))
                    stays = body == NOISE or len(body) < FROM
                    self.assertEqual(got[3], NONE if stays else ours)
            self.assertEqual(self.server.totals()["errors"], 0)

    def test_a_message_of_the_limit_comes_back(self):
        peer = self.start("gzip")
        peer.send(compressible(1 << 20), BINARY, {}, GZIP)
        self.assertTrue(peer.receive() == (BINARY, {}, compressible(1 << 20), GZIP))

    def test_a_header_that_would_be_larger_than_its_compressed_message_is_sent_as_it_is(self):
        peer = self.start("gzip", 1)
        header = {"long": "x" * 5000}
        peer.send(b"", TEXT, header)
        self.assertEqual(peer.receive(), (TEXT, header, b"", NONE))

    def test_many_messages_keep_their_order(self):
        peer = self.start("flate", 10)
        bodies = [compressible(i) + str(i).encode() for i in range(500)]
        for body in bodies:
            peer.send(body, BINARY, {}, FLATE)
        for body in bodies:
            self.assertTrue(peer.receive()[2] == body)

    def test_the_server_pings(self):
        peer = self.start()
        self.assertEqual(peer.receive_any(), (PING, {}, b"", NONE))
        peer.send(kind=PONG)
        peer.send(b"still here")
        self.assertEqual(peer.receive()[2], b"still here")

    def test_what_breaks_the_rules_ends_its_own_connection_only(self):
        peer = self.start()
        bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
        bomb = bomb.compress(bytes(20 << 20)) + bomb.flush()
        frames = {
            "a stray handshake": b"\x06\0\0\0\0\x04\0\0\0\0",
            "an encrypted message": b"\x07\0\0\0\0\0\0\x01\0\0x",
            "a size of 5": b"\x05\0\0\0\0\0\0\0\0\0",
            "a size over the limit": b"\xff\xff\xff\xff\0\0\0\0\0\0",
            "a header larger than its message": b"\x07\0\0\0\0\0\0\0\x02\0x",
            "a header that is no JSON": b"\x07\0\0\0\0\0\0\0\x01\0x",
            "damage": b"\x07\0\0\0\0\0\x01\0\0\0x",
            "a bomb": (len(bomb) + 6).to_bytes(4, "little") + b"\0\0\x01\0\0\0" + bomb,
        }
        for what, frame in frames.items():
            victim = self.connect()
            victim.send_raw(frame)
            victim.expect("close")
            peer.send(what.encode())
            self.assertEqual(peer.receive()[2], what.encode())
        self.assertEqual(self.server.totals()["errors"], len(frames))

    def test_a_message_over_the_limit_ends_the_connection(self):
        peer = self.start("none", FROM, "--max_message_bytes=1000")
        peer.send(bytes(1000), BINARY)
        self.assertEqual(len(peer.receive()[2]), 1000)
        peer.send(bytes(1001), BINARY, {}, GZIP)
        peer.expect("close")


def run(*arguments, data=b""):
    """Exit status, output and errors of a run of sluice."""
    done = subprocess.run([SLUICE, *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class ClientTest(TestCase):
    def test_bench_gets_every_message_back(self):
        for theirs in COMPRESSIONS:
            server = self.enter(EchoServer(theirs))
            for ours in COMPRESSIONS:
                codec = f"--codec=compression={ours},min_compress_bytes={FROM}"
                status, output, errors = run("bench", server.url, codec, "--json", "--duration=200ms",
                                             "--connections=4", "--pipeline=4", "--size=3000")
                self.assertEqual(status, 0, errors)
                report = json.loads(output)
                self.assertTrue(report["ok"] and report["verified"] and report["messages"] > 0, report)

    def test_lines_come_back(self):
        for name in COMPRESSIONS:
            server = self.enter(EchoServer(name))
            lines = "hello\nGrüße, 世界\n\n" + "x" * 100000 + "\nlast\n"
            codec = f"--codec=compression={name},min_compress_bytes={FROM}"
            status, output, errors = run("cat", server.url, codec, data=lines.encode())
            self.assertEqual((status, errors), (0, ""))
            self.assertTrue(output == lines)

    def start(self):
        peer = self.enter(Peer())
        peer.command("serve")
        port = peer.expect("listening")["port"]
        codec = "--codec=compression=gzip,min_compress_bytes=100"
        cat = self.enter(Process([SLUICE, "cat", f"usp://127.0.0.1:{port}", codec]))
        peer.command("accept")
        peer.expect("open")
        return peer, cat

    def test_the_client_answers_pings(self):
        peer, cat = self.start()
        for _ in range(3):
            peer.send(kind=PING)
            self.assertEqual(peer.receive(), (PONG, {}, b"", NONE))
        cat.write(b"hello\n")
        self.assertEqual(peer.receive(), (TEXT, {}, b"hello", NONE))

    def test_the_client_compresses_and_shows_what_comes(self):
        peer, cat = self.start()
        line = compressible(1000)
        cat.write(line + b"\n")
        self.assertEqual(peer.receive(), (TEXT, {}, line, GZIP))
        for compression in COMPRESSIONS.values():
            peer.send(line, TEXT, HEADER, compression)
            self.assertEqual(cat.read_line(), line.decode())

    def test_a_server_that_ends_is_an_orderly_end(self):
        peer, cat = self.start()
        peer.command("close")
        self.assertEqual(cat.wait(), 0)

    def test_a_server_that_breaks_the_rules_is_a_failure(self):
        peer, cat = self.start()
        peer.send_raw(b"\x06\0\0\0\0\x04\0\0\0\0")
        self.assertEqual(cat.wait(), 1)


if __name__ == "__main__":
    main()
