"""curl's https against sluice's TLS server, over which a WebSocket answers: to a request that is no handshake by 426."""

import os

from harness import Server, TestCase, main
from tls_harness import Teller, chain_and_key, file, identity, roots, run


class WebSocketServer(Teller, Server):
    def __init__(self, *flags):
        super().__init__([os.environ["WEBSOCKET_PEER"], "serve", "127.0.0.1:0", *flags])


class CurlTest(TestCase):
    def serve(self, *flags):
        self.server = self.enter(WebSocketServer(*flags))

    def curl(self, *flags, host="localhost", trust="root"):
        """curl's exit status, and what it said: with -v a lot, of the handshake above all."""
        return run(["curl", "-sv", "--noproxy", "*", "--max-time", "30", "--connect-to", f"::{self.server.address}",
                    "--cacert", file(trust + ".pem"), *flags, f"https://{host}/"])

    def assert_answered(self, *flags, says=(), **options):
        status, output = self.curl(*flags, **options)
        self.assertEqual(status, 0, output)
        for text in ("426", *says):
            self.assertIn(text, output)
        self.server.expect("close")

    def assert_refused(self, status, *flags, says, told, **options):
        got, output = self.curl(*flags, **options)
        self.assertEqual(got, status, output)
        self.assertIn(says, output)
        self.server.expect_failed(*told)

    def test_both_versions(self):
        self.serve(identity("p256"))
        self.assert_answered("--tls-max", "1.2", says=["SSL connection using TLSv1.2 / ECDHE-ECDSA-",
                                                       "SSL certificate verify ok"])
        self.assert_answered("--tlsv1.3", says=["SSL connection using TLSv1.3 / TLS_", "SSL certificate verify ok"])

    def test_alpn(self):
        self.serve(identity("p256"), "--alpn=http/1.1")
        self.assert_answered(says=["ALPN: server accepted http/1.1"])
        self.assert_answered("--no-alpn")

    def test_nothing_in_common(self):
        self.serve(identity("p256"), "--alpn=other")
        self.assert_refused(35, says="no application protocol", told=["no application protocol (ALPN) in common"])
        self.serve(identity("p256"), "--min=1.3")
        self.assert_refused(35, "--tls-max", "1.2", says="protocol version", told=["no TLS version in common"])
        self.serve(identity("p256"))
        self.assert_refused(35, "--tls-max", "1.2", "--ciphers", "AES128-SHA", says="handshake failure",
                            told=["no cipher suite in common"])

    def test_the_name_decides_on_the_certificate(self):
        self.serve(identity("p256"), identity("wildcard"))
        self.assert_answered(host="one.example.org",
                             says=['host "one.example.org" matched cert\'s "*.example.org"'])
        self.assert_answered(host="localhost", says=['host "localhost" matched cert\'s "localhost"'])

    def test_a_client_that_does_not_trust_the_server_is_reported(self):
        self.serve(identity("p256"))
        for version in (["--tls-max", "1.2"], ["--tlsv1.3"]):
            self.assert_refused(60, *version, trust="other_root", says="unable to get local issuer certificate",
                                told=["UNAUTHENTICATED", 'the peer refused: alert "unknown CA"'])
        # curl looks for the name when the handshake is over.
        status, output = self.curl(host="example.org")
        self.assertEqual(status, 60, output)
        self.server.expect("close")

    def test_client_certificates(self):
        self.serve(identity("p256"), "--client_certificates=require", roots())
        chain, key = chain_and_key("client")
        for version in (["--tls-max", "1.2"], ["--tlsv1.3"]):
            self.assert_answered(*version, "--cert", chain, "--key", key)
            status, output = self.curl(*version)
            self.assertNotEqual(status, 0, output)
            self.server.expect_failed("UNAUTHENTICATED", "the client has shown no certificate")


if __name__ == "__main__":
    main()
