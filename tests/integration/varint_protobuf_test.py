"""--protocol=varint against delimited streams that protobuf itself writes and reads (Debian's python3-protobuf).

This protobuf has the two functions of delimited streams only as the parts that they are made of: its encoder of a length
and its decoder of one, which every field with a length goes through."""

import json
import os
import socket
import threading

from harness import DEADLINE, Process, Sluice, TestCase, exchange, main, receive_to_end, require

try:
    from google.protobuf import any_pb2, struct_pb2
    from google.protobuf.internal import decoder, encoder
    from google.protobuf.message import DecodeError
except ImportError:
    any_pb2 = None

require_protobuf = "Python's package protobuf (Debian's python3-protobuf)"


def write_delimited(message):
    return encoder._VarintBytes(message.ByteSize()) + message.SerializeToString()


def read_delimited(data, kind):
    """All messages of a stream, which must end behind the last."""
    messages = []
    at = 0
    while at < len(data):
        size, at = decoder._DecodeVarint32(data, at)
        messages.append(kind.FromString(data[at:at + size]))
        at += size
    if at != len(data):
        raise AssertionError(f"the stream ends {at - len(data)} bytes before its last message does")
    return messages


def text(size):
    return struct_pb2.Struct(fields={"text": struct_pb2.Value(string_value="x" * size)})


class VarintProtobufTest(TestCase):
    @classmethod
    def setUpClass(cls):
        require(any_pb2, require_protobuf)

    def test_messages_of_protobuf_come_back_through_the_server(self):
        messages = [struct_pb2.Struct()] + [text(size) for size in (0, 1, 100, 127, 128, 300, 16383, 16384, 100_000)]
        data = b"".join(map(write_delimited, messages))
        server = self.enter(Sluice("--protocol=varint"))
        with server.connect() as client:
            echoed = exchange(client, data)
        self.assertEqual(read_delimited(echoed, struct_pb2.Struct), messages)
        self.assertEqual(server.totals()["messages"], len(messages))

    def test_the_server_accepts_the_lengths_that_protobuf_accepts(self):
        message = any_pb2.Any(value=b"hello")
        server = self.enter(Sluice("--protocol=varint"))
        for padding in (0, 1, 3, 4, 8):
            size = encoder._VarintBytes(message.ByteSize())
            if padding:
                size = bytes([size[0] | 0x80]) + b"\x80" * (padding - 1) + b"\0"
            data = size + message.SerializeToString()
            self.assertEqual(read_delimited(data, any_pb2.Any), [message])
            with server.connect() as client:
                self.assertEqual(read_delimited(exchange(client, data), any_pb2.Any), [message])

    def assert_refused(self, data):
        server = self.enter(Sluice("--protocol=varint"))
        with server.connect() as client:
            client.sendall(data)
            self.assertEqual(receive_to_end(client), b"")
        totals = server.totals()
        self.assertEqual((totals["messages"], totals["errors"]), (0, 1))

    def test_a_length_of_eleven_bytes_is_refused_by_both(self):
        length = b"\x85" + b"\x80" * 9 + b"\0"
        with self.assertRaises(DecodeError):
            decoder._DecodeVarint32(length, 0)
        self.assert_refused(length + b"hello")

    def test_of_a_length_beyond_32_bits_protobuf_takes_the_lower_ones_and_sluice_none(self):
        length = encoder._VarintBytes((1 << 32) + 5)
        self.assertEqual(decoder._DecodeVarint32(length, 0)[0], 5)
        self.assert_refused(length + b"hello")

    def test_lengths_of_every_size_go_to_protobuf_and_back(self):
        for size in ("1", "127", "128", "16383", "16384", "300000"):
            listener = self.enter(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(DEADLINE)

            def serve(listener=listener):
                connection, _ = listener.accept()
                connection.settimeout(DEADLINE)
                with connection, connection.makefile("rwb") as stream:
                    while byte := stream.read(1):
                        length = byte
                        while length[-1] >= 0x80:
                            length += stream.read(1)
                        message = stream.read(decoder._DecodeVarint32(length, 0)[0])
                        stream.write(encoder._VarintBytes(len(message)) + message)
                        stream.flush()

            server = threading.Thread(target=serve)
            server.start()
            url = "varint://127.0.0.1:%d" % listener.getsockname()[1]
            bench = self.enter(Process([os.environ["SLUICE"], "bench", url, "--json", "--duration=100ms",
                                        "--connections=1", "--pipeline=3", f"--size={size}"]))
            report = json.loads("\n".join(bench.read_rest()))
            self.assertEqual(bench.wait(), 0)
            server.join(DEADLINE)
            self.assertTrue(report["ok"] and report["verified"] and report["messages"] > 0, report)

    def test_the_client_and_a_server_of_protobuf_understand_each_other(self):
        # A line that is typed into cat becomes the bytes of a message; these are a message of protobuf.
        sent = [any_pb2.Any(value=value) for value in (b"hello", b"x" * 120, b"y" * 121, b"z" * 127)]
        received = []
        listener = self.enter(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(DEADLINE)

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE)
                data = b"".join(iter(lambda: connection.recv(65536), b""))
                received.extend(read_delimited(data, any_pb2.Any))
                connection.sendall(b"".join(write_delimited(any_pb2.Any(value=message.value.upper()))
                                            for message in received))

        server = threading.Thread(target=serve)
        server.start()
        client = self.enter(Process([os.environ["SLUICE"], "cat", "varint://127.0.0.1:%d" % listener.getsockname()[1]]))
        client.write(b"".join(message.SerializeToString() + b"\n" for message in sent))
        client.end_input()
        lines = client.read_rest()
        self.assertEqual(client.wait(), 0)
        server.join(DEADLINE)
        self.assertEqual(received, sent)
        # cat writes what is no text as \xNN: the tag of the field, and most sizes.
        self.assertEqual([line.endswith(message.value.upper().decode()) for line, message in zip(lines, sent)],
                         [True] * len(sent))
        self.assertEqual(lines[0], "\\x12\\x05HELLO")


if __name__ == "__main__":
    main()
