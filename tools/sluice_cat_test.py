"""`sluice cat` as its users run it.

  sluice_cat_test.py SLUICE [unittest's arguments]      run by //tools:sluice_cat_test
"""

import base64
import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

from sluice_testing import PATIENCE, SLUICE, Echo, Fake, Terminal, open_terminal, receive, run, until_end


class CatTest(unittest.TestCase):

    def test_lines_go_out_and_come_back(self):
        for scheme, protocol in (("tcp", "raw"), ("frame", "frame"), ("ws", "websocket")):
            with Echo(f"--protocol={protocol}") as echo:
                result = run("cat", f"{scheme}://{echo.address}", stdin=b"one\ntwo\n")
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"one\ntwo\n", b""), scheme)
                totals = echo.stop()
                self.assertEqual((totals["connections"], totals["errors"]), (1, 0))

    def test_verbose_says_whether_messages_are_compressed(self):
        line = "so that it is long enough to be compressed ".encode() * 3 + b"\n"
        for server, says in ((("--deflate",), "messages are compressed\n"),
                             ((), "messages are not compressed: the server does not want it\n")):
            with Echo("--protocol=websocket", *server) as echo:
                result = run("cat", f"ws://{echo.address}", "--deflate", "--verbose", stdin=line)
                self.assertEqual((result.returncode, result.stdout), (0, line))
                self.assertEqual(result.stderr.decode(), f"connected to {echo.address}\n{says}")

    def test_an_answer_that_comes_after_the_pong_is_printed(self):
        # A server may answer a ping at once, and a message when its handler gets to it.
        def serve(connection):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            key = re.search(rb"Sec-WebSocket-Key: (.*)\r\n", head)[1]
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            receive(connection, 6 + len("question"))
            receive(connection, 6)  # a ping
            connection.sendall(b"\x8a\0" + b"\x81\x06answer")
            receive(connection, 8)  # a close frame
            connection.sendall(b"\x88\x02\x03\xe8")

        with Fake(serve) as fake:
            result = run("cat", f"ws://{fake.address}", stdin=b"question\n")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"answer\n", b""))

    def test_input_may_be_a_file_or_nothing(self):
        with Echo() as echo, tempfile.TemporaryFile() as file:
            content = os.urandom(3_000_000)
            file.write(content)
            file.seek(0)
            result = subprocess.run([SLUICE, "cat", f"tcp://{echo.address}"], stdin=file, stdout=subprocess.PIPE,
                                    timeout=PATIENCE)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(result.stdout, content)
            result = subprocess.run([SLUICE, "cat", f"tcp://{echo.address}"], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, timeout=PATIENCE)
            self.assertEqual((result.returncode, result.stdout), (0, b""))

    def test_a_terminal_is_not_driven_by_the_server(self):
        def serve(connection):
            connection.sendall(b"hello\x1b[2J\n")

        with Fake(serve) as fake:
            terminal = Terminal()
            result = subprocess.run([SLUICE, "cat", f"tcp://{fake.address}"], stdin=subprocess.PIPE, timeout=PATIENCE,
                                    stdout=terminal.other)
            self.assertEqual(terminal.close(), "hello\\x1b[2J\r\n")
            self.assertEqual(result.returncode, 0)

    def test_lines_typed_at_a_terminal_are_sent_at_once(self):
        with Echo("--protocol=websocket") as echo:
            own, other = open_terminal()
            cat = subprocess.Popen([SLUICE, "cat", f"ws://{echo.address}"], stdin=other, stdout=subprocess.PIPE)
            for line in (b"first\n", b"second\n"):
                os.write(own, line)
                self.assertEqual(cat.stdout.readline(), line)
            os.write(own, b"\x04")  # Ctrl-D
            self.assertEqual(cat.stdout.read(), b"")
            self.assertEqual(cat.wait(timeout=PATIENCE), 0)
            cat.stdout.close()
            os.close(own)
            os.close(other)

    def test_the_servers_end_ends_it(self):
        def serve(connection):
            connection.sendall(b"bye\n")

        with Fake(serve) as fake:
            reading, writing = os.pipe()  # nothing is written, and it stays open
            result = subprocess.run([SLUICE, "cat", f"tcp://{fake.address}"], stdin=reading, stdout=subprocess.PIPE,
                                    timeout=PATIENCE)
            os.close(reading)
            os.close(writing)
            self.assertEqual((result.returncode, result.stdout), (0, b"bye\n"))

    def test_trouble_is_told_and_has_a_status(self):
        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def answer_404(connection):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        for scheme, serve, says in (("tcp", reset, "reset"), ("ws", answer_404, "404")):
            with Fake(serve) as fake:
                reading, writing = os.pipe()
                result = subprocess.run([SLUICE, "cat", f"{scheme}://{fake.address}"], stdin=reading, timeout=PATIENCE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                os.close(reading)
                os.close(writing)
                self.assertEqual((result.returncode, result.stdout), (1, b""))
                self.assertRegex(result.stderr.decode().lower(), rf"^sluice cat: .*{says}")

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        result = run("cat", f"tcp://{address}")
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertIn(address, result.stderr.decode())

    def test_a_server_that_accepts_and_says_nothing_is_given_up(self):
        with Fake(until_end) as fake:
            result = run("cat", f"ws://{fake.address}", "--timeout=100ms")
            self.assertEqual((result.returncode, result.stdout), (1, b""))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
