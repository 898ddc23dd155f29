"""Node's tls against sluice's TLS, in both directions."""

import base64
import json
import os
import shutil

from harness import Process, TestCase, main, pattern, require
from tls_harness import TlsClient, TlsServer, chain_and_key, file, identity, roots

MIB = 1 << 20
VERSIONS = ("TLSv1.2", "TLSv1.3")


class Node(Process):
    def __init__(self):
        require(shutil.which("node"), "node")
        super().__init__(["node", os.environ["TLS_NODE_PEER"]])

    def command(self, name, **arguments):
        self.write(json.dumps({"command": name, **arguments}).encode() + b"\n")

    def expect(self, *events):
        """The next event, which must be one of these."""
        got = json.loads(self.read_line())
        if got["event"] not in events:
            raise AssertionError(f"not {' or '.join(events)} but {str(got)[:300]}")
        return got

    def send(self, data):
        self.command("send", data=base64.b64encode(data).decode())

    def receive(self, count):
        data = b""
        while len(data) < count:
            data += base64.b64decode(self.expect("data")["data"])
        return data


def identity_of(name):
    chain, key = chain_and_key(name)
    return {"chain": chain, "key": key}


class NodeTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enter_for_all(Node())

    def assert_echoed(self, data):
        self.node.send(data)
        self.assertTrue(self.node.receive(len(data)) == data, f"{len(data)} bytes came back otherwise")

    def expect_closed(self):
        """Node's connection is over; whether it tells the peer's end first depends on who was faster."""
        while self.node.expect("end", "close")["event"] != "close":
            pass

    def finish(self, sluice):
        """An echo, and an orderly end by Node."""
        self.assert_echoed(b"the last")
        self.node.command("end")
        sluice.expect("end")
        sluice.expect_close()
        self.expect_closed()


class ClientTest(NodeTest):
    def serve(self, *flags, **options):
        self.server = self.enter(TlsServer(*flags, **options))

    def tearDown(self):
        if "--client_certificates=require" not in self.server._command:
            self.server.assert_serves()

    def connect(self, version="TLSv1.3", **options):
        """What Node and what the server say."""
        what = {"servername": "localhost", **options}
        self.node.command("connect", port=self.server.port, ca=file("root.pem"), minVersion=version, maxVersion=version,
                          **what)
        return self.node.expect("secure"), self.server.expect("open")

    def test_bytes_come_back(self):
        self.serve()
        for version in VERSIONS:
            seen, told = self.connect(version)
            self.assertEqual((seen["version"], told["version"], seen["cipher"]),
                             (version, version.replace("v", " "), told["cipher"]))
            self.assert_echoed(b"small")
            self.assert_echoed(pattern(MIB))
            for i in range(200):
                self.assert_echoed(pattern(1 + i * 37 % 20000, seed=i))
            self.finish(self.server)

    def test_alpn(self):
        self.serve("--alpn=second,first")
        seen, told = self.connect(ALPNProtocols=["first", "second"])
        self.assertEqual((seen["alpn"], told["alpn"]), ("second", "second"))
        self.finish(self.server)
        seen, told = self.connect()
        self.assertEqual((seen["alpn"], told["alpn"]), ("", ""))
        self.finish(self.server)

    def test_the_name_decides_on_the_certificate(self):
        self.serve(identities=["p256", "wildcard"])
        for host, subject in (("localhost", "p256"), ("one.example.org", "wildcard")):
            seen, told = self.connect(servername=host)
            self.assertEqual((seen["subject"], told["server_name"]), (subject, host))
            self.finish(self.server)

    def test_sessions_go_on(self):
        self.serve(threads=2)
        for version in VERSIONS:
            for i in range(8):
                seen, told = self.connect(version, resume=i > 0)
                self.assertEqual((seen["resumed"], told["resumed"]), (i > 0, str(int(i > 0))))
                self.finish(self.server)

    def test_client_certificates(self):
        self.serve("--client_certificates=require", roots())
        for version in VERSIONS:
            _, told = self.connect(version, **identity_of("client"))
            self.assertEqual(told["subjects"].split(";")[0], "CN=client")
            self.finish(self.server)

    def test_a_client_that_does_not_trust_the_server_is_reported(self):
        self.serve()
        for version in VERSIONS:
            # Node looks at the name when its part of the handshake is over, and leaves without a word.
            self.node.command("connect", port=self.server.port, servername="example.org", ca=file("root.pem"),
                              minVersion=version, maxVersion=version)
            self.assertEqual(self.node.expect("error")["code"], "ERR_TLS_CERT_ALTNAME_INVALID")
            self.node.expect("close")
            event = self.server.read_line().split("\t")[0]
            self.assertIn(event, ("open", "failed"))
            if event == "open" and self.server.read_line() == "end":
                self.server.expect("close")

    def test_renegotiation_is_refused(self):
        self.serve()
        self.connect("TLSv1.2")
        self.assert_echoed(b"hello")
        self.node.command("renegotiate")
        self.server.expect_close("the peer asked for a renegotiation, which is refused")
        while self.node.expect("renegotiated", "error", "end", "close")["event"] != "close":
            pass

    def test_the_server_closes(self):
        self.serve()
        for version in VERSIONS:
            self.connect(version)
            self.assert_echoed(b"now !close")
            self.expect_closed()
            self.server.expect_close()

    def test_a_client_that_vanishes(self):
        self.serve()
        self.connect()
        self.assert_echoed(b"hello")
        self.node.command("destroy")
        self.node.expect("close")
        if self.server.read_line() == "end":
            self.server.expect("close")


