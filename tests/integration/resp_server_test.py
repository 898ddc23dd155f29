"""key_value_server, and `sluice echo`, against Redis' own clients, redis-cli and redis-benchmark."""

import os
import re
import shutil
import subprocess

from harness import DEADLINE, Server, Sluice, TestCase, exchange, main, receive_exactly, receive_to_end, require


class KeyValueServer(Server):
    def __init__(self, *flags):
        super().__init__([os.environ["KEY_VALUE_SERVER"], "--listen=127.0.0.1:0", *flags])


class RespServerTest(TestCase):
    def setUp(self):
        require(shutil.which("redis-cli"), "redis-cli (Debian's redis-tools)")
        self.server = self.enter(self.new_server())

    def new_server(self):
        return KeyValueServer()

    def run_tool(self, name, *arguments, text=None):
        host, port = self.server.address.rsplit(":", 1)
        run = subprocess.run([name, "-h", host, "-p", port, *arguments], input=text,
                             timeout=DEADLINE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(run.returncode, 0, run.stdout)
        return run.stdout.decode()

    def cli(self, *arguments, text=None):
        return self.run_tool("redis-cli", *arguments, text=text)


class CliTest(RespServerTest):
    def test_strings_are_set_read_and_deleted(self):
        for version in ["-2", "-3"]:
            self.assertEqual(self.cli(version, "ping"), "PONG\n")
            self.assertEqual(self.cli(version, "ping", "hi"), "hi\n")
            self.assertEqual(self.cli(version, "echo", "a b\n"), "a b\n\n")
            self.assertEqual(self.cli(version, "--no-raw", "get", "k"), "(nil)\n")
            self.assertEqual(self.cli(version, "set", "k", "v w"), "OK\n")
            self.assertEqual(self.cli(version, "--no-raw", "get", "k"), '"v w"\n')
            self.assertEqual(self.cli(version, "--no-raw", "del", "k", "none"), "(integer) 1\n")

    def test_a_map_is_one_in_resp3_and_an_array_in_resp2(self):
        self.assertEqual(self.cli("--no-raw", "-3", "config", "get", "appendonly"), '1# "appendonly" => "no"\n')
        self.assertEqual(self.cli("--no-raw", "-2", "config", "get", "appendonly"), '1) "appendonly"\n2) "no"\n')
        self.assertIn('"proto" => (integer) 3', self.cli("--no-raw", "-3", "hello", "3"))

    def test_many_commands_in_one_session(self):
        commands = "".join(f"set key{i} value{i}\nget key{i}\n" for i in range(500))
        self.assertEqual(self.cli(text=commands.encode()),
                         "".join(f"OK\nvalue{i}\n" for i in range(500)))

    def test_a_mass_insertion_is_counted_by_redis_cli(self):
        commands = b"".join(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$1\r\nv\r\n" % i for i in range(20000))
        self.assertIn("errors: 0, replies: 20000", self.cli("--pipe", text=commands))
        self.assertEqual(self.cli("get", "019999"), "v\n")

    def test_errors_are_redis_errors(self):
        self.assertIn("ERR wrong number of arguments for 'get' command", self.cli("get"))
        self.assertIn("ERR unknown command 'nope'", self.cli("nope"))
        self.assertIn("NOPROTO unsupported protocol version", self.cli("hello", "4"))


class BenchmarkTest(RespServerTest):
    def test_redis_benchmark_runs(self):
        for more in [[], ["-P", "16"], ["-P", "16", "-3"]]:
            output = self.run_tool("redis-benchmark", "-t", "ping,set,get", "-n", "20000", "-c", "20", "-d", "100",
                                   "-r", "1000", "-q", *more).replace("\r", "\n")
            finished = re.findall(r"^(\w+): [\d.]+ requests per second", output, re.M)
            self.assertEqual(finished, ["PING_INLINE", "PING_MBULK", "SET", "GET"], output)
            self.assertNotIn("WARNING", output)
            self.assertNotIn("Error", output)


class SocketTest(RespServerTest):
    def connect(self):
        return self.enter(self.server.connect())

    def test_inline_commands_as_typed_into_telnet(self):
        client = self.connect()
        client.sendall(b'set "a key" \'it\\\'s\'\r\nGET "a\\x20key"\r\n\r\nquit\r\n')
        self.assertEqual(receive_to_end(client), b"+OK\r\n$4\r\nit's\r\n+OK\r\n")

    def test_a_protocol_error_is_told_before_the_end(self):
        client = self.connect()
        client.sendall(b"*1\r\n$4\r\nPING\r\n*1\r\n$-5\r\n")
        self.assertEqual(receive_to_end(client), b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n")

    def test_a_browser_is_not_listened_to(self):
        client = self.connect()
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n")
        self.assertEqual(receive_to_end(client), b"")

    def test_a_client_that_reads_nothing_is_held_back_and_loses_nothing(self):
        client = self.connect()
        value = bytes(100000)
        client.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + value + b"\r\n")
        self.assertEqual(receive_exactly(client, 5), b"+OK\r\n")
        count = 1000  # 100 MB of replies
        reply = b"$100000\r\n" + value + b"\r\n"
        self.assertTrue(exchange(client, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * count, count * len(reply))
                        == reply * count)
        self.assertLess(self.server.memory_bytes("VmHWM"), 60 << 20)

    def test_a_sigterm_ends_it_with_0(self):
        self.connect()
        self.assertEqual(self.server.stop(), (0, []))


class BusyPollTest(BenchmarkTest):
    def new_server(self):
        return KeyValueServer("--busy_poll")

    def test_a_sigterm_ends_it_with_0(self):
        self.assertEqual(self.server.stop(), (0, []))


class MemoryTest(RespServerTest):
    def new_server(self):
        return KeyValueServer("--max_memory=100000")

    def test_more_than_its_memory_is_refused_until_some_is_freed(self):
        value = "v" * 60000
        self.assertEqual(self.cli("set", "a", value), "OK\n")
        self.assertIn("OOM command not allowed", self.cli("set", "b", value))
        self.assertEqual(self.cli("set", "a", value + "v"), "OK\n")
        self.assertEqual(self.cli("del", "a"), "1\n")
        self.assertEqual(self.cli("set", "b", value), "OK\n")


class EchoTest(RespServerTest):
    """`sluice echo --protocol=resp`."""

    def new_server(self):
        return Sluice("--protocol=resp")

    def test_ping_and_echo_are_answered_and_other_commands_sent_back(self):
        for version in ["-2", "-3"]:
            self.assertEqual(self.cli(version, "ping"), "PONG\n")
            self.assertEqual(self.cli(version, "echo", "a b"), "a b\n")
            self.assertEqual(self.cli(version, "--no-raw", "mget", "a", "b"), '1) "mget"\n2) "a"\n3) "b"\n')
        self.assertEqual(self.server.totals()["errors"], 0)

    def test_redis_benchmark_runs(self):
        output = self.run_tool("redis-benchmark", "-t", "ping", "-n", "20000", "-P", "16", "-q")
        self.assertIn("requests per second", output)

    def test_a_protocol_error_is_told_before_the_end(self):
        client = self.enter(self.server.connect())
        client.sendall(b"PING\r\nECHO \"x\r\n")
        self.assertEqual(receive_to_end(client), b"+PONG\r\n-ERR Protocol error: unbalanced quotes in request\r\n")


if __name__ == "__main__":
    main()
