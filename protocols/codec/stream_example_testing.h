// What the tests of the protocols' streams share: that the example of a stream's header works, and
// what a handler gets of some bytes.
#ifndef SLUICE_PROTOCOLS_CODEC_STREAM_EXAMPLE_TESTING_H_
#define SLUICE_PROTOCOLS_CODEC_STREAM_EXAMPLE_TESTING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::codec_testing {

// Writes down what arrives.
template <Codec C>
class Recorder : public CodecHandler<C> {
 public:
  bool pauses = false;  // after each message
  std::vector<std::string> messages;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnMessage(CodecStream<C>& stream, typename C::Message message) override {
    if (pauses) stream.PauseReceiving();
    messages.push_back(DescribeMessage(message));
  }
  void OnClose(CodecStream<C>& /*stream*/, const absl::Status& status) override { closed = status; }
};

// Serves `echo` over TCP, and expects that a client gets these messages back and that both end
// well.
template <ByteCodec C>
void ExpectEchoes(const C& codec, CodecHandler<C>& echo, const std::vector<std::string>& messages) {
  Recorder<C> recorder;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  auto listener =
      sluice::Listener::Listen(*loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
        CodecStream<C>::Run(std::move(stream), codec, echo);
      });
  ASSERT_TRUE(listener.ok()) << listener.status();

  CodecStream<C>* client = nullptr;
  Connector connector(*loop);
  connector.Connect((*listener)->address(), {},
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      ASSERT_TRUE(stream.ok()) << stream.status();
                      client = &CodecStream<C>::Run(*std::move(stream), codec, recorder);
                      for (const std::string& message : messages) client->Send(ToEncode(message));
                    });
  loop->RunUntil([&] { return recorder.messages.size() == messages.size(); });
  EXPECT_EQ(recorder.messages, messages);
  client->Close();
  loop->RunUntil([&] { return loop->counters().streams == 0; });
  EXPECT_EQ(recorder.closed, absl::OkStatus());
}

// What a handler gets when a peer sends these bytes and then ends.
template <Codec C>
Recorder<C> Receive(const C& codec, absl::string_view bytes) {
  Recorder<C> recorder;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  CodecStream<C> stream(pair.TakeServer(), codec, recorder);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(bytes);
  client.stream().ShutdownSend();
  loop.RunUntilIdle();
  return recorder;
}

// What is sent one after the other, of which some may be refused: the messages that arrive.
template <ByteCodec C>
class Pair {
 public:
  explicit Pair(const C& codec)
      : from_(pair_.TakeClient(), codec, client_), to_(pair_.TakeServer(), codec, server_) {}

  CodecStream<C>& from() { return from_; }
  const std::vector<std::string>& arrived() {
    loop_.RunUntilIdle();
    return server_.messages;
  }

 private:
  Recorder<C> client_;
  Recorder<C> server_;
  VirtualLoop loop_;
  StreamPair pair_{loop_.loop()};
  CodecStream<C> from_;
  CodecStream<C> to_;
};

}  // namespace sluice::codec_testing

#endif  // SLUICE_PROTOCOLS_CODEC_STREAM_EXAMPLE_TESTING_H_
