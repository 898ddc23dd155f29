"""`sluice relay` in front of servers that others wrote, nginx and redis-server, and of `sluice echo`, with their own
clients; and between HAProxies, each of which speaks the PROXY protocol with it."""

import json
import os
import shutil
import subprocess
import tempfile

from haproxy import Haproxy
from harness import DEADLINE, Relay, Sluice, TestCase, exchange, main, pattern, receive_exactly, require
from nginx import Nginx
from redis_server import RedisServer
from tls_harness import chain_and_key, client_context, file

# What nginx knows of a connection, as its answer.
FACTS = 'return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $ssl_protocol $host";'


def tls_in():
    chain, key = chain_and_key("p256")
    return [f"--tls_cert={chain}", f"--tls_key={key}"]


def tls_out():
    return ["--to_tls", f"--tls_ca={file('root.pem')}"]


class PeersTest(TestCase):
    def run_tool(self, *command, text=None):
        require(shutil.which(command[0]), command[0])
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def relay(self, to, *flags, **options):
        relay = self.enter(Relay(to, *flags, **options))
        self.port = relay.address.rsplit(":", 1)[1]
        return relay


class NginxTest(PeersTest):
    def curl(self, *flags, scheme="http", path="/"):
        return self.run_tool("curl", "--silent", "--show-error", "--fail", "--cacert", file("root.pem"), *flags,
                             f"{scheme}://localhost:{self.port}{path}", "--resolve", f"localhost:{self.port}:127.0.0.1")

    def serve(self, server=FACTS, encrypted=True, **options):
        """nginx; the address by which it is called."""
        if encrypted:
            server = "ssl_protocols TLSv1.3; " + server
        nginx = self.enter(Nginx(server, encrypted=encrypted, **options))
        return f"127.0.0.1:{nginx.port}"

    def test_plain_on_both_sides(self):
        relay = self.relay(self.serve(encrypted=False))
        self.assertEqual(self.curl(), "    localhost")
        self.assertEqual(relay.totals()["errors"], 0)

    def test_tls_goes_through(self):
        self.relay(self.serve())
        self.assertEqual(self.curl(scheme="https"), "   TLSv1.3 localhost")

    def test_tls_in_front(self):
        relay = self.relay(self.serve(encrypted=False), *tls_in())
        self.assertEqual(self.curl(scheme="https"), "    localhost")
        self.assertEqual(relay.totals()["errors"], 0)

    def test_tls_behind(self):
        relay = self.relay(self.serve(), *tls_out())
        # So that nginx ends the connection: when a client does, it sends no close_notify.
        self.assertEqual(self.curl("--header", "Connection: close"), "   TLSv1.3 localhost")
        self.assertEqual(relay.totals()["errors"], 0)

    def test_a_backend_is_called_by_its_name(self):
        for flags, encrypted, version in ((tls_out(), True, "TLSv1.3"), ([], False, "")):
            self.relay(self.serve(encrypted=encrypted).replace("127.0.0.1", "localhost"), *flags)
            self.assertEqual(self.curl(), f"   {version} localhost")

    def test_tls_on_both_sides(self):
        self.relay(self.serve(), *tls_in(), *tls_out())
        self.assertEqual(self.curl(scheme="https"), "   TLSv1.3 localhost")

    def test_a_backend_whose_certificate_is_another_ones_gets_nothing(self):
        relay = self.relay(self.serve(), *tls_out(), "--tls_server_name=elsewhere.example", merge_errors=True)
        done = subprocess.run(["curl", "--silent", f"http://127.0.0.1:{self.port}/"], timeout=DEADLINE, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("TLS handshake", relay.read_line())

    def test_large_answers_and_many_requests_on_a_connection(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "large"), "wb") as large:
                large.write(pattern(16 << 20))
            os.chmod(folder, 0o755)
            for flags, scheme in (([], "http"), (tls_in(), "https")):
                self.relay(self.serve(f"root {folder};", encrypted=False), *flags)
                into = os.path.join(folder, "received")
                for _ in range(3):
                    self.curl("--output", into, scheme=scheme, path="/large")
                    with open(into, "rb") as received:
                        self.assertTrue(received.read() == pattern(16 << 20))

    def test_nginx_is_told_whose_connection_it_gets(self):
        address = self.serve(encrypted=False, listen_options="proxy_protocol")
        for version in ("v1", "v2"):
            self.relay(address, f"--proxy_protocol_out={version}")
            source, port, server_port, _ = self.curl("--write-out", "|%{local_port}").split(" ", 3)
            self.assertEqual((source, server_port), ("127.0.0.1", self.port))
            ours = self.curl("--write-out", "|%{local_port}")
            self.assertEqual(ours.split(" ")[1], ours.split("|")[1])
            self.assertNotEqual(port, self.port)

    def test_curl_tells_the_relay_whose_connection_it_is(self):
        address = self.serve(encrypted=False, listen_options="proxy_protocol")
        for flags, scheme in (([], "http"), (tls_in(), "https")):
            relay = self.relay(address, "--proxy_protocol_in", "--proxy_protocol_out=v2", *flags)
            answer = self.curl("--haproxy-protocol", "--write-out", "|%{local_port}", scheme=scheme)
            source, port, server_port = answer.split(" ")[:3]
            self.assertEqual((source, port, server_port), ("127.0.0.1", answer.split("|")[1], self.port))
            self.assertEqual(relay.totals()["errors"], 0)

    def test_with_tls_behind_the_header_comes_before_it(self):
        self.relay(self.serve(listen_options="proxy_protocol"), "--proxy_protocol_out=v2", *tls_out())
        self.assertRegex(self.curl(), r"^127\.0\.0\.1 \d+ \d+ TLSv1.3 localhost$")

    def test_haproxy_in_front_says_so_and_the_relay_passes_it_on(self):
        address = self.serve(encrypted=False, listen_options="proxy_protocol")
        for send in ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"):
            relay = self.relay(address, "--proxy_protocol_in", "--proxy_protocol_out=v1")
            proxy = self.enter(Haproxy(relay.address, send=send))
            self.port = proxy.port
            answer = self.curl("--write-out", "|%{local_port}")
            source, port, server_port = answer.split(" ")[:3]
            self.assertEqual((source, port, server_port), ("127.0.0.1", answer.split("|")[1], str(proxy.port)))

    def test_haproxy_behind_understands_it_and_passes_it_on(self):
        address = self.serve(encrypted=False, listen_options="proxy_protocol")
        for version in ("v1", "v2"):
            proxy = self.enter(Haproxy(address, accept="accept-proxy", send="send-proxy-v2"))
            self.relay(proxy.address, f"--proxy_protocol_out={version}")
            answer = self.curl("--write-out", "|%{local_port}")
            self.assertEqual(answer.split(" ")[:3], ["127.0.0.1", answer.split("|")[1], self.port])


