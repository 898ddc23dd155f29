"""The command line over TLS, as its users run it: echo, bench and cat against each other and against Python's ssl.

  sluice_tls_test.py SLUICE OWN_CODEC WRITE_TEST_CERTIFICATES [unittest's arguments]     run by //tools:sluice_tls_test
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

from sluice_testing import PATIENCE, SLUICE, Echo, Fake, receive, run, until_end

OWN_CODEC = os.path.abspath(sys.argv[2])
WRITE_TEST_CERTIFICATES = os.path.abspath(sys.argv[3])

# Scheme and --protocol.
ALL = (("tls", "raw"), ("frames", "frame"), ("wss", "websocket"))


def setUpModule():
    global FOLDER
    FOLDER = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
    subprocess.run([WRITE_TEST_CERTIFICATES, FOLDER], check=True, timeout=PATIENCE)


def tearDownModule():
    shutil.rmtree(FOLDER)


def path(name):
    return os.path.join(FOLDER, name)


def identity(*names):
    """--tls_cert and --tls_key for these, as write_test_certificates calls them."""
    return [f"--tls_{flag}={','.join(path(f'{name}.{end}') for name in names)}"
            for flag, end in (("cert", "pem"), ("key", "key"))]


def trust():
    return f"--tls_ca={path('ca.pem')}"


class TlsEcho(Echo):
    """`sluice echo` over TLS."""

    def __init__(self, *flags, names=("server",), **options):
        # The last flag of a name counts; the default would end handshakes on a machine that is very slow.
        super().__init__(*identity(*names), "--tls_handshake_timeout=inf", *flags, **options)

    def line(self):
        """The next line on standard error."""
        return self.process.stderr.readline().decode()

    def connect_tls(self, server_name="localhost", alpn=None, version=None, context=None, session=None):
        """A connection of Python's ssl."""
        context = context or ssl.create_default_context(cafile=path("ca.pem"))
        if alpn:
            context.set_alpn_protocols(alpn)
        if version:
            context.minimum_version = context.maximum_version = version
        plain = self.connect()
        try:
            return context.wrap_socket(plain, server_hostname=server_name, session=session)
        except BaseException:
            plain.close()
            raise

    def common_name(self, **how):
        """Of the certificate that a new connection sees."""
        with self.connect_tls(**how) as client:
            return client.getpeercert()["subject"][0][0][1]

    def stop(self, number=signal.SIGTERM):
        """The totals, and what was said on standard error since the last line()."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        if self.process.returncode != 0:
            raise AssertionError(f"status {self.process.returncode}: {out} {err}")
        words = out.decode().split()
        if words[0] != "totals:":
            raise AssertionError(f"no totals: {out}")
        return {name: int(value) for name, value in (word.split("=") for word in words[1:])}, err.decode()


class UsageTest(unittest.TestCase):

    def assert_bad_usage(self, *words, says):
        result = run(*words)
        self.assertEqual(result.returncode, 2, result)
        self.assertEqual(result.stdout, b"")
        for text in says if isinstance(says, (list, tuple)) else [says]:
            self.assertIn(text, result.stderr.decode())

    def test_help_tells_of_it(self):
        for command, flags in (("echo", ("--tls_cert=", "--tls_client_cert=none", "--tls_alpn=auto")),
                               ("bench", ("--tls_ca=", "--insecure", "--tls_server_name=", "wss://HOST[:PORT]")),
                               ("cat", ("--tls_ca=", "--insecure", "--verbose", "tls://HOST:PORT"))):
            result = run("help", command)
            self.assertEqual(result.returncode, 0)
            for flag in flags:
                self.assertIn(flag, result.stdout.decode())
            self.assertLessEqual(max(map(len, result.stdout.decode().splitlines())), 100)

    def test_a_certificate_and_its_key_go_together(self):
        cert, key = identity("server")
        self.assert_bad_usage("echo", cert, says="--tls_cert has 1 and --tls_key has 0: each chain of certificates needs")
        self.assert_bad_usage("echo", key, says="--tls_key: TLS needs --tls_cert=FILE and --tls_key=FILE")
        self.assert_bad_usage("echo", identity("server", "example")[0], key, says="--tls_cert has 2 and --tls_key has 1")
        self.assert_bad_usage("cat", "tls://127.0.0.1:1", trust(), cert, says="--tls_cert has 1 and --tls_key has 0")
        self.assert_bad_usage("cat", "tls://127.0.0.1:1", trust(), *identity("client", "stranger"),
                              says="a client has one of each at most")

    def test_a_key_of_another_certificate_is_told(self):
        for command in (["echo"], ["cat", "tls://127.0.0.1:1"], ["bench", "tls://127.0.0.1:1"]):
            self.assert_bad_usage(*command, identity("server")[0], identity("renewed")[1],
                                  says=("the private key does not belong to the chain's first certificate",
                                        path("server.pem"), path("renewed.key")))

    def test_files_that_are_not_what_they_should_be_are_named(self):
        cert, key = identity("server")
        missing = path("missing.pem")
        self.assert_bad_usage("echo", f"--tls_cert={missing}", key, says=(missing, "No such file", "accepted are PEM files"))
        self.assert_bad_usage("echo", cert, f"--tls_key={path('server.pem')}", says="no private key")
        self.assert_bad_usage("echo", f"--tls_cert={path('server.key')}", key, says="no certificate")
        self.assert_bad_usage("echo", cert, key, "--tls_client_cert=require", f"--tls_client_ca={missing}",
                              says=("--tls_client_ca=", missing))
        self.assert_bad_usage("cat", "tls://127.0.0.1:1", f"--tls_ca={missing}", says=("--tls_ca=", "No such file"))
        self.assert_bad_usage("cat", "tls://127.0.0.1:1", f"--tls_ca={path('server.key')}", says="--tls_ca=")

    def test_what_contradicts_itself_is_told(self):
        cert_and_key = identity("server")
        self.assert_bad_usage("echo", *cert_and_key, "--tls_client_cert=require", says="--tls_client_ca must say who")
        self.assert_bad_usage("echo", *cert_and_key, f"--tls_client_ca={path('ca.pem')}", says="--tls_client_cert=request")
        self.assert_bad_usage("echo", "--tls_alpn=h2", says="--tls_alpn: TLS needs --tls_cert=FILE")
        self.assert_bad_usage("cat", "wss://127.0.0.1:1", "--insecure", trust(), says="--insecure and --tls_ca: one of them")
        for command in ("bench", "cat"):
            self.assert_bad_usage(command, "tcp://127.0.0.1:1", trust(), says="--tls_ca: this is for TLS, and tcp:// is plain")
            self.assert_bad_usage(command, "ws://127.0.0.1:1", "--insecure", says="--insecure: this is for TLS, and ws://")

    def test_bad_values_are_answered_with_good_ones(self):
        self.assert_bad_usage("echo", "--tls_client_cert=maybe", says="takes none or request or require")
        self.assert_bad_usage("echo", "--tls_min_version=1.1", says="takes 1.2 or 1.3")
        self.assert_bad_usage("echo", *identity("server"), "--tls_alpn=h2,,x", says="takes names of 1 to 255 bytes")
        self.assert_bad_usage("cat", "tls://127.0.0.1", says="there is no port: tls://127.0.0.1:PORT")
        self.assert_bad_usage("echo", "--tls_ca=x", says="unknown flag --tls_ca=x")
        self.assert_bad_usage("demo", "--insecure", says="unknown flag --insecure")


class EchoTest(unittest.TestCase):

    def test_every_protocol_echoes_to_bench_and_cat(self):
        for scheme, protocol in ALL:
            with self.subTest(protocol), TlsEcho(f"--protocol={protocol}", "--threads=2") as echo:
                url = f"{scheme}://{echo.address}"
                result = run("cat", url, trust(), stdin=b"one\ntwo\n")
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"one\ntwo\n", b""))
                for size, pipeline in (("100", "16"), ("1MiB", "2")):
                    result = run("bench", url, trust(), "--json", "--duration=100ms", "--connections=8", "--threads=2",
                                 f"--size={size}", f"--pipeline={pipeline}")
                    report = json.loads(result.stdout)
                    self.assertTrue(report["ok"] and result.returncode == 0, report)
                    self.assertEqual(report["connections_opened"], 8)
                totals, err = echo.stop()
                self.assertEqual((totals["connections"], totals["errors"], totals["handshake_errors"], err), (17, 0, 0, ""))

    def test_a_unix_socket_is_encrypted_too(self):
        directory = tempfile.mkdtemp(dir="/tmp")
        try:
            with TlsEcho(listen=f"unix:{directory}/socket") as echo:
                result = run("cat", f"tls+unix://{directory}/socket", trust(), stdin=b"hello")
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"hello", b""))
                self.assertEqual(echo.stop()[0]["errors"], 0)
        finally:
            shutil.rmtree(directory)

    def test_the_name_chooses_the_certificate(self):
        with TlsEcho(names=("server", "example")) as echo:
            for name, subject in (("localhost", "server"), ("example.org", "example"), ("www.example.org", "example")):
                self.assertEqual(echo.common_name(server_name=name), subject)
            for name in ("example.org", "www.example.org"):
                result = run("cat", f"tls://{echo.address}", trust(), f"--tls_server_name={name}", stdin=b"x")
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"x", b""))

    def test_versions(self):
        with TlsEcho("--tls_min_version=1.3") as echo:
            with self.assertRaisesRegex(ssl.SSLError, "(?i)version"):
                echo.connect_tls(version=ssl.TLSVersion.TLSv1_2)
            with echo.connect_tls() as client:
                self.assertEqual(client.version(), "TLSv1.3")
        with TlsEcho() as echo:
            with echo.connect_tls(version=ssl.TLSVersion.TLSv1_2) as client:
                self.assertEqual(client.version(), "TLSv1.2")

    def test_application_protocols(self):
        for flags, offered, agreed in ((["--protocol=websocket"], ["h2", "http/1.1"], "http/1.1"),
                                       (["--protocol=websocket"], None, None),
                                       (["--protocol=websocket"], ["h2", "x"], None),  # not refused
                                       (["--protocol=websocket", "--tls_alpn="], ["http/1.1"], None),
                                       (["--protocol=frame"], ["http/1.1"], None),
                                       (["--tls_alpn=b,a"], ["a", "b"], "b")):
            with self.subTest(flags=flags, offered=offered), TlsEcho(*flags) as echo:
                with echo.connect_tls(alpn=offered) as client:
                    self.assertEqual(client.selected_alpn_protocol(), agreed)
        with TlsEcho("--tls_alpn=a") as echo, self.assertRaisesRegex(ssl.SSLError, "(?i)alert"):
            echo.connect_tls(alpn=["b"])

    def test_failed_handshakes_are_told_and_counted_and_disturb_nobody(self):
        def plain_http(connection):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        def garbage(connection):
            connection.sendall(b"\x16\x03\x01\xff\xff" + b"?" * 100)

        for send, says in ((plain_http, "plain HTTP was sent where TLS is spoken"), (garbage, "TLS handshake: "),
                           (lambda connection: connection.shutdown(socket.SHUT_WR), "the peer ended the connection")):
            with TlsEcho() as echo, echo.connect_tls() as good:
                with echo.connect() as bad:
                    send(bad)
                    try:
                        until_end(bad)
                    except ConnectionResetError:
                        pass
                line = echo.line()
                self.assertTrue(line.startswith("sluice echo: 127.0.0.1:"), line)
                self.assertIn(says, line)
                good.sendall(b"still here")
                self.assertEqual(receive(good, 10), b"still here")
                good.unwrap().close()
                totals, _ = echo.stop()
                self.assertEqual((totals["connections"], totals["errors"], totals["handshake_errors"]), (1, 0, 1))

    def test_a_stalled_handshake_is_given_up(self):
        with TlsEcho("--tls_handshake_timeout=100ms") as echo, echo.connect() as client:
            try:
                self.assertEqual(client.recv(1), b"")
            except ConnectionResetError:
                pass
            self.assertIn("TLS handshake: not finished within 100ms", echo.line())
            self.assertEqual(echo.stop()[0]["handshake_errors"], 1)

    def test_an_end_that_was_not_said_is_an_error(self):
        with TlsEcho() as echo:
            client = echo.connect_tls()
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            os.close(client.detach())  # without close_notify: somebody may have cut it
            self.assertEqual(echo.stop()[0]["errors"], 1)

    def test_a_drain_answers_what_was_sent(self):
        with TlsEcho("--threads=2", "--drain_timeout=100s") as echo:
            clients = [echo.connect_tls() for _ in range(10)]
            message = os.urandom(1000)
            for client in clients:
                client.sendall(message)
                self.assertEqual(receive(client, len(message)), message)  # it was accepted
            for client in clients:
                client.sendall(50 * message)
            echo.process.send_signal(signal.SIGTERM)
            for client in clients:
                self.assertEqual(receive(client, 50 * len(message)), 50 * message)
                client.unwrap().close()
            out, err = echo.process.communicate(timeout=PATIENCE)
            self.assertIn(b" errors=0 handshake_errors=0\n", out)
            self.assertEqual(err, b"")

    def test_without_tls_nothing_changes(self):
        with Echo() as echo:
            echo.process.send_signal(signal.SIGHUP)
            self.assertEqual(echo.process.wait(timeout=PATIENCE), -signal.SIGHUP)


class ClientCertificateTest(unittest.TestCase):

    def serve(self, mode):
        return TlsEcho(f"--tls_client_cert={mode}", f"--tls_client_ca={path('ca.pem')}")

    def cat(self, echo, *flags):
        return run("cat", f"tls://{echo.address}", trust(), *flags, stdin=b"x")

    def test_required_and_shown(self):
        for mode in ("request", "require"):
            with self.serve(mode) as echo:
                result = self.cat(echo, *identity("client"))
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"x", b""))
                result = run("bench", f"tls://{echo.address}", trust(), *identity("client"), "--duration=50ms")
                self.assertEqual(result.returncode, 0, result)

    def test_requested_and_not_shown(self):
        with self.serve("request") as echo:
            self.assertEqual(self.cat(echo).stdout, b"x")

    def test_required_and_not_shown(self):
        with self.serve("require") as echo:
            result = self.cat(echo)
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertIn('alert "certificate required"', result.stderr.decode())
            self.assertIn("the client has shown no certificate, and one is required", echo.line())
            result = run("bench", f"tls://{echo.address}", trust(), "--json", "--duration=inf", "--connections=3")
            report = json.loads(result.stdout)
            self.assertEqual((result.returncode, report["errors"]["tls"], report["errors_total"]), (1, 3, 3), report)
            self.assertIn("certificate required", report["first_error"])
            self.assertEqual(echo.stop()[0]["handshake_errors"], 4)

    def test_one_that_nobody_vouches_for_is_refused(self):
        for mode in ("request", "require"):
            with self.serve(mode) as echo:
                result = self.cat(echo, *identity("stranger"))
                self.assertEqual(result.returncode, 1)
                self.assertIn("refused: alert", result.stderr.decode())
                self.assertIn("its issuer is unknown", echo.line())


class ClientTest(unittest.TestCase):

    def assert_refused(self, echo, *flags, says):
        url = f"tls://{echo.address}"
        result = run("cat", url, *flags, stdin=b"x")
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertTrue(result.stderr.decode().startswith(f"sluice cat: {echo.address}: TLS handshake: "), result)
        self.assertIn(says, result.stderr.decode())
        result = run("bench", url, *flags, "--json", "--duration=inf", "--connections=2")
        report = json.loads(result.stdout)
        self.assertEqual((result.returncode, report["errors"]["tls"], report["errors_total"]), (1, 2, 2), report)
        self.assertIn(says, report["first_error"])

    def test_a_server_that_nobody_vouches_for_is_refused(self):
        with TlsEcho(names=("stranger",)) as echo:
            self.assert_refused(echo, trust(), says="its issuer is unknown")

    def test_an_expired_certificate_is_refused(self):
        with TlsEcho(names=("expired",)) as echo:
            self.assert_refused(echo, trust(), says="expired")

    def test_another_hosts_certificate_is_refused(self):
        with TlsEcho(names=("example",)) as echo:
            self.assert_refused(echo, trust(), says="but for example.org")
            self.assert_refused(echo, trust(), "--tls_server_name=example.com", says='is not for "example.com"')

    def test_a_clients_certificate_is_no_servers(self):
        with TlsEcho(names=("client",)) as echo:
            self.assert_refused(echo, trust(), says="CN=client")

    def test_a_folder_of_authorities(self):
        folder = tempfile.mkdtemp(dir=FOLDER)
        shutil.copy(path("ca.pem"), folder)
        shutil.copy(path("other_ca.pem"), folder)
        for name in ("server", "stranger"):
            with TlsEcho(names=(name,)) as echo:
                result = run("cat", f"tls://{echo.address}", f"--tls_ca={folder}", stdin=b"x")
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"x", b""))

    def test_insecure_takes_all_and_warns_each_time(self):
        with TlsEcho(names=("expired",), listen="127.0.0.1:0") as echo:
            url = f"tls://{echo.address}"
            result = run("cat", url, "--insecure", stdin=b"x")
            self.assertEqual((result.returncode, result.stdout), (0, b"x"))
            self.assertTrue(result.stderr.startswith(b"sluice cat: WARNING: --insecure: "), result)
            result = run("bench", url, "--insecure", "--json", "--duration=50ms")
            self.assertEqual(result.returncode, 0)
            self.assertTrue(result.stderr.startswith(b"sluice bench: WARNING: --insecure: "), result)

    def test_verbose_shows_the_connection_and_the_certificates(self):
        with TlsEcho("--protocol=websocket", names=("example",)) as echo:
            result = run("cat", f"wss://{echo.address}", trust(), "--tls_server_name=example.org", "--verbose", stdin=b"x")
            self.assertEqual((result.returncode, result.stdout), (0, b"x\n"))
            for line in (f"connected to {echo.address}", "TLS 1.3", "  ALPN     http/1.1", "  session  new",
                         "certificate 1", "  subject  CN=example", "  issuer   CN=test intermediate",
                         "  names    example.org, *.example.org", "  key      RSA 2048", "certificate 2",
                         "  subject  CN=test intermediate", "  issuer   CN=test root",
                         "  valid    2000-01-01 00:00:00 UTC to 2099-12-31 23:59:59 UTC"):
                self.assertIn(line, result.stderr.decode().splitlines())
            self.assertRegex(result.stderr.decode(), r"\n  cipher   TLS_\w+\n  group    X25519\w*\n")
            self.assertRegex(result.stderr.decode(), r"\n  SHA-256  [0-9a-f]{64}\n")
        with Echo() as echo:
            result = run("cat", f"tcp://{echo.address}", "--verbose", stdin=b"x")
            self.assertEqual((result.stdout, result.stderr.decode()), (b"x", f"connected to {echo.address}\n"))

    def test_a_server_that_speaks_no_tls(self):
        with Echo() as echo:
            for scheme in ("tls", "frames", "wss"):
                result = run("cat", f"{scheme}://{echo.address}", trust())
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"{echo.address}: TLS handshake: ", result.stderr.decode())

    def test_a_server_that_says_nothing_is_given_up(self):
        with Fake(until_end) as fake:
            result = run("cat", f"tls://{fake.address}", trust(), "--timeout=100ms")
            self.assertEqual(result.returncode, 1)
            self.assertIn("TLS handshake: not finished within ", result.stderr.decode())
            result = run("bench", f"tls://{fake.address}", trust(), "--timeout=100ms", "--connections=2", "--json")
            self.assertEqual(json.loads(result.stdout)["errors"]["tls"], 2)

    def test_ctrl_c_during_handshakes_ends_it(self):
        with Fake(until_end) as fake:
            bench = subprocess.Popen([SLUICE, "bench", f"tls://{fake.address}", trust(), "--json", "--timeout=inf"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertIn(b"connecting: 0 of 50 open", bench.stderr.readline())
            bench.send_signal(signal.SIGINT)
            out, _ = bench.communicate(timeout=PATIENCE)
            self.assertEqual((bench.returncode, json.loads(out)["errors_total"]), (0, 0))


class ReloadTest(unittest.TestCase):

    def setUp(self):
        self.live = os.path.join(FOLDER, "live")
        self.install("server")

    def install(self, name):
        """As a program that renews certificates does: each file is replaced at once."""
        for end in ("pem", "key"):
            shutil.copy(path(f"{name}.{end}"), f"{self.live}.new")
            os.replace(f"{self.live}.new", f"{self.live}.{end}")

    def serve(self, *flags):
        return TlsEcho(*flags, names=("live",))

    def reload(self, echo):
        echo.process.send_signal(signal.SIGHUP)
        return echo.line()

    def test_under_load_no_connection_is_lost_and_new_ones_see_the_new_certificate(self):
        with self.serve("--protocol=websocket", "--threads=2") as echo, echo.connect_tls() as before:
            bench = subprocess.Popen([SLUICE, "bench", f"wss://{echo.address}", trust(), "--json", "--duration=inf",
                                      "--pipeline=4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while b" messages/s" not in bench.stderr.readline():
                self.assertIsNone(bench.poll())
            for name in ("renewed", "server", "renewed"):
                self.install(name)
                self.assertEqual(self.reload(echo), f"sluice echo: reloaded {self.live}.pem\n")
                for _ in range(20):  # on both loops
                    self.assertEqual(echo.common_name(), name)
            self.assertEqual(before.getpeercert()["subject"][0][0][1], "server")
            before.sendall(b"GET / HTTP/1.1\r\n\r\n")  # it is served as before
            self.assertTrue(before.recv(100).startswith(b"HTTP/1.1 4"))
            before.close()
            bench.send_signal(signal.SIGINT)
            out, _ = bench.communicate(timeout=PATIENCE)
            report = json.loads(out)
            self.assertEqual((bench.returncode, report["errors_total"], report["connections_opened"]), (0, 0, 50), report)
            self.assertEqual(echo.stop()[0]["handshake_errors"], 0)

    def test_bad_files_change_nothing_and_are_told(self):
        def damage(end, text):
            with open(f"{self.live}.{end}", "w", encoding="ascii") as file:
                file.write(text)

        with self.serve() as echo, echo.connect_tls() as before:
            for spoil, says in ((lambda: damage("pem", "nonsense"), "no certificate"),
                                (lambda: damage("key", ""), "no private key"),
                                (lambda: os.remove(f"{self.live}.key"), "No such file"),
                                (lambda: shutil.copy(path("renewed.key"), f"{self.live}.key"), "does not belong")):
                self.install("server")
                spoil()
                line = self.reload(echo)
                self.assertTrue(line.startswith("sluice echo: not reloaded, what was there stays in use: --tls_cert="), line)
                self.assertIn(says, line)
                self.assertEqual(echo.common_name(), "server")
                before.sendall(b"x")
                self.assertEqual(before.recv(1), b"x")
            self.install("renewed")
            self.assertIn("reloaded ", self.reload(echo))
            self.assertEqual(echo.common_name(), "renewed")


    def test_sessions_are_resumed_on_all_loops_and_after_a_reload(self):
        with self.serve("--threads=2") as echo:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = ssl.create_default_context(cafile=path("ca.pem"))
                with echo.connect_tls(context=context, version=version) as client:
                    client.sendall(b"x")
                    self.assertEqual(client.recv(1), b"x")  # the tickets came before it
                    self.assertFalse(client.session_reused)
                    session = client.session
                for _ in range(2):
                    for _ in range(10):
                        with echo.connect_tls(context=context, version=version, session=session) as client:
                            self.assertTrue(client.session_reused)
                    self.install("renewed")
                    self.assertIn("reloaded ", self.reload(echo))


    def test_a_reload_that_comes_while_it_drains_does_not_end_it_suddenly(self):
        with self.serve("--drain_timeout=100s") as echo, echo.connect_tls() as client:
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            echo.process.send_signal(signal.SIGTERM)
            self.assertEqual(client.recv(1), b"")  # it drains, and waits for this client
            echo.process.send_signal(signal.SIGHUP)
            client.unwrap().close()
            self.assertEqual(echo.process.wait(timeout=PATIENCE), 0)


class OwnCodecTest(unittest.TestCase):

    def test_a_command_line_without_tls_has_none_of_it(self):
        result = run("cat", "tls://127.0.0.1:1", binary=OWN_CODEC)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"tls:// is not among the schemes", result.stderr)
        result = run("echo", "--tls_cert=x", binary=OWN_CODEC)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"unknown flag --tls_cert=x", result.stderr)
        for binary, has in ((SLUICE, True), (OWN_CODEC, False)):
            with open(binary, "rb") as file:
                self.assertEqual(b"SSL_do_handshake" in file.read(), has, binary)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
