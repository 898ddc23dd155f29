"""openssl s_client against sluice's TLS server."""

import os
import signal
import tempfile

from harness import TestCase, main, pattern
from tls_harness import TlsServer, Tool, chain_and_key, file, openssl_identity, roots, run

MIB = 1 << 20


def command(server, *flags, trust="root", host="localhost"):
    return ["openssl", "s_client", "-brief", "-connect", server.address, "-CAfile", file(trust + ".pem"),
            "-verify_return_error", "-servername", host, "-verify_hostname", host, *flags]


class ClientTest(TestCase):
    def serve(self, *flags, **options):
        self.server = self.enter(TlsServer(*flags, **options))

    def tearDown(self):
        self.server.assert_serves()

    def start(self, *flags, **options):
        return self.enter(Tool(command(self.server, *flags, **options)))

    def connect(self, *flags, **options):
        """A client that has agreed with the server, and what the server tells of it."""
        client = self.start(*flags, **options)
        client.wait_for(b"CONNECTION ESTABLISHED", "errors")
        return client, self.server.expect("open")

    def assert_echoed(self, client, data):
        start = len(client.output())
        client.write(data)
        client.wait_for(data[-64:], start=max(start, start + len(data) - 64))
        self.assertTrue(client.output()[start:] == data, f"{len(data)} bytes came back otherwise")

    def finish(self, client, data=b"the last line\n"):
        """An echo, and an orderly end by the client."""
        self.assert_echoed(client, data)
        client.end_input()
        self.assertEqual(client.wait()[0], 0)
        self.server.expect("end")
        self.server.expect_close()

    def assert_refused(self, *flags, says, told, data=b"", **options):
        """The client fails and says this; the server tells that."""
        status, output = run(command(self.server, *flags, **options), data)
        self.assertNotEqual(status, 0, output)
        self.assertIn(says, output)
        return self.server.expect_failed(*told)


class EchoTest(ClientTest):
    def test_both_versions_with_every_kind_of_key(self):
        for name in ("p256", "p384", "rsa", "ed25519", "chained"):
            for version in ("1_2", "1_3"):
                with self.subTest(key=name, version=version):
                    self.serve(identities=[name])
                    client, told = self.connect("-tls" + version)
                    self.assertEqual((told["version"], told["group"]), ("TLS " + version.replace("_", "."), "X25519"))
                    self.finish(client)
                    self.server.assert_serves()

    def test_each_suite_can_be_agreed_on(self):
        suites = {"ECDHE-ECDSA-AES128-GCM-SHA256": "p256", "ECDHE-ECDSA-AES256-GCM-SHA384": "p256",
                  "ECDHE-ECDSA-CHACHA20-POLY1305": "p256", "ECDHE-RSA-AES128-GCM-SHA256": "rsa",
                  "ECDHE-RSA-AES256-GCM-SHA384": "rsa", "ECDHE-RSA-CHACHA20-POLY1305": "rsa"}
        self.serve(identities=["p256", "rsa"])
        for suite in suites:
            with self.subTest(suite=suite):
                client, told = self.connect("-tls1_2", "-cipher", suite)
                client.wait_for(b"Ciphersuite: " + suite.encode(), "errors")
                client.wait_for(f"Peer certificate: CN = {suites[suite]}".encode(), "errors")
                self.assertTrue(told["cipher"].startswith("TLS_ECDHE_"), told)
                self.finish(client)
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
            with self.subTest(suite=suite):
                client, told = self.connect("-tls1_3", "-ciphersuites", suite)
                self.assertEqual(told["cipher"], suite)
                self.finish(client)

    def test_each_group_can_be_agreed_on(self):
        # In TLS 1.2 the groups of a client are also those of the certificates that it takes.
        self.serve(identities=["rsa"])
        for group in ("X25519", "P-256", "P-384"):
            for version in ("-tls1_2", "-tls1_3"):
                with self.subTest(group=group, version=version):
                    client, told = self.connect(version, "-groups", group)
                    self.assertEqual(told["group"], group)
                    self.finish(client)

    def test_the_servers_order_decides(self):
        self.serve(identities=["rsa"])
        client, told = self.connect("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256",
                                    "-groups", "P-384:P-256:X25519")
        self.assertEqual((told["cipher"], told["group"]), ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "X25519"))
        self.finish(client)
        # The key share is of another group: a HelloRetryRequest.
        client, told = self.connect("-tls1_3", "-groups", "P-384:P-256:X25519")
        self.assertEqual(told["group"], "X25519")
        self.finish(client)

    def test_a_mebibyte_and_more_comes_back(self):
        self.serve()
        for version in ("-tls1_2", "-tls1_3"):
            # -nocommands: the bytes are any.
            client, _ = self.connect(version, "-nocommands")
            self.assert_echoed(client, pattern(MIB))
            self.assert_echoed(client, pattern(4 * MIB + 1, seed=1))
            self.finish(client)

    def test_many_messages_come_back_one_after_the_other(self):
        self.serve()
        client, _ = self.connect("-nocommands")
        for i in range(500):
            self.assert_echoed(client, b"%d: " % i + pattern(i * 7 % 300, seed=i) + b"\n")
        self.finish(client)

    def test_small_records_and_fragments_come_back(self):
        self.serve()
        for version in ("-tls1_2", "-tls1_3"):
            client, _ = self.connect(version, "-nocommands", "-max_send_frag", "512")
            self.assert_echoed(client, pattern(300000))
            self.finish(client)


