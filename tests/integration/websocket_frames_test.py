"""Frames that a peer may not send, and frames that are only unusual, to `sluice echo --protocol=websocket`: the right
close code (RFC 6455 section 7.4.1), and then the server still serves a good client."""

import socket
import struct

import wire
from harness import Sluice, TestCase, exchange, main, pattern, receive_to_end, reset, send_what_is_taken
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame

LIMIT = 1 << 20


class FramesTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enter_for_all(Sluice("--protocol=websocket"))

    def tearDown(self):
        client = self.connect()
        client.sendall(frame(TEXT, b"still here?"))
        self.assertEqual(wire.receive_frame(client), (TEXT, b"still here?"))
        client.sendall(close_frame(1000))
        self.assertEqual(wire.receive_close(client), (1000, ""))
        self.assertEqual(receive_to_end(client), b"")

    def connect(self):
        client = self.enter(self.server.connect())
        wire.shake_hands(client)
        return client

    def assert_closed_with(self, code, data):
        """The server answers data with this code, and ends the connection."""
        client = self.connect()
        send_what_is_taken(client, data)
        got, reason = wire.receive_close(client)
        self.assertEqual(got, code, data[:100])
        self.assertEqual(receive_to_end(client), b"")
        return reason


class UnusualTest(FramesTest):
    def assert_answered(self, data, *answers):
        client = self.connect()
        client.sendall(data)
        for answer in answers:
            self.assertTrue(wire.receive_frame(client) == answer, answer[1][:100])

    def test_frames_byte_by_byte(self):
        client = self.connect()
        for byte in frame(TEXT, b"x" * 126) + frame(BINARY) + frame(PING, b"p"):
            client.sendall(bytes([byte]))
        for answer in [(TEXT, b"x" * 126), (BINARY, b""), (PONG, b"p")]:
            self.assertEqual(wire.receive_frame(client), answer)

    def test_a_character_may_be_split_between_fragments(self):
        self.assert_answered(frame(TEXT, b"\xf0\x9f", fin=False) + frame(CONTINUATION, b"\x8c", fin=False)
                             + frame(CONTINUATION, b"\x8a"), (TEXT, "\U0001F30A".encode()))

    def test_control_frames_may_stand_between_fragments(self):
        self.assert_answered(frame(TEXT, b"one ", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"two", fin=False)
                             + frame(PONG, b"unasked") + frame(CONTINUATION), (PONG, b"p"), (TEXT, b"one two"))

    def test_a_message_of_a_hundred_thousand_fragments(self):
        pieces = b"".join(frame(CONTINUATION, b"z", fin=False) for _ in range(100000))
        self.assert_answered(frame(BINARY, b"a", fin=False) + pieces + frame(CONTINUATION, b"!"),
                             (BINARY, b"a" + b"z" * 100000 + b"!"))

    def test_a_hundred_thousand_tiny_messages(self):
        client = self.connect()
        count = 100000
        self.assertTrue(exchange(client, frame(TEXT, b"t") * count, 3 * count) == b"\x81\x01t" * count)

    def test_a_message_of_the_largest_size_in_one_frame_and_in_two(self):
        data = pattern(LIMIT)
        self.assert_answered(frame(BINARY, data), (BINARY, data))
        self.assert_answered(frame(BINARY, data[:1], fin=False) + frame(CONTINUATION, data[1:]), (BINARY, data))

    def test_pings_without_and_with_the_longest_payload(self):
        self.assert_answered(frame(PING) + frame(PING, b"p" * 125), (PONG, b""), (PONG, b"p" * 125))


