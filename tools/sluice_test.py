"""The command line as its users run it: processes, sockets and pipes.

  sluice_test.py SLUICE OWN_CODEC [unittest's arguments]      the binaries; run by //tools:sluice_test
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

from sluice_testing import PATIENCE, SLUICE, Echo, Fake, receive, receive_all, run, until_end

OWN_CODEC = os.path.abspath(sys.argv[2])


def http_proxy(answer=b"HTTP/1.1 200 OK\r\n\r\n", heads=None):
    """Serves one connection as a proxy does that knows CONNECT; `heads` gets what it was asked."""
    def serve(client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += receive(client, 1)
        if heads is not None:
            heads.append(head.decode())
        host, port = head.split()[1].decode().rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port))) as server:
            server.settimeout(PATIENCE)
            client.sendall(answer)
            back = threading.Thread(target=forward, args=(server, client))
            back.start()
            forward(client, server)
            back.join()
    return serve


def forward(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class UsageTest(unittest.TestCase):

    def assert_bad_usage(self, *words, says):
        result = run(*words)
        self.assertEqual(result.returncode, 2, result)
        self.assertEqual(result.stdout, b"")
        self.assertIn(says, result.stderr.decode())

    def test_without_words_it_lists_the_commands(self):
        result = run()
        self.assertEqual(result.returncode, 2)
        for command in ("echo", "bench", "cat", "codecs", "demo", "help"):
            self.assertRegex(result.stderr.decode(), rf"\n  {command} ")

    def test_help_is_no_error(self):
        for words in (["help"], ["--help"], ["help", "echo"], ["echo", "--help"], ["help", "bench"], ["help", "cat"],
                      ["help", "codecs"], ["help", "demo"]):
            result = run(*words)
            self.assertEqual(result.returncode, 0, words)
            self.assertTrue(result.stdout.startswith(b"Usage: sluice "), words)
            self.assertEqual(result.stderr, b"")
            self.assertLessEqual(max(map(len, result.stdout.decode().splitlines())), 100, words)

    def test_what_is_not_there_is_answered_with_what_is(self):
        self.assert_bad_usage("hub", says="There are echo, bench, cat, relay, codecs, demo and help.")
        self.assert_bad_usage("echo", "--pipeline=3", says="It accepts --listen, --protocol, ")
        self.assert_bad_usage("demo", "--listen=*:0", says="It accepts --connections, ")
        self.assert_bad_usage("relay", "--protocol=raw", says="It accepts --listen, --to, ")
        self.assert_bad_usage("bench", says="URL is missing")
        self.assert_bad_usage("cat", "tcp://[::1]:1", "more", says="unexpected argument more")

    def test_bad_values_are_answered_with_good_ones(self):
        for flag in ["--max_connections=0", "--max_connections=-1"]:
            self.assert_bad_usage("echo", flag, says="takes a whole number from 1 to 100000000")
        self.assert_bad_usage("echo", "--threads=0", says="takes a whole number from 1 to 1024")
        self.assert_bad_usage("echo", "--max_message_bytes=big", says="takes a number of bytes from 1 to ")
        self.assert_bad_usage("echo", "--idle_timeout=30", says="takes a positive duration, such as 500ms")
        self.assert_bad_usage("echo", "--poller=select", says="takes auto, epoll, io_uring or kqueue")
        self.assert_bad_usage("echo", "--protocol=http", says="takes one of raw, frame, websocket")
        self.assert_bad_usage("echo", "--reuse_port=perhaps", says="takes true or false")
        self.assert_bad_usage("echo", "--busy_poll=-1ms", says="takes a duration of 0 or more, such as 500ms")
        self.assert_bad_usage("echo", "--deflate", says="--protocol=raw does not compress; websocket does")
        self.assert_bad_usage("bench", "tcp://[::1]:1", "--threads=3", "--connections=2",
                              says="--threads may not be more than --connections")
        for command in ("bench", "cat"):
            self.assert_bad_usage(command, "tcp://[::1]:1", "--deflate", says="--deflate: tcp:// does not compress; ws:// does")
        self.assert_bad_usage("demo", "--size=0", says="takes a number of bytes from 1 to 1GiB")

    def test_what_means_nothing_over_udp_is_refused(self):
        for flag in ("--codec=x=1", "--deflate", "--idle_timeout=1s", "--max_connections=1", "--max_message_bytes=1",
                     "--own_descriptor_tables", "--proxy_protocol_in", "--tls_cert=x"):
            name = flag.split("=")[0]
            self.assert_bad_usage("echo", "--protocol=udp", flag, says=f"{name} means nothing with --protocol=udp")
        self.assert_bad_usage("echo", "--protocol=udp", "--listen=unix:/tmp/x", says="UDP has no Unix sockets")
        for command in ("bench", "cat"):
            for flag in ("--codec=x=1", "--deflate", "--timeout=1s", "--tls_ca=x", "--proxy=http://127.0.0.1:1"):
                name = flag.split("=")[0]
                self.assert_bad_usage(command, "udp://[::1]:1", flag, says=f"{name} means nothing with udp://")
            self.assert_bad_usage(command, "udp://[::1]", says="there is no port")
            self.assert_bad_usage(command, "udp+unix:///tmp/x", says="udp:// is not spoken over Unix sockets")
            self.assert_bad_usage(command, "tcp://[::1]:1", "--lost_after=2s", says="--lost_after means nothing with tcp://")
        for size in ("23", "65508"):
            self.assert_bad_usage("bench", "udp://[::1]:1", f"--size={size}", says="over udp:// it is 24 to 65507")
        self.assert_bad_usage("bench", "udp://[::1]:1", "--lost_after=inf", says="a datagram may get lost")

    @unittest.skipUnless(sys.platform == "linux", "other systems have kqueue")
    def test_an_engine_that_the_system_lacks_is_named(self):
        result = run("echo", "--listen=127.0.0.1:0", "--poller=kqueue")
        self.assertEqual(result.returncode, 1, result)
        self.assertEqual(result.stdout, b"")
        self.assertIn("this system has no kqueue; macOS and the BSDs have it", result.stderr.decode())

    def test_addresses_that_do_not_parse(self):
        for address in ("", "here", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:http", "localhost:0", "::1:0", "unix:"):
            self.assert_bad_usage("echo", f"--listen={address}", says="accepted are 127.0.0.1:9000")

    def test_urls_that_do_not_parse(self):
        for command in ("bench", "cat"):
            self.assert_bad_usage(command, "127.0.0.1:1", says="accepted are tcp://HOST:PORT, frame://HOST:PORT, ws://HOST")
            self.assert_bad_usage(command, "http://127.0.0.1:1", says="http:// is not among the schemes; accepted are tcp://")
            self.assert_bad_usage(command, "tcp://example org:1", says='"example org" is no host: it must be an IPv4 or')
            self.assert_bad_usage(command, "tcp://127.0.0.1", says="there is no port")

    def test_proxies_that_do_not_parse(self):
        for command in ("bench", "cat"):
            for flag, says in (("--proxy=127.0.0.1:1", "--proxy: this is no URL of a proxy; accepted are http://[USER"),
                               ("--proxy=https://127.0.0.1:1", "--proxy: this is no URL of a proxy; accepted are http://[USER"),
                               ("--proxy=http://127.0.0.1", "there is no port"),
                               ("--proxy=socks5://me@127.0.0.1:1", "--proxy: ")):
                self.assert_bad_usage(command, "tcp://127.0.0.1:1", flag, says=says)
            self.assert_bad_usage(command, "unix:///run/x", "--proxy=http://127.0.0.1:1",
                                  says="--proxy: a proxy does not reach Unix sockets")
        self.assert_bad_usage("echo", "--proxy=http://127.0.0.1:1", says="It accepts --listen")

    def test_help_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([SLUICE, "help"], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE)
        self.assertEqual(result.returncode, 1)


class EchoTest(unittest.TestCase):

    def test_raw_bytes_come_back(self):
        with Echo() as echo, echo.connect() as client:
            data = os.urandom(300_000)
            sender = threading.Thread(target=client.sendall, args=(data,))
            sender.start()
            self.assertEqual(receive(client, len(data)), data)
            sender.join()
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")
            totals = echo.stop()
            self.assertEqual((totals["connections"], totals["bytes"], totals["errors"]), (1, len(data), 0))

    def test_frames_come_back_however_they_are_cut(self):
        frames = b"".join(struct.pack(">I", n) + os.urandom(n) for n in (0, 1, 5, 300, 70_000))
        with Echo("--protocol=frame") as echo, echo.connect() as client:
            for cut in (1, 3, 1000, 1 << 20):
                for i in range(0, min(len(frames), 1000 * cut), cut):
                    client.sendall(frames[i:i + cut])
                rest = frames[1000 * cut:]
                client.sendall(rest)
                self.assertEqual(receive(client, len(frames)), frames)
            client.close()
            self.assertEqual(echo.stop(), {"connections": 1, "messages": 20, "bytes": 4 * 70_306, "errors": 0})

    def test_a_plain_websocket_client_is_answered(self):
        with Echo("--protocol=websocket") as echo, echo.connect() as client:
            key = base64.b64encode(os.urandom(16)).decode()
            client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.assertTrue(head.startswith(b"HTTP/1.1 101 "), head)
            mask = b"\x01\x02\x03\x04"
            client.sendall(b"\x81\x85" + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(b"hello")))
            self.assertEqual(receive(client, 7), b"\x81\x05hello")

    def test_each_kind_of_address(self):
        directory = tempfile.mkdtemp(dir="/tmp")
        try:
            listens = ["127.0.0.1:0", f"unix:{directory}/socket", f"unix:@{directory}"]
            if socket.has_ipv6:
                listens += ["[::1]:0", "*:0"]
            for listen in listens:
                try:
                    echo = Echo(listen=listen)
                except AssertionError as error:
                    if "[::1]" in listen and "not available" in str(error).lower():
                        continue  # no IPv6 here
                    raise
                with echo:
                    if listen.startswith("unix:"):
                        self.assertEqual(echo.address, listen)
                        url = "unix://" + listen[len("unix:"):]
                    else:
                        url = "tcp://" + echo.address.replace("[::]", "127.0.0.1")
                    result = run("cat", url, stdin=b"hello")
                    self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"hello", b""), listen)
                    self.assertEqual(echo.stop()["errors"], 0)
            self.assertEqual(os.listdir(directory), [])
        finally:
            shutil.rmtree(directory)

    def test_a_port_in_use_is_a_failure_that_names_it(self):
        with Echo() as echo:
            for threads in ("1", "2"):
                result = run("echo", f"--listen={echo.address}", f"--threads={threads}")
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stdout, b"")
                self.assertIn(echo.address, result.stderr.decode())

    def test_processes_may_share_a_port(self):
        with Echo("--reuse_port") as one, Echo("--reuse_port", listen=one.address) as two:
            for _ in range(20):
                with one.connect() as client:
                    client.sendall(b"x")
                    self.assertEqual(client.recv(1), b"x")
            self.assertEqual(one.stop()["connections"] + two.stop()["connections"], 20)

    def test_sigterm_and_sigint_end_it_well(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Echo("--threads=2") as echo:
                self.assertEqual(echo.stop(number), {"connections": 0, "pieces": 0, "bytes": 0, "errors": 0})

    def test_a_drain_answers_what_was_sent(self):
        for protocol in ("raw", "frame"):
            with Echo(f"--protocol={protocol}", "--threads=2", "--drain_timeout=100s") as echo:
                clients = [echo.connect() for _ in range(20)]
                message = struct.pack(">I", 1000) + os.urandom(1000)
                for client in clients:
                    client.sendall(message)
                    self.assertEqual(receive(client, len(message)), message)  # it was accepted
                for client in clients:
                    client.sendall(50 * message)
                echo.process.send_signal(signal.SIGTERM)
                for client in clients:
                    self.assertEqual(receive_all(client), 50 * message)
                    client.close()
                totals = echo.totals()
                self.assertEqual(totals["errors"], 0)
                self.assertEqual(totals["bytes"], 20 * 51 * (1000 if protocol == "frame" else 1004))

    def test_a_drain_does_not_wait_forever(self):
        with Echo("--drain_timeout=100ms") as echo, echo.connect() as client:
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            self.assertEqual(echo.stop()["errors"], 1)

    def test_a_second_signal_ends_it_at_once(self):
        with Echo("--drain_timeout=inf") as echo, echo.connect() as client:
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            echo.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.recv(1), b"")  # it drains, and waits for this client
            echo.process.send_signal(signal.SIGTERM)
            self.assertEqual(echo.process.wait(timeout=PATIENCE), -signal.SIGTERM)

    def test_sigterm_under_load_loses_no_answer_that_it_counts(self):
        for scheme, protocol in (("tcp", "raw"), ("frame", "frame"), ("ws", "websocket")):
            with Echo(f"--protocol={protocol}", "--threads=2") as echo:
                bench = subprocess.Popen([SLUICE, "bench", f"{scheme}://{echo.address}", "--json", "--duration=inf",
                                          "--pipeline=4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                # Until it is under way: it says so every two seconds.
                while b" messages/s" not in bench.stderr.readline():
                    self.assertIsNone(bench.poll())
                totals = echo.stop()
                out, _ = bench.communicate(timeout=PATIENCE)
                self.assertEqual(bench.returncode, 1)
                report = json.loads(out)
                self.assertEqual(report["errors_total"], report["errors"]["closed"])
                self.assertEqual(report["errors_total"], 50)
                self.assertGreaterEqual(totals["bytes"], report["bytes"])
                self.assertGreater(report["messages"], 0)

    def test_one_bad_client_does_not_disturb_others(self):
        with Echo("--protocol=frame", "--max_message_bytes=100") as echo, echo.connect() as good, echo.connect() as bad:
            bad.sendall(b"\xff\xff\xff\xff")
            with self.assertRaises(ConnectionResetError):
                until_end(bad)
                raise ConnectionResetError  # an end without a reset is as good
            good.sendall(b"\0\0\0\x01x")
            self.assertEqual(receive(good, 5), b"\0\0\0\x01x")
            good.close()
            self.assertEqual(echo.stop(), {"connections": 2, "messages": 1, "bytes": 1, "errors": 1})

    def test_an_idle_connection_is_closed(self):
        with Echo("--idle_timeout=50ms") as echo, echo.connect() as client:
            try:
                self.assertEqual(client.recv(1), b"")
            except ConnectionResetError:
                pass
            self.assertEqual(echo.stop()["errors"], 1)


class NamesTest(unittest.TestCase):

    def test_a_name_is_looked_up(self):
        # The server listens on one of the addresses that localhost may have.
        with Echo() as echo:
            url = f"tcp://localhost:{echo.address.rsplit(':', 1)[1]}"
            result = run("cat", url, "--verbose", stdin=b"hello")
            self.assertEqual((result.returncode, result.stdout), (0, b"hello"), result)
            self.assertEqual(result.stderr.decode(), f"connected to {echo.address}\n")
            result = run("bench", url, "--connections=300", "--threads=2", "--duration=100ms")
            self.assertEqual(result.returncode, 0, result)

    def test_a_name_that_is_not_there_is_named(self):
        for command in (("cat",), ("bench", "--connections=2")):
            result = run(*command, "tcp://nowhere.invalid:1", "--timeout=1s")
            self.assertEqual(result.returncode, 1)
            self.assertIn("nowhere.invalid:1: no connection", (result.stdout + result.stderr).decode())

    def test_each_address_that_failed_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        result = run("cat", f"tcp://localhost:{port}")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.decode(), rf"localhost:{port}: no connection: .*127\.0\.0\.1:{port}: connect: ")


class ProxyTest(unittest.TestCase):

    def test_cat_and_bench_go_through_it(self):
        for scheme, protocol in (("tcp", "raw"), ("ws", "websocket")):
            heads = []
            with Echo(f"--protocol={protocol}") as echo, Fake(http_proxy(heads=heads)) as proxy:
                port = echo.address.rsplit(":", 1)[1]
                url = f"{scheme}://localhost:{port}"
                flag = f"--proxy=http://localhost:{proxy.address.rsplit(':', 1)[1]}"
                result = run("cat", url, flag, stdin=b"hello\n")
                self.assertEqual((result.returncode, result.stdout), (0, b"hello\n"), result)
                result = run("bench", url, flag, "--connections=5", "--duration=100ms", "--json")
                self.assertEqual(json.loads(result.stdout)["connections_opened"], 5, result)
                self.assertEqual(result.returncode, 0, result)
                # The proxy looks the server's name up.
                self.assertEqual(len(heads), 6)
                for head in heads:
                    self.assertIn(f"CONNECT localhost:{port} HTTP/1.1\r\n", head)

    def test_verbose_names_it_without_the_password(self):
        heads = []
        with Echo() as echo, Fake(http_proxy(heads=heads)) as proxy:
            result = run("cat", f"tcp://{echo.address}", f"--proxy=http://me:s%40crt@{proxy.address}", "--verbose", stdin=b"x")
            self.assertEqual((result.returncode, result.stdout), (0, b"x"), result)
            self.assertEqual(result.stderr.decode(), f"connected to {echo.address} through the proxy http://{proxy.address}, "
                             f"which is {proxy.address}\n")
            self.assertIn("Basic " + base64.b64encode(b"me:s@crt").decode(), heads[0])

    def test_what_it_refuses_is_told(self):
        with Echo() as echo, Fake(http_proxy(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
            result = run("cat", f"tcp://{echo.address}", f"--proxy=http://{proxy.address}")
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertIn(f"proxy {proxy.address}: CONNECT {echo.address}: refused with 403", result.stderr.decode())

    def test_one_that_is_not_there_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
        result = run("bench", "tcp://127.0.0.1:1", f"--proxy=http://{address}", "--connections=2", "--json")
        self.assertEqual(json.loads(result.stdout)["errors"]["connect"], 2)
        self.assertIn(address, json.loads(result.stdout)["first_error"])


class DemoTest(unittest.TestCase):

    def test_it_draws_a_picture_and_loses_nothing(self):
        result = run("demo", "--duration=200ms", "--connections=10", env={"LC_ALL": "C.UTF-8"})
        text = result.stdout.decode()
        self.assertEqual(result.returncode, 0, result)
        self.assertIn("no errors; every message came back as it was sent\n", text)
        self.assertRegex(text, r"The server saw 10 connections, [\d,]+ messages and 0 errors\.\n$")
        self.assertIn("█", text)

    def test_large_messages_on_many_threads(self):
        result = run("demo", "--duration=200ms", "--connections=4", "--threads=2", "--size=2MiB", "--pipeline=2")
        self.assertEqual(result.returncode, 0, result)


class CodecsTest(unittest.TestCase):

    def test_they_are_listed_with_options_and_limits(self):
        result = run("codecs")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        text = result.stdout.decode()
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        for name in ("raw", "frame", "websocket", "line", "netstring", "varint"):
            self.assertRegex(text, rf"(?m)^{name}: .+\n  URL      \w+://HOST")
        self.assertRegex(text, r"\n  --codec=length_bytes=4 +bytes of the length \(1, 2, 3, 4, 8 or varint\)\n")
        self.assertIn("--max_message_bytes is 1MiB where it is not given", text)

    def test_one_is_listed_alone(self):
        text = run("codecs", "websocket").stdout.decode()
        self.assertTrue(text.startswith("websocket: "), text)
        self.assertIn("wss://HOST", text)
        self.assertIn("  deflate  messages, with --deflate", text)
        self.assertNotIn("frame", text)
        result = run("codecs", "http")
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn("there is no protocol http; there are raw, frame, websocket", result.stderr.decode())

    def test_programs_read_them_as_json(self):
        listed = json.loads(run("codecs", "--json").stdout)
        self.assertEqual(listed["raw"]["has_messages"], False)
        frame = listed["frame"]
        self.assertEqual((frame["scheme"], frame["tls_scheme"]), ("frame", "frames"))
        self.assertEqual(frame["options"]["byte_order"],
                         {"default": "big", "accepted": "big or little",
                          "meaning": "which end of the length comes first"})
        self.assertEqual(list(json.loads(run("codecs", "frame", "--json").stdout)), ["frame"])

    def test_each_is_spoken_by_all_commands(self):
        shown = {"resp": b'["one"]\n["two"]\n'}  # a typed line is a command there
        for name, about in json.loads(run("codecs", "--json").stdout).items():
            with self.subTest(name), Echo(f"--protocol={name}") as echo:
                url = f"{about['scheme']}://{echo.address}"
                cat = run("cat", url, stdin=b"one\ntwo\n")
                self.assertEqual((cat.returncode, cat.stdout, cat.stderr), (0, shown.get(name, b"one\ntwo\n"), b""))
                for size in ("1", "100000"):
                    bench = run("bench", url, "--json", f"--size={size}", "--duration=100ms", "--connections=3",
                                "--pipeline=2")
                    self.assertTrue(json.loads(bench.stdout)["ok"], bench)
                self.assertEqual(echo.stop()["errors"], 0)

    def test_options_are_those_of_the_wire(self):
        codec = "--codec=length_bytes=2,byte_order=little"
        with Echo("--protocol=frame", codec) as echo:
            with echo.connect() as client:
                client.sendall(b"\x05\x00hello")
                self.assertEqual(receive(client, 7), b"\x05\x00hello")
            url = f"frame://{echo.address}"
            self.assertEqual(run("cat", url, codec, stdin=b"one\ntwo").stdout, b"one\ntwo\n")
            bench = run("bench", url, codec, "--json", "--size=300", "--duration=100ms")
            self.assertTrue(json.loads(bench.stdout)["ok"], bench)
            self.assertEqual(echo.stop()["errors"], 0)

    def test_options_that_are_not_there_are_answered_with_those_that_are(self):
        for words in (["echo", "--protocol=frame"], ["bench", "frame://[::1]:1"], ["cat", "frame://[::1]:1"]):
            for codec, says in (("length_byte=2", 'frame: there is no option "length_byte"; there are length_bytes (1, 2, '),
                                ("length_bytes=5", "length_bytes takes 1, 2, 3, 4, 8 or varint"),
                                ("length_bytes", "length_bytes needs a value: length_bytes=4"),
                                ("length_bytes=1,length_bytes=2", "length_bytes is given twice"),
                                ("length_bytes=1,length_adjustment=-300", "length_adjustment is -300; accepted: -255")):
                result = run(*words, f"--codec={codec}")
                self.assertEqual((result.returncode, result.stdout), (2, b""), result)
                self.assertIn(f"--codec={codec}: frame: ", result.stderr.decode())
                self.assertIn(says, result.stderr.decode())
        self.assertIn("raw: this protocol has no options", run("echo", "--codec=a=b").stderr.decode())

    def test_options_and_limits_may_not_go_together(self):
        result = run("echo", "--listen=127.0.0.1:0", "--protocol=frame", "--codec=bytes_to_strip=0", "--max_message_bytes=3")
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertIn("max_message_bytes is 3; accepted: 4 or more", result.stderr.decode())

    def test_a_message_that_cannot_be_sent_is_told(self):
        # What is stripped here is lost, so that a frame cannot be made of a message.
        codec = "--codec=length_offset=1"
        with Echo("--protocol=frame", codec) as echo:
            cat = run("cat", f"frame://{echo.address}", codec, stdin=b"hello\n")
            self.assertEqual((cat.returncode, cat.stdout), (1, b""))
            self.assertIn(b"a message is none that the protocol, set up so, can carry", cat.stderr)
            bench = run("bench", f"frame://{echo.address}", codec, "--json", "--duration=inf", "--timeout=inf",
                        "--connections=2")
            self.assertEqual(bench.returncode, 1)
            self.assertEqual(json.loads(bench.stdout)["errors"]["protocol"], 2)


class OwnCodecTest(unittest.TestCase):

    def test_a_codec_of_a_users_own_has_all_commands(self):
        with Echo("--protocol=short", binary=OWN_CODEC) as echo:
            with echo.connect() as client:
                client.sendall(b"\x05hello")
                self.assertEqual(receive(client, 6), b"\x05hello")
            url = f"short://{echo.address}"
            self.assertEqual(run("cat", url, stdin=b"one\ntwo", binary=OWN_CODEC).stdout, b"one\ntwo\n")
            bench = run("bench", url, "--json", "--size=255", "--duration=100ms", binary=OWN_CODEC)
            self.assertTrue(json.loads(bench.stdout)["ok"])
            self.assertEqual(echo.stop()["errors"], 0)
        self.assertIn("short://HOST:PORT", run("help", "cat", binary=OWN_CODEC).stdout.decode())
        self.assertRegex(" ".join(run("help", "echo", binary=OWN_CODEC).stdout.decode().split()),
                         r"Protocols: raw, frame, websocket, ([\w-]+, )*short\.")

    def test_it_has_options(self):
        self.assertIn("short: text behind its length\n  URL      short://HOST:PORT",
                      run("codecs", binary=OWN_CODEC).stdout.decode())
        codec = "--codec=length_bytes=2"
        with Echo("--protocol=short", codec, binary=OWN_CODEC) as echo:
            with echo.connect() as client:
                client.sendall(b"\x00\x05hello")
                self.assertEqual(receive(client, 7), b"\x00\x05hello")
            self.assertEqual(run("cat", f"short://{echo.address}", codec, stdin=b"one", binary=OWN_CODEC).stdout, b"one\n")
            long = run("cat", f"short://{echo.address}", stdin=b"x" * 256, binary=OWN_CODEC)
            self.assertEqual((long.returncode, long.stdout), (1, b""))
            self.assertIn(b"a message is longer than the protocol can carry", long.stderr)
        refused = run("cat", "short://[::1]:1", "--codec=length_bytes=3", binary=OWN_CODEC)
        self.assertEqual(refused.returncode, 2)
        self.assertIn(b"length_bytes takes a whole number from 1 to 2", refused.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