class RecordTest(ClientTest):
    """The records of TLS 1.3, which are the server's own once the handshake is over."""

    def check_each_suite(self, check, *flags):
        self.serve()
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
            with self.subTest(suite=suite, flags=flags):
                client, told = self.connect("-tls1_3", "-ciphersuites", suite, *flags)
                self.assertEqual(told["cipher"], suite)
                check(client)
                self.finish(client)

    def check_sizes(self, *sizes):
        def check(client):
            for size in sizes:
                self.assert_echoed(client, pattern(size, seed=size))
        return check

    def test_each_suite_carries_any_bytes(self):
        self.check_each_suite(self.check_sizes(1, 16383, 16384, 16385, 500001), "-nocommands")

    def test_padding_is_taken_off(self):
        for block in ("512", "16384"):
            self.check_each_suite(self.check_sizes(1, 1000, 300000), "-nocommands", "-record_padding", block)

    def test_records_of_odd_sizes(self):
        for flags in (("-max_send_frag", "512"), ("-max_send_frag", "1111", "-split_send_frag", "777"),
                      ("-max_send_frag", "1111", "-record_padding", "100")):
            self.check_each_suite(self.check_sizes(300001), "-nocommands", *flags)

    def test_keys_change_while_bytes_are_under_way(self):
        def check(client):
            start, sent = len(client.output()), b""
            for i in range(60):
                # s_client takes a letter for a command where it begins what is read at once: none of these does.
                piece = b"".join(b"%d: %s\n" % (n, b"x" * (n * 37 % 900)) for n in range(i * 20, i * 20 + 20))
                client.write_apart(piece)
                sent += piece
                for letter in (b"k", b"K", b"kK")[i % 3]:  # its own; and the server's, too
                    client.write_apart(b"%c\n" % letter)
            client.wait_for(sent[-64:], start=start + len(sent) - 64)
            self.assertGreater(len(sent), 500000)
            self.assertTrue(client.output()[start:] == sent, "the bytes came back otherwise")

        folder = self.enter(tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")))
        messages = os.path.join(folder, "messages")
        self.check_each_suite(check, "-msg", "-msgfile", messages)
        with open(messages, encoding="ascii") as lines:  # of the last client
            changes = [line[:3] for line in lines if line.rstrip().endswith("KeyUpdate")]
        self.assertGreater(changes.count(">>>"), 50)
        self.assertIn(changes.count("<<<"), range(1, 41), "an answer to each request, or to several")


class VersionTest(ClientTest):
    def test_versions_below_1_2_are_refused(self):
        self.serve()
        for version in ("-tls1", "-tls1_1"):
            with self.subTest(version=version):
                self.assert_refused(version, "-cipher", "ALL:@SECLEVEL=0", says="alert protocol version",
                                    told=["FAILED_PRECONDITION", "no TLS version in common"])

    def test_a_server_of_one_version(self):
        for flag, good, bad in (("--max=1.2", "1_2", "1_3"), ("--min=1.3", "1_3", "1_2")):
            with self.subTest(server=flag):
                self.serve(flag)
                client, told = self.connect()
                self.assertEqual(told["version"], "TLS " + good.replace("_", "."))
                self.finish(client)
                self.assert_refused("-tls" + bad, says="alert protocol version", told=["no TLS version in common"])
                self.server.assert_serves()

    def test_no_suite_without_forward_secrecy_and_aead(self):
        self.serve(identities=["p256", "rsa"])
        status, suites = run(["openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"])
        self.assertEqual(status, 0)
        weak = [suite for suite in suites.strip().split(":")
                if not (suite.startswith("ECDHE-") and ("-GCM-" in suite or "CHACHA20" in suite))]
        self.assertIn("AES128-SHA", weak)
        self.assertIn("DHE-RSA-AES128-GCM-SHA256", weak)
        self.assertIn("ECDHE-RSA-AES128-SHA", weak)
        # All at once: none of them is chosen.
        self.assert_refused("-tls1_2", "-cipher", ":".join(weak) + ":@SECLEVEL=0", says="alert handshake failure",
                            told=["FAILED_PRECONDITION", "no cipher suite in common"])

    def test_a_suite_that_is_too_old_does_not_decide_on_the_certificate(self):
        self.serve(identities=["p256", "rsa"])
        client, told = self.connect("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256")
        self.assertEqual(told["cipher"], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
        self.finish(client)

    def test_no_group_in_common(self):
        self.serve()
        self.assert_refused("-tls1_3", "-groups", "P-521", says="alert handshake failure",
                            told=["no group for the key agreement in common"])


class AlpnTest(ClientTest):
    def test_the_servers_preference_is_agreed_on(self):
        self.serve("--alpn=second,first")
        for version in ("-tls1_2", "-tls1_3"):
            client, told = self.connect(version, "-alpn", "other,first,second")
            self.assertEqual(told["alpn"], "second")
            self.finish(client)

    def test_a_client_without_goes_on_without(self):
        self.serve("--alpn=first")
        client, told = self.connect()
        self.assertEqual(told["alpn"], "")
        self.finish(client)

    def test_a_server_without_goes_on_without(self):
        self.serve()
        client, told = self.connect("-alpn", "other")
        self.assertEqual(told["alpn"], "")
        self.finish(client)

    def test_nothing_in_common_is_refused(self):
        self.serve("--alpn=first")
        self.assert_refused("-alpn", "other", says="alert no application protocol",
                            told=["FAILED_PRECONDITION", "no application protocol (ALPN) in common"])


class NameTest(ClientTest):
    def assert_gets(self, host, subject):
        for version in ("-tls1_2", "-tls1_3"):
            # Not each of the certificates is for the name that was asked for.
            client = self.enter(Tool(["openssl", "s_client", "-brief", "-connect", self.server.address, version,
                                      *(["-servername", host] if host else ["-noservername"])]))
            client.wait_for(f"Peer certificate: CN = {subject}".encode(), "errors")
            self.assertEqual(self.server.expect("open")["server_name"], host)
            self.finish(client)

    def test_the_certificate_of_the_name_is_shown(self):
        self.serve(identities=["p256", "wildcard", "exact"])
        self.assert_gets("one.example.org", "wildcard")
        self.assert_gets("TWO.Example.ORG", "wildcard")
        self.assert_gets("exact.example.org", "exact")
        self.assert_gets("localhost", "p256")

    def test_the_first_certificate_is_shown_for_another_name_and_for_none(self):
        self.serve(identities=["p256", "wildcard", "exact"])
        self.assert_gets("example.org", "p256")
        self.assert_gets("one.two.example.org", "p256")
        self.assert_gets("unheard.of", "p256")
        self.assert_gets("", "p256")

    def test_the_client_finds_the_name_in_it(self):
        self.serve(identities=["p256", "wildcard"])
        client, told = self.connect(host="one.example.org")
        client.wait_for(b"Verified peername: *.example.org", "errors")
        self.assertEqual(told["server_name"], "one.example.org")
        self.finish(client)


class ClientCertificateTest(ClientTest):
    def tearDown(self):
        pass  # assert_serves has no certificate

    # A client of TLS 1.3 is done before the server has seen its certificate: it reads the alert later.
    def assert_refused_in_both_versions(self, *flags, says, told):
        for version in ("-tls1_2", "-tls1_3"):
            client = self.start(version, *flags)
            client.wait_for(says.encode(), "errors")
            self.assertNotEqual(client.wait()[0], 0)
            self.server.expect_failed(*told)

    def test_a_required_one_is_there(self):
        self.serve("--client_certificates=require", roots())
        for name in ("client", "client_only", "p256", "rsa", "ed25519", "chained"):
            for version in ("-tls1_2", "-tls1_3"):
                with self.subTest(name=name, version=version):
                    client, told = self.connect(version, *openssl_identity(name))
                    self.assertEqual(told["subjects"].split(";")[0], "CN=" + name)
                    self.finish(client)

    def test_a_required_one_is_absent(self):
        self.serve("--client_certificates=require", roots())
        client = self.start("-tls1_3")
        client.wait_for(b"certificate required", "errors")
        self.server.expect_failed("UNAUTHENTICATED", "the client has shown no certificate, and one is required")
        client = self.start("-tls1_2")
        client.wait_for(b"alert", "errors")
        self.server.expect_failed("UNAUTHENTICATED", "the client has shown no certificate, and one is required")

    def test_a_requested_one_may_be_absent(self):
        self.serve("--client_certificates=request", roots())
        client, told = self.connect()
        self.assertEqual(told["subjects"], "")
        self.finish(client)

    def test_one_that_is_not_trusted_is_refused(self):
        for wanted in ("request", "require"):
            self.serve(f"--client_certificates={wanted}", roots())
            for name, says, why in (
                    ("unknown", "alert unknown ca", "its issuer is unknown"),
                    ("self_signed", "alert unknown ca", "it is self-signed"),
                    ("expired", "alert certificate expired", "it has expired"),
                    ("future", "alert certificate expired", "it is not valid yet"),
                    ("server_only", "alert unsupported certificate", "it was made for another purpose"),
                    ("code_signing", "alert unsupported certificate", "it was made for another purpose")):
                with self.subTest(wanted=wanted, name=name):
                    self.assert_refused_in_both_versions(
                        *openssl_identity(name), says=says, told=["UNAUTHENTICATED", f'certificate "CN={name}"', why])

    def test_one_that_the_callback_refuses(self):
        self.serve("--client_certificates=require", roots(), "--refuse=CN=revoked")
        self.assert_refused_in_both_versions(*openssl_identity("revoked"), says="alert bad certificate",
                                             told=["UNAUTHENTICATED", "CN=revoked", "revoked by hand"])
        client, _ = self.connect(*openssl_identity("p256"))
        self.finish(client)

    def test_the_client_is_told_whose_certificates_are_trusted(self):
        self.serve("--client_certificates=request", roots())
        _, output = run(["openssl", "s_client", "-connect", self.server.address])
        self.assertIn("Acceptable client certificate CA names\nCN = test root\n", output)


class ServerCertificateTest(ClientTest):
    def test_a_client_that_does_not_trust_the_server_is_reported(self):
        self.serve()
        for version in ("-tls1_2", "-tls1_3"):
            self.assert_refused(version, trust="other_root", says="certificate verify failed",
                                told=["UNAUTHENTICATED", 'the peer refused: alert "unknown CA"'])
            self.assert_refused(version, host="example.org", says="hostname mismatch",
                                told=["UNAUTHENTICATED", 'the peer refused: alert "'])


class OcspTest(ClientTest):
    def staple(self):
        """A response for the certificate "p256", as its issuer's service would give it."""
        folder = self.enter(tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")))
        index, response = (os.path.join(folder, name) for name in ("index", "response"))
        status, serial = run(["openssl", "x509", "-in", file("p256.pem"), "-noout", "-serial"])
        self.assertEqual(status, 0)
        with open(index, "w", encoding="ascii") as listed:
            listed.write(f"V\t991231235959Z\t\t{serial.strip().removeprefix('serial=')}\tunknown\t/CN=p256\n")
        signer, key = chain_and_key("server_only")
        status, output = run(["openssl", "ocsp", "-index", index, "-CA", file("root.pem"), "-issuer", file("root.pem"),
                              "-cert", file("p256.pem"), "-rsigner", signer, "-rkey", key, "-noverify", "-ndays", "1",
                              "-respout", response])
        self.assertEqual(status, 0, output)
        return response

    def ask(self, version, *flags):
        output = run(["openssl", "s_client", "-connect", self.server.address, version, *flags])[1]
        self.server.expect("open")
        self.server.expect("end")
        self.server.expect_close()
        return output

    def test_a_response_is_shown_to_a_client_that_asks(self):
        self.serve(f"--ocsp={self.staple()}")
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(version=version):
                self.assertIn("Cert Status: good", self.ask(version, "-status"))
                self.assertNotIn("Cert Status", self.ask(version))

    def test_without_one_there_is_none(self):
        self.serve()
        self.assertIn("OCSP response: no response sent", self.ask("-tls1_3", "-status"))


class ResumptionTest(ClientTest):
    def sessions(self, version, count, between=lambda: None):
        """Connects count times, each time with the session of the time before; what the server tells."""
        folder = self.enter(tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")))
        session = os.path.join(folder, "session.pem")
        told = []
        for i in range(count):
            use = ["-sess_in", session] if i else []
            client, opened = self.connect(version, "-sess_out", session, *use)
            told.append(opened["resumed"])
            self.finish(client)
            between()
        return told

    def test_a_session_goes_on(self):
        self.serve()
        for version in ("-tls1_2", "-tls1_3"):
            self.assertEqual(self.sessions(version, 4), ["0", "1", "1", "1"], version)

    def test_a_session_goes_on_on_every_loop(self):
        self.serve(threads=2)
        for version in ("-tls1_2", "-tls1_3"):
            self.assertEqual(self.sessions(version, 12), ["0"] + ["1"] * 11, version)

    def test_reconnect(self):
        self.serve()
        status, output = run(["openssl", "s_client", "-tls1_2", "-reconnect", "-connect", self.server.address])
        self.assertEqual((status, output.count("Reused, TLSv1.2")), (0, 5), output)
        for i in range(6):
            self.assertEqual(self.server.expect("open")["resumed"], str(int(i > 0)))
            # It leaves without a word, perhaps with a reset; the last time properly.
            if self.server.read_line() == "end":
                self.server.expect("close")

    def test_a_ticket_of_another_server_is_of_no_use_and_does_no_harm(self):
        self.serve()
        folder = self.enter(tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")))
        session = os.path.join(folder, "session.pem")
        for version in ("-tls1_2", "-tls1_3"):
            client, _ = self.connect(version, "-sess_out", session)
            self.finish(client)
            first = self.server
            self.serve()
            client, told = self.connect(version, "-sess_in", session)
            self.assertEqual(told["resumed"], "0")
            self.finish(client)
            first.assert_serves()

    def test_a_session_goes_on_after_a_rotation_of_keys(self):
        # Two older keys are kept. Each resumption of TLS 1.3 brings a new ticket, one of TLS 1.2 does not.
        for version, expected in (("-tls1_2", "011011"), ("-tls1_3", "011111")):
            self.serve(threads=2)
            self.assertEqual("".join(self.sessions(version, 6, between=self.rotate)), expected, version)
            self.assertEqual(self.sessions(version, 2, between=lambda: [self.rotate() for _ in range(3)]), ["0", "0"])
            self.server.assert_serves()

    def rotate(self):
        self.server.terminate(signal.SIGUSR1)
        self.server.expect("rotated")

    def test_early_data_is_not_taken(self):
        self.serve()
        folder = self.enter(tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")))
        session = os.path.join(folder, "session.pem")
        client, _ = self.connect("-tls1_3", "-sess_out", session)
        self.finish(client)
        status, output = run(["openssl", "sess_id", "-in", session, "-noout", "-text"])
        self.assertEqual(status, 0)
        self.assertIn("Max Early Data: 0", output)


class ProtocolTest(ClientTest):
    def test_renegotiation_is_refused_without_harm_to_others(self):
        self.serve()
        other, _ = self.connect("-tls1_2")
        client, _ = self.connect("-tls1_2")
        self.assert_echoed(client, b"hello\n")
        client.write(b"R\n")
        client.wait_for(b"RENEGOTIATING", "errors")
        client.wait_for(b"alert no renegotiation", "errors")
        self.assertEqual(self.server.expect("close")["status"].split(": ", 2)[2],
                         "TLS: the peer asked for a renegotiation, which is refused")
        self.assertNotEqual(client.wait()[0], 0)
        self.finish(other)

    def test_the_client_changes_its_keys(self):
        self.serve()
        client, _ = self.connect("-tls1_3")
        for i, letter in enumerate((b"k", b"K", b"K", b"k")):  # its own; and the server's, too
            client.write(letter + b"\n")
            self.assertTrue(client.wait_for_count(b"KEYUPDATE", i + 1, "errors"))
            self.assert_echoed(client, b"after " + letter + b"\n")
        self.finish(client)

    def test_a_flood_of_key_changes_ends_the_connection(self):
        self.serve()
        client, _ = self.connect("-tls1_3")
        for i in range(64):
            before = client.output("errors").count(b"KEYUPDATE")
            try:
                client.write(b"k\n")
            except BrokenPipeError:
                break
            if not client.wait_for_count(b"KEYUPDATE", before + 1, "errors"):
                break
        self.server.expect_close("RESOURCE_EXHAUSTED")

    def test_the_server_closes(self):
        self.serve()
        for version in ("-tls1_2", "-tls1_3"):
            client, _ = self.connect(version)
            client.write(b"now !close\n")
            status, output = client.wait()
            self.assertEqual(status, 0, output)
            self.assertIn("now !close\n", output)
            self.assertNotIn("unexpected eof", output)
            self.server.expect_close()


if __name__ == "__main__":
    main()
