"""nginx: as a TLS server to sluice's client, as a proxy that ends TLS before sluice, and as a client of sluice's TLS
server.
"""

import os
import socket
import tempfile

import wire
from harness import DEADLINE, Server, TestCase, main, pattern
from nginx import Nginx, proxy
from tls_harness import TlsClient, chain_and_key, client_context, file, identity, roots

# What nginx knows of a connection, as its answer.
FACTS = ("$ssl_protocol|$ssl_cipher|$ssl_session_reused|$ssl_server_name|$ssl_client_verify|$ssl_client_s_dn|"
         "$ssl_alpn_protocol|end")


class NginxTest(TestCase):
    def serve(self, server=f'return 200 "{FACTS}";', **options):
        self.nginx = self.enter(Nginx(server, **options))

    def request(self, *flags, path="/", host="localhost", **options):
        """What the client tells of the connection, and nginx' answer."""
        self.client = self.enter(TlsClient(
            self.nginx.port, f"--host={host}", *flags,
            text=rf"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", **options))
        told = self.client.expect("open")
        self.client.expect("end")
        return told, self.client.expect("received")["text"]

    def facts(self, *flags, **options):
        told, text = self.request(*flags, **options)
        self.client.expect_close()
        self.assertIn("HTTP/1.1 200 OK", text)
        protocol, cipher, reused, name, verified, subject, alpn, end = text.split("\r\n\r\n", 1)[1].split("|")
        self.assertEqual(end, "end")
        return told, {"protocol": protocol, "cipher": cipher, "reused": reused, "name": name, "verified": verified,
                      "subject": subject, "alpn": alpn}