class ViolationsTest(FramesTest):
    def test_an_unmasked_frame(self):
        for opcode in [TEXT, BINARY, PING, CLOSE]:
            self.assertIn("mask", self.assert_closed_with(1002, frame(opcode, b"", masked=False)))

    def test_reserved_bits(self):
        for reserved in [1, 2, 4, 7]:
            self.assert_closed_with(1002, frame(TEXT, b"x", reserved=reserved))
            self.assert_closed_with(1002, frame(PING, b"x", reserved=reserved))

    def test_reserved_opcodes(self):
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]:
            self.assert_closed_with(1002, frame(opcode, b"x"))

    def test_fragmented_control_frames(self):
        for opcode in [CLOSE, PING, PONG]:
            self.assert_closed_with(1002, frame(opcode, fin=False))

    def test_control_frames_of_more_than_125_bytes(self):
        for opcode in [CLOSE, PING, PONG]:
            self.assert_closed_with(1002, frame(opcode, struct.pack("!H", 1000) + b"x" * 124))

    def test_a_continuation_of_nothing(self):
        self.assert_closed_with(1002, frame(CONTINUATION, b"x"))
        self.assert_closed_with(1002, frame(CONTINUATION, b"x", fin=False))

    def test_a_message_within_a_message(self):
        self.assert_closed_with(1002, frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"))

    def test_lengths_that_are_not_in_their_shortest_form(self):
        self.assert_closed_with(1002, frame(BINARY, b"x", length_form=126))
        self.assert_closed_with(1002, frame(BINARY, b"x", length_form=127))
        self.assert_closed_with(1002, frame(BINARY, b"x" * 200, length_form=127))

    def test_a_length_with_its_top_bit_set(self):
        self.assert_closed_with(1002, b"\x82\xff" + b"\xff" * 8 + b"mask")

    def test_text_that_is_not_utf8(self):
        for text in [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82", b"\x80"]:
            self.assert_closed_with(1007, frame(TEXT, text))

    def test_text_that_is_not_utf8_across_fragments(self):
        self.assert_closed_with(1007, frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"x"))
        # The end may be long in coming: what can no longer become right is refused at once.
        self.assert_closed_with(1007, frame(TEXT, b"fine so far \xe2\x28", fin=False))

    def test_a_close_reason_that_is_not_utf8(self):
        self.assert_closed_with(1007, close_frame(1000, b"\xff"))

    def test_messages_over_the_limit(self):
        self.assert_closed_with(1009, frame(BINARY, bytes(LIMIT + 1)))
        self.assert_closed_with(1009, frame(BINARY, bytes(LIMIT), fin=False) + frame(CONTINUATION, b"x"))
        # Refused when it is announced, not when it is there.
        self.assert_closed_with(1009, b"\x82\xff" + struct.pack("!Q", 1 << 40) + b"mask")

    def test_close_codes_that_may_not_be_sent(self):
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535]:
            self.assert_closed_with(1002, close_frame(code))

    def test_a_close_frame_of_one_byte(self):
        self.assert_closed_with(1002, frame(CLOSE, b"\x03"))


class ClosingTest(FramesTest):
    def test_every_code_that_may_be_sent_is_answered_with_itself(self):
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]:
            self.assert_closed_with(code, close_frame(code, b"because"))

    def test_a_close_without_a_code_is_answered_without_one(self):
        self.assert_closed_with(None, frame(CLOSE))

    def test_nothing_is_answered_after_a_close(self):
        self.assert_closed_with(1000, close_frame(1000) + frame(TEXT, b"late") + frame(PING) + frame(3))

    def test_what_came_before_a_close_is_answered_before_it(self):
        client = self.connect()
        client.sendall(frame(TEXT, b"first") + frame(TEXT, b"unfinished", fin=False) + close_frame(1001))
        self.assertEqual(wire.receive_frame(client), (TEXT, b"first"))
        self.assertEqual(wire.receive_close(client), (1001, ""))

    def test_an_end_without_a_close_frame(self):
        client = self.connect()
        client.sendall(frame(TEXT, b"x") + frame(TEXT, b"cut short")[:-2])
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(wire.receive_frame(client), (TEXT, b"x"))
        receive_to_end(client)

    def test_a_reset_in_the_middle_of_a_message(self):
        other = self.connect()
        for _ in range(30):
            victim = self.server.connect()
            wire.shake_hands(victim)
            victim.sendall(frame(BINARY, bytes(100000))[:50000])
            reset(victim)
            other.sendall(frame(PING))
            self.assertEqual(wire.receive_frame(other), (PONG, b""))


class GarbageTest(FramesTest):
    def test_bytes_at_random(self):
        for seed in range(50):
            client = self.connect()
            send_what_is_taken(client, pattern(3000, seed=seed))
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # the server has reset it
            receive_to_end(client)

    def test_frames_at_random(self):
        # Each frame is well formed; what they are in this order is not.
        for seed in range(50):
            client = self.connect()
            choice = pattern(400, seed=seed)
            data = b"".join(frame(a & 15, pattern(b, seed=a), fin=bool(c & 1), reserved=7 if c > 250 else 0)
                            for a, b, c in zip(choice[::4], choice[1::4], choice[2::4]))
            send_what_is_taken(client, data)
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError:
                continue
            receive_to_end(client)


if __name__ == "__main__":
    main()