class RedisTest(PeersTest):
    def setUp(self):
        require(shutil.which("redis-server"), "redis-server")
        self.redis = self.enter(RedisServer(self.enter(tempfile.TemporaryDirectory())))

    def test_redis_cli(self):
        relay = self.relay(self.redis.address)
        cli = ["redis-cli", "-h", "127.0.0.1", "-p", self.port]
        self.assertEqual(self.run_tool(*cli, "set", "k", "v"), "OK\n")
        self.assertEqual(self.run_tool(*cli, "get", "k"), "v\n")
        commands = b"".join(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$1\r\nv\r\n" % i for i in range(20000))
        self.assertIn("errors: 0, replies: 20000", self.run_tool(*cli, "--pipe", text=commands))
        self.assertEqual(relay.totals()["errors"], 0)

    def test_redis_benchmark(self):
        relay = self.relay(self.redis.address, "--threads=2")
        for pipeline in ("1", "16"):
            output = self.run_tool("redis-benchmark", "-h", "127.0.0.1", "-p", self.port, "-t", "set,get", "-n",
                                   "20000", "-P", pipeline, "-q")
            self.assertEqual(output.count("requests per second"), 2, output)
        self.assertGreater(relay.totals()["connections"], 100)

    def test_over_tls(self):
        self.relay(self.redis.address, *tls_in())
        self.assertEqual(self.run_tool("redis-cli", "--tls", "--cacert", file("root.pem"), "-h", "localhost", "-p",
                                       self.port, "--sni", "localhost", "ping"), "PONG\n")


class EchoTest(PeersTest):
    def bench(self, scheme, *flags):
        report = json.loads(self.run_tool(os.environ["SLUICE"], "bench", f"{scheme}://127.0.0.1:{self.port}/",
                                          "--json", "--duration=300ms", "--connections=20", *flags))
        self.assertTrue(report["ok"] and report["verified"], report)
        self.assertGreater(report["messages"], 0)

    def test_every_message_comes_back_whatever_is_encrypted(self):
        for protocol, scheme, encrypted in (("frame", "frame", "frames"), ("websocket", "ws", "wss")):
            for is_in in (False, True):
                for is_out in (False, True):
                    with self.subTest(protocol=protocol, tls_in=is_in, tls_out=is_out):
                        echo = self.enter(Sluice(f"--protocol={protocol}", *(tls_in() if is_out else [])))
                        relay = self.relay(echo.address, "--threads=2", *(tls_in() if is_in else []),
                                           *(tls_out() if is_out else []))
                        trust = [f"--tls_ca={file('root.pem')}"] if is_in else []
                        self.bench(encrypted if is_in else scheme, *trust)
                        self.bench(encrypted if is_in else scheme, "--size=64KiB", "--pipeline=4", *trust)
                        totals = relay.totals()
                        self.assertEqual((totals["connections"], totals["errors"]), (40, 0))
                        self.assertEqual(echo.totals()["errors"], 0)

    def test_connections_in_reserve(self):
        for is_out in (False, True):
            echo = self.enter(Sluice("--protocol=frame", *(tls_in() if is_out else [])))
            relay = self.relay(echo.address, "--pool_idle=4", "--threads=2", *(tls_out() if is_out else []))
            self.bench("frame")
            totals = relay.totals()
            self.assertEqual((totals["connections"], totals["errors"]), (20, 0))
            self.assertGreaterEqual(echo.totals()["connections"], 20)

    def test_much_over_tls_and_back(self):
        echo = self.enter(Sluice("--protocol=raw", *tls_in()))
        relay = self.relay(echo.address, *tls_out())
        data = pattern(8 << 20)
        self.assertTrue(exchange(self.enter(relay.connect()), data) == data)

    def test_a_half_close_goes_through_tls(self):
        echo = self.enter(Sluice("--protocol=raw", *tls_in()))
        relay = self.relay(echo.address, *tls_in(), *tls_out())
        with client_context().wrap_socket(relay.connect(), server_hostname="localhost") as client:
            client.sendall(b"hello")
            self.assertEqual(receive_exactly(client, 5), b"hello")
            client.unwrap().close()
        self.assertEqual(relay.totals()["errors"], 0)


if __name__ == "__main__":
    main()
