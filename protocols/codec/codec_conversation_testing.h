// A conversation in a codec over a bad network: two CodecStreams on the simulated network
// (//core:simulation), which delays, cuts into small pieces, loses and sends again, and breaks
// connections. What arrives must be what was sent, in order, and whole unless the connection broke.
//
// Example:
//   TEST(ShortTextCodecTest, ConversesOverABadNetwork) {
//     codec_testing::ExpectConverses(ShortTextCodec(), [](std::minstd_rand& random) {
//       return std::string(random() % 256, 'x');
//     });
//   }
//
// Codecs and the generator are those of codec_testing.h. A protocol whose two directions differ
// gives two of each: a codec of one side encodes what the other side's decodes.
#ifndef SLUICE_PROTOCOLS_CODEC_CODEC_CONVERSATION_TESTING_H_
#define SLUICE_PROTOCOLS_CODEC_CODEC_CONVERSATION_TESTING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::codec_testing {

// One end: sends its messages, as fast as it may, ends, and writes down what it hears.
template <Codec C, typename M>
class Speaker : private CodecHandler<C> {
 public:
  explicit Speaker(std::vector<M> messages) : messages_(std::move(messages)) {}

  void Start(std::unique_ptr<Stream> stream, const C& codec) {
    Speak(CodecStream<C>::Run(std::move(stream), codec, *this));
  }

  // What of its messages was given to the stream.
  std::vector<std::string> said() const {
    std::vector<std::string> said;
    for (size_t i = 0; i < sent_; ++i) said.push_back(DescribeMessage(messages_[i]));
    return said;
  }
  bool has_said_all() const { return sent_ == messages_.size(); }
  const std::vector<std::string>& heard() const { return heard_; }
  // OnClose's status.
  const std::optional<absl::Status>& closed() const { return closed_; }

 private:
  void Speak(CodecStream<C>& stream) {
    while (!has_said_all()) {
      const SendResult result = stream.Send(ToEncode(messages_[sent_]));
      if (result == SendResult::kRefused) {
        if (stream.closing()) return;
        ADD_FAILURE() << "message " << sent_ << " cannot be encoded";
        return stream.Abort(absl::CancelledError("a message cannot be encoded"));
      }
      ++sent_;
      if (result == SendResult::kBlocked) return;
    }
    stream.ShutdownSend();
  }
  void OnMessage(CodecStream<C>&, typename C::Message message) override {
    heard_.push_back(DescribeMessage(message));
  }
  void OnSendReady(CodecStream<C>& stream) override { Speak(stream); }
  void OnReceiveEnd(CodecStream<C>& stream) override {
    if (has_said_all()) stream.Close();
  }
  void OnClose(CodecStream<C>&, const absl::Status& status) override { closed_ = status; }

  const std::vector<M> messages_;
  size_t sent_ = 0;
  std::vector<std::string> heard_;
  std::optional<absl::Status> closed_;
};

// The networks that are tried, one a seed.
SimulatedNetwork::Options BadNetwork(uint64_t seed);
inline constexpr uint64_t kBadNetworks = 20;
inline bool BreaksConnections(uint64_t seed) { return seed % 2 == 0; }

template <Codec Client, MessageGenerator ClientGenerate, Codec Server,
          MessageGenerator ServerGenerate>
void ExpectConverses(const Client& client_codec, ClientGenerate client_generate,
                     const Server& server_codec, ServerGenerate server_generate) {
  for (uint64_t seed = 1; seed <= kBadNetworks && !testing::Test::HasFailure(); ++seed) {
    std::minstd_rand random(static_cast<uint32_t>(seed));
    std::vector<std::decay_t<decltype(client_generate(random))>> questions;
    std::vector<std::decay_t<decltype(server_generate(random))>> answers;
    for (int i = 0; i < 50; ++i) questions.push_back(client_generate(random));
    for (int i = 0; i < 50; ++i) answers.push_back(server_generate(random));
    Speaker<Client, typename decltype(questions)::value_type> client(std::move(questions));
    Speaker<Server, typename decltype(answers)::value_type> server(std::move(answers));

    SimulatedNetwork network(seed, BadNetwork(seed));
    SimulatedHost& server_host = network.AddHost("server");
    SimulatedHost& client_host = network.AddHost("client");
    auto listener = Listener::Listen(
        server_host.loop(), server_host.Address(7), {},
        [&](std::unique_ptr<Stream> stream) { server.Start(std::move(stream), server_codec); });
    ASSERT_TRUE(listener.ok()) << listener.status();
    Connector connector(client_host.loop());
    connector.Connect(server_host.Address(7), {}, [&](auto stream) {
      ASSERT_TRUE(stream.ok()) << stream.status();
      client.Start(*std::move(stream), client_codec);
    });
    ASSERT_TRUE(
        network.RunUntil([&] { return client.closed() && server.closed(); }, absl::Hours(24)))
        << network.Describe();

    // A connection that broke is none of the codec's doing; what was heard before is right.
    const auto expect_heard = [&](const auto& speaker, const auto& listening) {
      std::vector<std::string> said = speaker.said();
      const std::vector<std::string>& heard = listening.heard();
      if (!listening.closed()->ok() && heard.size() < said.size()) said.resize(heard.size());
      EXPECT_EQ(heard, said) << network.Describe();
      EXPECT_NE(listening.closed()->code(), absl::StatusCode::kInvalidArgument)
          << *listening.closed();
    };
    expect_heard(client, server);
    expect_heard(server, client);
    if (!BreaksConnections(seed)) {
      EXPECT_EQ(*client.closed(), absl::OkStatus()) << network.Describe();
      EXPECT_EQ(*server.closed(), absl::OkStatus()) << network.Describe();
      EXPECT_TRUE(client.has_said_all() && server.has_said_all()) << network.Describe();
    }
  }
}

// The same of a protocol whose two directions are alike.
template <Codec C, MessageGenerator Generate>
void ExpectConverses(const C& codec, Generate generate) {
  ExpectConverses(codec, generate, codec, generate);
}

}  // namespace sluice::codec_testing

#endif  // SLUICE_PROTOCOLS_CODEC_CODEC_CONVERSATION_TESTING_H_
