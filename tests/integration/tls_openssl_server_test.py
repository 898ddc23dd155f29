"""sluice's TLS client against openssl s_server.

The client sends back what the server sends, which is what the test types into s_server. What s_server prints of it is
between other things that it prints; it takes a chunk of its input that begins with a letter for a command, so what is
sent is digits.
"""

import re

from harness import TestCase, main
from tls_harness import TlsClient, Tool, chain_and_key, file, identity, openssl_identity

MIB = 1 << 20


def digits(count, seed=1):
    """Of count bytes, without a piece that comes twice within reach, in lines."""
    number = seed * 1_000_003
    lines = b"".join(b"%015d\n" % (number + i * 7919) for i in range(count // 16 + 1))
    return lines[:count - 1] + b"\n"


class Server(Tool):
    def __init__(self, *flags, name="p256"):
        super().__init__(["openssl", "s_server", "-accept", "127.0.0.1:0", *openssl_identity(name), *flags], merge=True)
        self.wait_for(b"ACCEPT 127.0.0.1:")
        self.wait_for(b"\n", start=self.wait_for(b"ACCEPT "))
        self.port = int(re.search(rb"ACCEPT 127\.0\.0\.1:(\d+)\n", self.output()).group(1))


class ServerTest(TestCase):
    def serve(self, *flags, **options):
        self.server = self.enter(Server(*flags, **options))

    def start(self, *flags, host="localhost", **options):
        self.client = self.enter(TlsClient(self.server.port, f"--host={host}", *flags, **options))

    def connect(self, *flags, **options):
        self.start(*flags, **options)
        return self.client.expect("open")

    def assert_echoed(self, data):
        start = len(self.server.output())
        self.server.write(b"<" + data + b">\n")
        begin = self.server.wait_for(b"<", start=start)
        end = self.server.wait_for(b">\n", start=begin)
        self.assertTrue(self.server.output()[begin + 1:end] == data, f"{len(data)} bytes came back otherwise")

    def finish(self):
        """An echo, and an orderly end by the client."""
        self.assert_echoed(b"0 !close")
        self.client.expect_close()
        self.server.wait_for(b"DONE")
        self.assertNotIn(b"unexpected eof", self.server.output())
        self.assertEqual(self.client.wait(), 0)

    def assert_refused(self, *flags, told, alert=None, **options):
        """The client refuses the server, which gets an alert of this name."""
        self.start(*flags, **options)
        self.client.expect_failed(*told)
        if alert:
            self.server.wait_for(b"alert " + alert.encode())


class EchoTest(ServerTest):
    def test_both_versions_with_every_kind_of_key(self):
        for name in ("p256", "p384", "rsa", "ed25519", "chained"):
            for version in ("1_2", "1_3"):
                with self.subTest(key=name, version=version):
                    self.serve("-tls" + version, name=name)
                    told = self.connect()
                    self.assertEqual((told["version"], told["group"]), ("TLS " + version.replace("_", "."), "X25519"))
                    self.assertEqual(told["subjects"], "CN=chained;CN=intermediate" if name == "chained" else "CN=" + name)
                    self.finish()

    def test_each_suite_can_be_agreed_on(self):
        for suite, name in (("ECDHE-ECDSA-AES128-GCM-SHA256", "p256"), ("ECDHE-ECDSA-AES256-GCM-SHA384", "p256"),
                            ("ECDHE-ECDSA-CHACHA20-POLY1305", "p256"), ("ECDHE-RSA-AES128-GCM-SHA256", "rsa"),
                            ("ECDHE-RSA-AES256-GCM-SHA384", "rsa"), ("ECDHE-RSA-CHACHA20-POLY1305", "rsa")):
            with self.subTest(suite=suite):
                self.serve("-tls1_2", "-cipher", suite, name=name)
                self.assertIn("TLS_ECDHE_" + suite.split("-")[1], self.connect()["cipher"])
                self.finish()
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
            with self.subTest(suite=suite):
                self.serve("-tls1_3", "-ciphersuites", suite)
                self.assertEqual(self.connect()["cipher"], suite)
                self.finish()

    def test_each_group_can_be_agreed_on(self):
        for group in ("X25519", "P-256", "P-384"):
            for version in ("-tls1_2", "-tls1_3"):  # in 1.3 by a HelloRetryRequest
                with self.subTest(group=group, version=version):
                    self.serve(version, "-groups", group, name="rsa")
                    self.assertEqual(self.connect()["group"], group)
                    self.finish()

    def test_a_mebibyte_and_more_comes_back(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.serve(version)
            self.connect()
            self.assert_echoed(digits(MIB))
            self.assert_echoed(digits(4 * MIB + 1, seed=2))
            self.finish()

    def test_many_messages_come_back_one_after_the_other(self):
        self.serve()
        self.connect()
        for i in range(500):
            self.assert_echoed(digits(1 + i * 7 % 300, seed=i))
        self.finish()


class VersionTest(ServerTest):
    def test_versions_below_1_2_are_refused(self):
        for version in ("-tls1", "-tls1_1"):
            with self.subTest(version=version):
                self.serve(version, "-cipher", "ALL:@SECLEVEL=0")
                self.assert_refused(told=["FAILED_PRECONDITION"])

    def test_a_client_of_one_version(self):
        for flag, good, bad in (("--max=1.2", "1.2", "-tls1_3"), ("--min=1.3", "1.3", "-tls1_2")):
            with self.subTest(client=flag):
                self.serve()
                self.assertEqual(self.connect(flag)["version"], "TLS " + good)
                self.finish()
                self.serve(bad)
                self.assert_refused(flag, told=["FAILED_PRECONDITION", 'the peer refused: alert "protocol version"'])

    def test_no_suite_without_forward_secrecy_and_aead(self):
        for suites, name in (("AES128-GCM-SHA256:AES256-SHA256:AES128-SHA", "rsa"),
                             ("DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA256", "rsa"),
                             ("ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA", "rsa"),
                             ("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-CCM8", "p256")):
            with self.subTest(suites=suites):
                self.serve("-tls1_2", "-cipher", suites + ":@SECLEVEL=0", name=name)
                self.assert_refused(told=["FAILED_PRECONDITION", 'the peer refused: alert "handshake failure"'])


class AlpnTest(ServerTest):
    def test_a_protocol_is_agreed_on(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.serve(version, "-alpn", "second,first")
            self.assertEqual(self.connect("--alpn=first,second,third")["alpn"], "second")
            self.finish()

    def test_none_is_offered_or_wanted(self):
        self.serve("-alpn", "first")
        self.assertEqual(self.connect()["alpn"], "")
        self.finish()
        self.serve()
        self.assertEqual(self.connect("--alpn=first")["alpn"], "")
        self.finish()

    def test_nothing_in_common_is_refused_by_the_server(self):
        self.serve("-alpn", "other")
        self.assert_refused("--alpn=first", told=["FAILED_PRECONDITION", 'alert "no application protocol"'])


class CertificateTest(ServerTest):
    def assert_each_version_refused(self, *told, name="p256", alert, **options):
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(name=name, version=version):
                self.serve(version, name=name)
                self.assert_refused(told=["UNAUTHENTICATED", *told], alert=alert, **options)

    def test_expired(self):
        self.assert_each_version_refused('certificate "CN=expired"', "valid 2000-01-01 to 2001-01-01",
                                         "it has expired", name="expired", alert="certificate expired")

    def test_not_yet_valid(self):
        self.assert_each_version_refused('certificate "CN=future"', "it is not valid yet", name="future",
                                         alert="certificate expired")

    def test_self_signed(self):
        self.assert_each_version_refused('certificate "CN=self_signed"', "it is self-signed", name="self_signed",
                                         alert="unknown ca")

    def test_unknown_issuer(self):
        self.assert_each_version_refused('certificate "CN=unknown" of issuer "CN=other root"', "its issuer is unknown",
                                         name="unknown", alert="unknown ca")
        self.assert_each_version_refused("its issuer is unknown", trust="other_root", alert="unknown ca")

    def test_an_intermediate_that_is_missing(self):
        for version in ("-tls1_2", "-tls1_3"):
            # The leaf without those that follow it in its file.
            chain, key = chain_and_key("chained")
            self.serve(version, "-cert", chain, "-key", key)
            self.assert_refused(told=["UNAUTHENTICATED", 'certificate "CN=chained" of issuer "CN=intermediate"',
                                      "its issuer is unknown"], alert="unknown ca")

    def test_wrong_purpose(self):
        for name in ("client_only", "code_signing"):
            self.assert_each_version_refused(f'certificate "CN={name}"', "it was made for another purpose", name=name,
                                             alert="unsupported certificate")

    def test_wrong_host(self):
        self.assert_each_version_refused('the certificate is not for "example.org" but for localhost, 127.0.0.1',
                                         host="example.org", alert="bad certificate")
        self.assert_each_version_refused('the certificate is not for "127.0.0.2"', host="127.0.0.2",
                                         alert="bad certificate")
        self.assert_each_version_refused('the certificate is not for "one.two.example.org" but for *.example.org',
                                         name="wildcard", host="one.two.example.org", alert="bad certificate")

    def test_refused_by_the_callback(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.serve(version, name="revoked")
            self.assert_refused("--refuse=CN=revoked", told=["UNAUTHENTICATED", "CN=revoked", "revoked by hand"],
                                alert="bad certificate")

    def test_hosts_that_are_right(self):
        for name, host in (("p256", "localhost"), ("p256", "LOCALHOST."), ("p256", "127.0.0.1"),
                           ("wildcard", "one.example.org")):
            with self.subTest(host=host):
                self.serve(name=name)
                self.connect(host=host)
                self.finish()

    def test_any_certificate_is_taken_on_request_only(self):
        for name in ("expired", "self_signed", "unknown", "code_signing", "wildcard"):
            self.serve(name=name)
            self.assertIn("CN=" + name, self.connect("--insecure")["subjects"])
            self.finish()


class NameTest(ServerTest):
    def serve_names(self, *flags):
        chain, key = chain_and_key("wildcard")
        self.serve("-servername", "one.example.org", "-cert2", chain, "-key2", key, *flags)

    def test_the_host_is_told_to_the_server(self):
        self.serve_names()
        self.assertEqual(self.connect(host="one.example.org")["subjects"], "CN=wildcard")
        self.server.wait_for(b'Hostname in TLS extension: "one.example.org"')
        self.finish()

    def test_an_address_is_not(self):
        self.serve_names()
        self.assertEqual(self.connect(host="127.0.0.1")["subjects"], "CN=p256")
        self.finish()
        self.assertNotIn(b"Hostname in TLS extension", self.server.output())


class ClientCertificateTest(ServerTest):
    def ask(self, version, flag="-Verify", trust="root"):
        self.serve(version, flag, "3", "-verify_return_error", "-CAfile", file(trust + ".pem"))

    def test_it_is_shown_to_a_server_that_asks(self):
        for version in ("-tls1_2", "-tls1_3"):
            for name in ("client", "rsa", "ed25519", "chained"):
                with self.subTest(name=name, version=version):
                    self.ask(version)
                    self.connect(identity(name))
                    self.server.wait_for(f"CN = {name}".encode())
                    self.finish()

    def test_none_for_a_server_that_can_do_without(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.ask(version, flag="-verify")
            self.connect()
            self.finish()

    # A client of TLS 1.3 is done before the server has seen its certificate.
    def assert_refused_by_the_server(self, version, *flags, alert):
        self.start(*flags)
        if version == "-tls1_2":
            self.client.expect_failed("UNAUTHENTICATED", f'the peer refused: alert "{alert}"')
        else:
            self.client.expect("open")
            self.client.expect_close(f'the peer refused: alert "{alert}"')

    def test_one_that_the_server_refuses(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.ask(version, trust="other_root")
            self.assert_refused_by_the_server(version, identity("client"), alert="unknown CA")

    def test_none_for_a_server_that_insists(self):
        self.ask("-tls1_3")
        self.assert_refused_by_the_server("-tls1_3", alert="certificate required")
        self.ask("-tls1_2")
        self.start()
        self.client.expect_failed("the peer refused: alert")


class ResumptionTest(ServerTest):
    def test_a_session_goes_on(self):
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(version=version):
                self.serve(version)
                self.start("--times=4")
                for i in range(4):
                    told = self.client.expect("open")
                    self.assertEqual(told["resumed"], str(int(i > 0)))
                    self.assert_echoed(b"%d !close" % i)
                    self.client.expect_close()
                self.assertEqual(self.client.wait(), 0)

    def test_a_server_that_gives_none(self):
        self.serve("-no_ticket", "-no_cache", "-num_tickets", "0")
        self.start("--times=2")
        for i in range(2):
            self.assertEqual(self.client.expect("open")["resumed"], "0")
            self.assert_echoed(b"%d !close" % i)
            self.client.expect_close()


class ProtocolTest(ServerTest):
    def test_renegotiation_is_refused(self):
        self.serve("-tls1_2")
        self.connect()
        self.assert_echoed(b"1")
        self.server.write(b"r\n")
        self.client.expect_close("the peer asked for a renegotiation, which is refused")

    def test_the_server_changes_its_keys(self):
        self.serve("-tls1_3", "-state")
        self.connect()
        for letter in (b"k", b"K", b"K", b"k"):
            start = len(self.server.output())
            self.server.write(letter + b"\n")
            self.server.wait_for(b"key update", start=start)
            self.assert_echoed(digits(100))
        self.finish()

    def test_the_server_closes(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.serve(version, "-www")
            self.connect(text=r"GET / HTTP/1.0\r\n\r\n")
            self.client.expect("end")
            self.assertIn("HTTP/1.0 200 ok", self.client.expect("received")["text"])
            self.client.expect_close()

    def test_a_server_that_ends_without_a_word_is_reported_as_a_loss(self):
        for version in ("-tls1_2", "-tls1_3"):
            for end in (lambda: self.server.write(b"Q\n"), lambda: self.server.kill()):
                self.serve(version)
                self.connect()
                self.assert_echoed(b"1")
                end()
                self.client.expect_close("DATA_LOSS")


if __name__ == "__main__":
    main()
