#include "ticker.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/topics.h"

namespace ticker {
namespace {

namespace websocket = sluice::websocket;
using testing::ElementsAre;

// JSON as such servers have it: much the same again and again.
std::string Prices() {
  std::string text = "[";
  for (int i = 0; i < 200; ++i) absl::StrAppend(&text, R"({"name":"ABC","price":)", i, "},");
  return text + "{}]";
}

// What a client hears.
class Hearing final : public websocket::Handler {
 public:
  std::vector<std::string> heard;
  websocket::CloseCode closed = websocket::CloseCode::kNoStatus;

 private:
  void OnMessage(websocket::Connection&, const websocket::Message& message) override {
    heard.emplace_back(message.text());
  }
  void OnClose(websocket::Connection&, const websocket::CloseInfo& info) override {
    closed = info.code;
  }
};

// Two clients, joined with the ticker in memory; one can decompress.
class TickerTest : public testing::Test {
 protected:
  websocket::Connection& Connect(sluice::StreamPair& pair, const websocket::Client& client,
                                 Hearing& hearing) {
    ticker_.Serve(pair.TakeServer());
    websocket::Connection& connection = client.Open(pair.TakeClient(), hearing);
    loop_.RunUntilIdle();
    return connection;
  }
  static std::unique_ptr<websocket::Client> NewClient(
      std::shared_ptr<const websocket::Compression> compression) {
    websocket::Client::Options options;
    options.handshake.host = "example.org";
    options.connection.compression = std::move(compression);
    return *websocket::Client::Create(options);
  }

  // Handlers, servers and clients before the loop, whose end their connections see.
  websocket::Topics topics_{{}};
  Ticker ticker_{topics_};
  Hearing plain_hearing_, deflate_hearing_;
  const std::unique_ptr<websocket::Client> plain_client_ = NewClient(nullptr);
  const std::unique_ptr<websocket::Client> deflate_client_ =
      NewClient(*websocket::Deflate::Create({}));
  sluice::VirtualLoop loop_;
  sluice::StreamPair plain_pair_{loop_.loop()}, deflate_pair_{loop_.loop()};
  websocket::Connection& plain_ = Connect(plain_pair_, *plain_client_, plain_hearing_);
  websocket::Connection& deflate_ = Connect(deflate_pair_, *deflate_client_, deflate_hearing_);
};

TEST_F(TickerTest, TellsAllAndCompressesForThoseThatCan) {
  EXPECT_FALSE(plain_.compresses());
  EXPECT_TRUE(deflate_.compresses());
  const std::string prices = Prices();
  const uint64_t plain_before = plain_pair_.to_client().bytes_arrived();
  const uint64_t deflate_before = deflate_pair_.to_client().bytes_arrived();

  deflate_.SendText(prices);
  loop_.RunUntilIdle();
  EXPECT_THAT(plain_hearing_.heard, ElementsAre(prices));
  EXPECT_THAT(deflate_hearing_.heard, ElementsAre(prices));
  EXPECT_GT(plain_pair_.to_client().bytes_arrived() - plain_before, prices.size());
  EXPECT_LT(deflate_pair_.to_client().bytes_arrived() - deflate_before, prices.size() / 4);
  EXPECT_EQ(ticker_.counters().in.compressed_messages, 1);

  plain_.SendText("later");
  loop_.RunUntilIdle();
  EXPECT_THAT(plain_hearing_.heard, ElementsAre(prices, "later"));
  EXPECT_THAT(deflate_hearing_.heard, ElementsAre(prices, "later"));
}

TEST_F(TickerTest, WhatIsNoTextEndsTheConnection) {
  deflate_.SendBinary(std::vector<uint8_t>{1, 2, 3});
  loop_.RunUntilIdle();
  EXPECT_EQ(deflate_hearing_.closed, websocket::CloseCode::kUnsupportedData);
}

}  // namespace
}  // namespace ticker
