"""sluice's Redis client (resp_peer), and `sluice cat` and `bench`, against redis-server."""

import json
import os
import shutil
import subprocess
import tempfile

from harness import DEADLINE, Process, TestCase, main, require
from redis_server import RedisServer


class RedisTest(TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        require(shutil.which("redis-server"), "redis-server")
        folder = cls.enter_for_all(tempfile.TemporaryDirectory())
        cls.server = cls.enter_for_all(RedisServer(folder))


class RespClientTest(RedisTest):
    def talk(self, *commands):
        """What the client prints when it sends these commands at once."""
        peer = self.enter(Process([os.environ["RESP_PEER"], f"--connect={self.server.address}"]))
        peer.write("".join(command + "\n" for command in commands).encode())
        peer.end_input()
        lines = peer.read_rest()
        self.assertEqual(peer.wait(), 0, lines)
        return lines

    def test_resp2(self):
        self.assertEqual(
            self.talk("DEL k h", "SET k v", "GET k", "GET none", "INCR n:1", "HSET h f 1", "HGETALL h", "NOPE",
                      "BLPOP none 0.01", "ZADD z 1.5 a", "ZSCORE z a"),
            [r"reply :0\r\n", r"reply +OK\r\n", r"reply $1\r\nv\r\n", r"reply _\r\n", r"reply :1\r\n",
             r"reply :1\r\n", r"reply *2\r\n$1\r\nf\r\n$1\r\n1\r\n",
             r"reply -ERR unknown command 'NOPE', with args beginning with: \r\n".replace("'", r"\'"),
             r"reply _\r\n", r"reply :1\r\n", r"reply $3\r\n1.5\r\n"])

    def test_the_types_of_resp3(self):
        lines = self.talk("HELLO 3", "DEBUG PROTOCOL string", "DEBUG PROTOCOL integer", "DEBUG PROTOCOL double",
                          "DEBUG PROTOCOL null", "DEBUG PROTOCOL array", "DEBUG PROTOCOL set", "DEBUG PROTOCOL map",
                          "DEBUG PROTOCOL attrib", "DEBUG PROTOCOL push", "DEBUG PROTOCOL verbatim",
                          "DEBUG PROTOCOL true", "DEBUG PROTOCOL false", "DEBUG PROTOCOL bignum", "PING")
        self.assertTrue(lines[0].startswith(r"reply %7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"), lines[0])
        self.assertEqual(
            lines[1:],
            [r"reply $11\r\nHello World\r\n", r"reply :12345\r\n", r"reply ,3.141\r\n", r"reply _\r\n",
             r"reply *3\r\n:0\r\n:1\r\n:2\r\n", r"reply ~3\r\n:0\r\n:1\r\n:2\r\n",
             r"reply %3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n",
             r"reply |1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n"
             r"$39\r\nSome real reply following the attribute\r\n",
             r"push >2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n",
             r"reply $40\r\nSome real reply following the push reply\r\n",
             r"reply =29\r\ntxt:This is a verbatim\nstring\r\n", r"reply #t\r\n", r"reply #f\r\n",
             r"reply (1234567999999999999999999999999999999\r\n", r"reply +PONG\r\n"])

    def test_messages_of_a_subscription_come_beside_replies(self):
        lines = self.talk("HELLO 3", "SUBSCRIBE a b", "PUBLISH a hello", "GET none", "UNSUBSCRIBE a b")
        confirmation = r">3\r\n$9\r\nsubscribe\r\n$1\r\n%s\r\n:%d\r\n"
        self.assertEqual(lines[1:3], ["push " + confirmation % ("a", 1), "reply " + confirmation % ("b", 2)])
        self.assertIn(r"push >3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n", lines[3:])
        self.assertIn(r"reply :1\r\n", lines[3:])
        self.assertIn(r"reply _\r\n", lines[3:])
        self.assertEqual(lines[-1], r"reply >3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n")

    def test_thousands_of_commands_at_once(self):
        lines = self.talk(*(f"ECHO {i}" for i in range(20000)))
        self.assertEqual(lines, [rf"reply ${len(str(i))}\r\n{i}\r\n" for i in range(20000)])

    def test_a_large_value(self):
        value = "v" * 3_000_000
        lines = self.talk(f"SET large {value}", "GET large", "DEL large")
        self.assertEqual(lines[0], r"reply +OK\r\n")
        self.assertTrue(lines[1] == rf"reply $3000000\r\n{value}\r\n")

    def test_an_end_by_the_server_is_graceful(self):
        self.assertEqual(self.talk("PING", "QUIT"), [r"reply +PONG\r\n", r"reply +OK\r\n"])


class ToolTest(RedisTest):
    def setUp(self):
        self.url = "resp+unix://" + self.server.address[len("unix:"):]

    def test_lines_become_commands_and_replies_are_readable(self):
        lines = (b'SET "a key" \'v w\'\nGET "a\\x20key"\nDEL "a key"\nGET none\nRPUSH l a b\n'
                 b"HELLO 3\nHSET tool f 1\nHGETALL tool\nLRANGE l 0 -1\nNOPE\n")
        run = subprocess.run([os.environ["SLUICE"], "cat", self.url], input=lines, timeout=DEADLINE,
                             stdout=subprocess.PIPE, check=True)
        printed = run.stdout.decode().splitlines()
        self.assertEqual(printed[:5], ["OK", "v w", "(integer) 1", "(nil)", "(integer) 2"])
        self.assertTrue(printed[5].startswith('{"server": "redis", '), printed[5])
        self.assertEqual(printed[6:9], ["(integer) 1", '{"f": "1"}', '["a", "b"]'])
        self.assertTrue(printed[9].startswith("(error) ERR unknown command 'NOPE'"), printed[9])

    def test_quotes_that_are_not_closed_are_an_error(self):
        run = subprocess.run([os.environ["SLUICE"], "cat", self.url], input=b'SET "x\n', timeout=DEADLINE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assertIn("unbalanced quotes", run.stderr.decode())

    def test_bench_gets_back_what_it_echoes(self):
        run = subprocess.run([os.environ["SLUICE"], "bench", self.url, "--connections=5", "--pipeline=16",
                              "--size=1000", "--duration=100ms", "--json"],
                             timeout=DEADLINE, stdout=subprocess.PIPE, check=True)
        result = json.loads(run.stdout)
        self.assertGreater(result["messages"], 0)


if __name__ == "__main__":
    main()