class ServerTest(NodeTest):
    def serve(self, version="TLSv1.3", name="p256", **options):
        self.node.command("serve", minVersion=version, maxVersion=version, **identity_of(name), **options)
        self.port = self.node.expect("listening")["port"]

    def start(self, *flags, host="localhost", **options):
        self.client = self.enter(TlsClient(self.port, f"--host={host}", *flags, **options))

    def connect(self, *flags, **options):
        self.start(*flags, **options)
        return self.node.expect("secure"), self.client.expect("open")

    def test_bytes_come_back(self):
        for version in VERSIONS:
            self.serve(version)
            seen, told = self.connect()
            self.assertEqual((seen["version"], told["version"], seen["cipher"]),
                             (version, version.replace("v", " "), told["cipher"]))
            self.assert_echoed(b"small")
            self.assert_echoed(pattern(MIB))
            for i in range(200):
                self.assert_echoed(pattern(1 + i * 37 % 20000, seed=i))
            self.finish(self.client)

    def test_alpn(self):
        self.serve(ALPNProtocols=["second", "first"])
        seen, told = self.connect("--alpn=first,second")
        self.assertEqual((seen["alpn"], told["alpn"]), ("second", "second"))
        self.finish(self.client)
        self.start("--alpn=other")
        self.client.expect_failed("FAILED_PRECONDITION", 'the peer refused: alert "no application protocol"')
        self.node.expect("error")

    def test_the_name_decides_on_the_certificate(self):
        self.serve(others=[{"name": "one.example.org", **identity_of("wildcard")}])
        seen, told = self.connect(host="one.example.org")
        self.assertEqual((seen["server_name"], told["subjects"]), ("one.example.org", "CN=wildcard"))
        self.finish(self.client)

    def test_sessions_go_on(self):
        # In TLS 1.3 Node gives two tickets in a full handshake and none in a resumed one; sluice uses each once.
        for version, expected in (("TLSv1.2", "011111"), ("TLSv1.3", "011011")):
            self.serve(version)
            self.start(f"--times={len(expected)}")
            for resumed in expected:
                self.assertEqual((self.node.expect("secure")["resumed"], self.client.expect("open")["resumed"]),
                                 (resumed == "1", resumed))
                self.finish(self.client)

    def test_client_certificates(self):
        for version in VERSIONS:
            self.serve(version, ca=file("root.pem"), requestCert=True, rejectUnauthorized=True)
            seen, _ = self.connect(identity("client"))
            self.assertEqual(seen["subject"], "client")
            self.finish(self.client)

    def test_certificates_that_are_refused(self):
        for name, why in (("expired", "it has expired"), ("self_signed", "it is self-signed"),
                          ("unknown", "its issuer is unknown"), ("client_only", "it was made for another purpose"),
                          ("wildcard", 'the certificate is not for "localhost" but for *.example.org')):
            for version in VERSIONS:
                with self.subTest(name=name, version=version):
                    self.serve(version, name=name)
                    self.start()
                    self.client.expect_failed("UNAUTHENTICATED", why)
                    self.assertIn("ALERT", self.node.expect("error")["code"])

    def test_the_client_closes(self):
        for version in VERSIONS:
            self.serve(version)
            self.connect()
            self.assert_echoed(b"now !close")
            self.expect_closed()
            self.client.expect_close()


if __name__ == "__main__":
    main()