class ServerTest(NginxTest):
    def test_both_versions_with_every_kind_of_key(self):
        for name in ("p256", "p384", "rsa", "ed25519", "chained"):
            for version in ("1.2", "1.3"):
                with self.subTest(name=name, version=version):
                    self.serve(f'ssl_protocols TLSv{version}; return 200 "{FACTS}";', name=name)
                    told, seen = self.facts()
                    self.assertEqual((seen["protocol"], told["version"]), ("TLSv" + version, "TLS " + version))
                    self.assertEqual((seen["name"], seen["reused"]), ("localhost", "."))

    def test_a_version_that_the_client_does_not_want(self):
        self.serve(f'ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0; return 200 "{FACTS}";')
        self.client = self.enter(TlsClient(self.nginx.port, "--host=localhost"))
        self.client.expect_failed("FAILED_PRECONDITION")

    def test_suites_that_the_client_does_not_want(self):
        self.serve(f'ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA:AES256-GCM-SHA384; return 200 "{FACTS}";',
                   name="rsa")
        self.client = self.enter(TlsClient(self.nginx.port, "--host=localhost"))
        self.client.expect_failed("FAILED_PRECONDITION", 'the peer refused: alert "handshake failure"')

    def test_a_long_answer(self):
        folder = self.enter(tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")))
        os.chmod(folder, 0o755)
        body = b"%015d\n" * 100000 % tuple(range(100000))
        with open(os.path.join(folder, "large"), "wb") as large:
            large.write(body)
        self.serve(f"root {folder};")
        _, text = self.request(path="/large")
        self.assertTrue(text.endswith(body.decode()), f"{len(text)} bytes are not those that were sent")
        self.client.expect_close()

    def test_alpn(self):
        self.serve()
        told, seen = self.facts("--alpn=http/1.1")
        self.assertEqual((told["alpn"], seen["alpn"]), ("http/1.1", "http/1.1"))

    def test_client_certificates(self):
        self.serve(f'ssl_verify_client on; ssl_client_certificate {file("root.pem")}; return 200 "{FACTS}";')
        for name in ("client", "rsa"):
            _, seen = self.facts(identity(name))
            self.assertEqual((seen["verified"], seen["subject"]), ("SUCCESS", "CN=" + name))
        # nginx refuses by an answer.
        for flags, why in (([], "No required SSL certificate was sent"),
                           ([identity("unknown")], "The SSL certificate error")):
            _, text = self.request(*flags)
            self.assertIn("400 Bad Request", text)
            self.assertIn(why, text)
            self.client.expect_close()

    def test_certificates_that_are_refused(self):
        for name, why in (("expired", "it has expired"), ("self_signed", "it is self-signed"),
                          ("unknown", "its issuer is unknown"), ("client_only", "it was made for another purpose"),
                          ("wildcard", 'the certificate is not for "localhost" but for *.example.org')):
            with self.subTest(name=name):
                self.serve(name=name)
                self.client = self.enter(TlsClient(self.nginx.port, "--host=localhost"))
                self.client.expect_failed("UNAUTHENTICATED", why)

    def test_sessions_go_on(self):
        for version in ("1.2", "1.3"):
            self.serve(f'ssl_protocols TLSv{version}; ssl_session_cache shared:s:1m; return 200 "{FACTS}";')
            self.client = self.enter(TlsClient(
                self.nginx.port, "--host=localhost", "--times=4",
                text=r"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            for i in range(4):
                self.assertEqual(self.client.expect("open")["resumed"], str(int(i > 0)))
                self.client.expect("end")
                self.assertEqual(self.client.expect("received")["text"].split("|")[2], "r" if i else ".")
                self.client.expect_close()


class ProxyTest(NginxTest):
    def websocket(self):
        """A WebSocket through nginx, from a client of Python's ssl."""
        connection = self.enter(socket.create_connection(self.nginx.address, DEADLINE))
        client = self.enter(client_context().wrap_socket(connection, server_hostname="localhost"))
        client.sendall(wire.request())
        status, headers = wire.receive_head(client)
        self.assertEqual((status, headers["sec-websocket-accept"]), (101, wire.ACCEPT))
        return client

    def assert_echoed(self, client):
        for message in (b"hello", pattern(70000)):
            client.sendall(wire.frame(wire.BINARY, message))
            self.assertEqual(wire.receive_frame(client), (wire.BINARY, message))

    def proxy(self, server, scheme, more=""):
        self.serve(proxy(scheme, server.address, more))

    def start(self, *flags):
        return self.enter(Server([os.environ["WEBSOCKET_PEER"], "serve", "127.0.0.1:0", *flags]))

    def test_nginx_ends_tls_and_sluice_speaks_plain(self):
        self.proxy(self.start(), "http")
        self.assert_echoed(self.websocket())

    def test_a_plain_request_is_answered_through_nginx(self):
        page = self.enter(tempfile.NamedTemporaryFile("w", dir=os.environ.get("TEST_TMPDIR")))
        page.write("<!DOCTYPE html>a page")
        page.flush()
        for scheme, flags in ("http", []), ("https", [identity("p256")]):
            self.proxy(self.start(f"--page={page.name}", *flags), scheme)
            _, text = self.request()
            self.assertIn("HTTP/1.1 200 OK", text)
            self.assertIn("Content-Type: text/html", text)
            self.assertTrue(text.endswith("\r\n\r\n<!DOCTYPE html>a page"), text)
            _, text = self.request(path="/refused")
            self.assertIn("HTTP/1.1 403 Forbidden", text)

    def test_nginx_is_a_client_of_sluices_tls(self):
        for version in ("1.2", "1.3"):
            server = self.start(identity("p256"), identity("wildcard"))
            self.proxy(server, "https", f"""
              proxy_ssl_protocols TLSv{version};
              proxy_ssl_verify on;
              proxy_ssl_trusted_certificate {file("root.pem")};
              proxy_ssl_server_name on;
              proxy_ssl_name one.example.org;""")
            for _ in range(3):  # with the session of the time before
                self.assert_echoed(self.websocket())

    def test_nginx_shows_its_certificate_to_sluice(self):
        chain, key = chain_and_key("client")
        server = self.start(identity("p256"), "--client_certificates=require", roots())
        self.proxy(server, "https", f"proxy_ssl_certificate {chain}; proxy_ssl_certificate_key {key};")
        self.assert_echoed(self.websocket())

    def test_nginx_does_not_trust_sluice(self):
        server = self.start(identity("unknown"))
        self.proxy(server, "https", f"""
          proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate {file("root.pem")};""")
        _, text = self.request()
        self.assertIn("502 Bad Gateway", text)
        # nginx looks at the certificate when the handshake is over, and leaves.
        self.assertIn("the peer ended the connection during the handshake", server.read_line())


if __name__ == "__main__":
    main()
