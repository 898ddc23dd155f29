"""sluice's WebSocket client through proxies that others wrote: tinyproxy (HTTP CONNECT) and microsocks (SOCKS5), one
or both of them in a row, plain and wss.
"""

import os
import shutil
import socket
import subprocess
import tempfile

from harness import DEADLINE, Process, Server, TestCase, main, require
from tls_harness import identity, roots

# Nobody listens there: https://www.iana.org/assignments/service-names-port-numbers, tcpmux.
CLOSED_PORT = 1


class Proxy(Process):
    """A proxy on a free port. It says nothing when it accepts, so it is asked until it does."""

    def __init__(self, command):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        super().__init__(command(self.port))
        while self.is_alive():
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE).close()
                return
            except ConnectionRefusedError:
                pass
        raise AssertionError(f"{command(self.port)} has ended with status {self.wait()}")


class Microsocks(Proxy):
    def __init__(self, *flags):
        require(shutil.which("microsocks"), "microsocks")
        super().__init__(lambda port: ["microsocks", "-i", "127.0.0.1", "-p", str(port), *flags])

    def word(self, credentials=""):
        return f"socks5={credentials}127.0.0.1:{self.port}"


class Tinyproxy(Proxy):
    def __init__(self, *lines):
        require(shutil.which("tinyproxy"), "tinyproxy")
        self._folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))

        def command(port):
            path = os.path.join(self._folder.name, "conf")
            with open(path, "w", encoding="utf-8") as configuration:
                configuration.write("\n".join([f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "LogLevel Critical",
                                               f'LogFile "{self._folder.name}/log"', "MaxClients 20", *lines, ""]))
            return ["tinyproxy", "-d", "-c", path]

        super().__init__(command)

    def __exit__(self, *arguments):
        super().__exit__(*arguments)
        self._folder.cleanup()

    def word(self, credentials=""):
        return f"http={credentials}127.0.0.1:{self.port}"


def run(url, *words, text="hello"):
    """The lines that the client prints, split at tabs."""
    done = subprocess.run([os.environ["PROXIED_CLIENT"], url, text, *words], stdout=subprocess.PIPE, timeout=DEADLINE,
                          check=False)
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


class ProxyTest(TestCase):
    @classmethod
    def setUpClass(cls):
        peer = os.environ["WEBSOCKET_PEER"]
        # On all addresses: what "localhost" is, each proxy decides.
        plain = cls.enter_for_all(Server([peer, "serve", "*:0"]))
        secure = cls.enter_for_all(Server([peer, "serve", "*:0", identity("p256")]))
        cls.urls = [(f"ws://localhost:{plain.address.rsplit(':', 1)[1]}/chat", ()),
                    (f"wss://localhost:{secure.address.rsplit(':', 1)[1]}/chat", (roots(),))]

    def assert_echoes(self, *proxies):
        for text in ["hello", "x" * 100_000]:
            for url, flags in self.urls:
                with self.subTest(url=url, size=len(text)):
                    self.assertEqual(run(url, *proxies, *flags, text=text), [["received", text], ["closed", "1000"]])

    def assert_fails(self, code, *parts, proxies, url=None):
        lines = run(url or self.urls[0][0], *proxies)
        self.assertEqual([line[:2] for line in lines], [["failed", code]], lines)
        for part in parts:
            self.assertIn(part, lines[0][2])


class SocksTest(ProxyTest):
    def test_without_authentication(self):
        self.assert_echoes(self.enter(Microsocks()).word())

    def test_with_user_and_password(self):
        proxy = self.enter(Microsocks("-u", "me", "-P", "se:cret"))
        self.assert_echoes(proxy.word("me:se:cret@"))
        self.assert_fails("PERMISSION_DENIED", "does not accept this user name", proxies=[proxy.word("me:wrong@")])
        self.assert_fails("PERMISSION_DENIED", "wants authentication", proxies=[proxy.word()])

    def test_addresses(self):
        proxy = self.enter(Microsocks()).word()
        port = self.urls[0][0].split(":")[2]
        for host in ["127.0.0.1", "[::1]"]:
            self.assertEqual(run(f"ws://{host}:{port}", proxy), [["received", "hello"], ["closed", "1000"]])

    def test_a_server_that_is_not_there(self):
        self.assert_fails("UNAVAILABLE", f"SOCKS5 to 127.0.0.1:{CLOSED_PORT}: refused with 5: connection refused",
                          proxies=[self.enter(Microsocks()).word()], url=f"ws://127.0.0.1:{CLOSED_PORT}/")

    def test_a_proxy_of_the_other_kind(self):
        proxy = self.enter(Microsocks())
        lines = run(self.urls[0][0], f"http=127.0.0.1:{proxy.port}")
        self.assertEqual(lines[0][0], "failed")
        self.assertIn(lines[0][1], ["FAILED_PRECONDITION", "UNAVAILABLE"])


class HttpTest(ProxyTest):
    def test_without_authentication(self):
        self.assert_echoes(self.enter(Tinyproxy()).word())

    def test_with_user_and_password(self):
        proxy = self.enter(Tinyproxy("BasicAuth me secret"))
        self.assert_echoes(proxy.word("me:secret@"))
        self.assert_fails("PERMISSION_DENIED", "does not accept this user name",
                          proxies=[proxy.word("me:wrong@")])
        self.assert_fails("PERMISSION_DENIED", "407", "wants a user name", proxies=[proxy.word()])

    def test_a_server_that_is_not_there(self):
        self.assert_fails("UNAVAILABLE", f"CONNECT 127.0.0.1:{CLOSED_PORT}: refused with 500",
                          proxies=[self.enter(Tinyproxy()).word()], url=f"ws://127.0.0.1:{CLOSED_PORT}/")

    def test_a_port_that_the_proxy_forbids(self):
        self.assert_fails("PERMISSION_DENIED", "403", proxies=[self.enter(Tinyproxy("ConnectPort 443")).word()])


class ToolTest(ProxyTest):
    def sluice(self, *words, data=b""):
        return subprocess.run([os.environ["SLUICE"], *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=DEADLINE, check=False)

    def test_cat_and_bench_go_through_both_kinds(self):
        ca = roots().replace("--roots", "--tls_ca")
        for proxy, scheme in ((Microsocks("-u", "me", "-P", "se:c@ret"), "socks5"), (Tinyproxy("BasicAuth me secret"), "http")):
            self.enter(proxy)
            password = "se%3Ac%40ret" if scheme == "socks5" else "secret"
            flag = f"--proxy={scheme}://me:{password}@localhost:{proxy.port}"
            for url, flags in self.urls:
                with self.subTest(url=url, proxy=scheme):
                    tls = [ca] if flags else []
                    done = self.sluice("cat", url, flag, *tls, data=b"hello\n")
                    self.assertEqual((done.returncode, done.stdout), (0, b"hello\n"), done)
                    done = self.sluice("bench", url, flag, "--connections=5", "--duration=200ms", *tls)
                    self.assertEqual(done.returncode, 0, done)
            done = self.sluice("cat", self.urls[0][0], f"--proxy={scheme}://me:wrong@127.0.0.1:{proxy.port}")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"proxy 127.0.0.1:{proxy.port}", done.stderr.decode())
            self.assertNotIn("wrong", done.stderr.decode())


class ChainTest(ProxyTest):
    def test_one_proxy_through_the_other(self):
        socks = self.enter(Microsocks("-u", "me", "-P", "secret")).word("me:secret@")
        http = self.enter(Tinyproxy()).word()
        self.assert_echoes(socks, http)
        self.assert_echoes(http, socks)


if __name__ == "__main__":
    main()
