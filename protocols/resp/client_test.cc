#include "sluice/protocols/resp/client.h"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/value.h"

namespace sluice::resp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A client, the bytes that it sends, and what becomes of its calls: "reply NAME: TEXT".
class ClientTest : public testing::Test, public Client::Handler {
 protected:
  ClientTest()
      : pair_(loop_.loop()),
        server_(pair_.TakeServer()),
        client_(
            std::make_unique<Client>(pair_.TakeClient(), Client::Options{.max_calls = 5}, *this)) {}

  void Call(const Arguments& command, absl::string_view name) {
    EXPECT_NE(client_->Call(command, Recording(name)), SendResult::kRefused);
  }
  Client::ReplyFunction Recording(absl::string_view name) {
    return [this, name = std::string(name)](absl::StatusOr<Value> reply) {
      events_.push_back(absl::StrCat(
          "reply ", name, ": ",
          reply.ok() ? DescribeMessage(*reply) : std::string(reply.status().message())));
    };
  }
  void ServerSends(absl::string_view bytes) {
    server_.stream().Send(bytes);
    loop_.RunUntilIdle();
  }
  std::vector<std::string> Events() { return std::exchange(events_, {}); }

  void OnPush(Client&, const Value& push) override {
    events_.push_back(absl::StrCat("push: ", DescribeMessage(push)));
  }
  void OnClose(Client&, const absl::Status& status) override {
    events_.push_back(absl::StrCat("closed: ", status.message()));
  }

  std::vector<std::string> events_;
  VirtualLoop loop_;
  StreamPair pair_;
  StreamRecorder server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, HeaderExample) {
  class Cache : public sluice::resp::Client::Handler {};
  StreamPair pair(loop_.loop());
  std::unique_ptr<Stream> stream = pair.TakeClient();
  StreamRecorder server(pair.TakeServer());
  std::string greeting;
  Cache cache;
  sluice::resp::Client client(std::move(stream), {}, cache);
  client.Call({"SET", "greeting", "hello"}, [](absl::StatusOr<Value>) {});
  client.Call({"GET", "greeting"}, [&](absl::StatusOr<Value> reply) {
    if (reply.ok()) greeting = std::string(reply->string());
  });
  loop_.RunUntilIdle();
  EXPECT_EQ(server.received(),
            "*3\r\n$3\r\nSET\r\n$8\r\ngreeting\r\n$5\r\nhello\r\n"
            "*2\r\n$3\r\nGET\r\n$8\r\ngreeting\r\n");
  server.stream().Send("+OK\r\n$5\r\nhello\r\n");
  loop_.RunUntilIdle();
  EXPECT_EQ(greeting, "hello");
}

TEST_F(ClientTest, RepliesGoToTheirCommandsInOrder) {
  Call({"GET", "a"}, "a");
  Call({"GET", "b"}, "b");
  Call({"BAD"}, "c");
  EXPECT_EQ(client_->calls(), 3u);
  ServerSends("$1\r\n1\r\n$-1\r\n-ERR unk");
  EXPECT_THAT(Events(), ElementsAre("reply a: $1\r\n1\r\n", "reply b: _\r\n"));
  ServerSends("nown\r\n");
  EXPECT_THAT(Events(), ElementsAre("reply c: -ERR unknown\r\n"));
  EXPECT_EQ(client_->calls(), 0u);
}

TEST_F(ClientTest, PushesGoToTheHandlerAndDisturbNoReply) {
  Call({"GET", "a"}, "a");
  ServerSends(">2\r\n+invalidate\r\n*1\r\n+k\r\n+1\r\n>1\r\n+message\r\n");
  EXPECT_THAT(Events(), ElementsAre("push: >2\r\n+invalidate\r\n*1\r\n+k\r\n", "reply a: +1\r\n",
                                    "push: >1\r\n+message\r\n"));
}

TEST_F(ClientTest, ASubscriptionIsAnsweredByItsLastConfirmation) {
  Call({"GET", "a"}, "a");
  Call({"SUBSCRIBE", "x", "y"}, "subscribe");
  Call({"GET", "b"}, "b");
  const std::string x = ">3\r\n+subscribe\r\n+x\r\n:1\r\n";
  const std::string y = ">3\r\n+subscribe\r\n+y\r\n:2\r\n";
  const std::string message = ">3\r\n+message\r\n+x\r\n+hi\r\n";
  ServerSends("+1\r\n" + x + message + y + "+2\r\n");
  EXPECT_THAT(Events(), ElementsAre("reply a: +1\r\n", "push: " + x, "push: " + message,
                                    "reply subscribe: " + y, "reply b: +2\r\n"));
}

TEST_F(ClientTest, ASubscriptionMayBeRefused) {
  Call({"subscribe", "x"}, "subscribe");
  Call({"GET", "b"}, "b");
  ServerSends("-NOPERM no\r\n+2\r\n");
  EXPECT_THAT(Events(), ElementsAre("reply subscribe: -NOPERM no\r\n", "reply b: +2\r\n"));
}

TEST_F(ClientTest, ConfirmationsOfRespTwoAreArrays) {
  Call({"SUBSCRIBE", "x"}, "subscribe");
  ServerSends("*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
  EXPECT_THAT(Events(), ElementsAre("reply subscribe: *3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"));
}

TEST_F(ClientTest, RefusesWhatCannotBeSent) {
  EXPECT_EQ(client_->Call(Arguments({}), Recording("none")), SendResult::kRefused);
  EXPECT_EQ(client_->Call({"UNSUBSCRIBE"}, Recording("none")), SendResult::kRefused);
  for (int i = 0; i < 5; ++i) Call({"PING"}, "ping");
  EXPECT_EQ(client_->Call({"PING"}, Recording("none")), SendResult::kRefused);
  EXPECT_EQ(client_->calls(), 5u);
  ServerSends("+PONG\r\n");
  EXPECT_EQ(client_->Call({"PING"}, Recording("ping")), SendResult::kSent);
}

TEST_F(ClientTest, CallsThatAreNotAnsweredHearOfTheEnd) {
  Call({"GET", "a"}, "a");
  Call({"GET", "b"}, "b");
  loop_.RunUntilIdle();
  server_.stream().Send("+1\r\n");
  server_.stream().Close();
  loop_.RunUntilIdle();
  EXPECT_THAT(Events(), ElementsAre("reply a: +1\r\n",
                                    "reply b: the connection ended before the reply", "closed: "));
  EXPECT_EQ(client_->Call({"GET", "c"}, Recording("c")), SendResult::kRefused);
}

TEST_F(ClientTest, AReplyThatNobodyAskedForEndsTheConnection) {
  ServerSends("+surprise\r\n");
  EXPECT_THAT(Events(), ElementsAre("closed: a reply that no command has asked for"));
}

TEST_F(ClientTest, BytesThatAreNoReplyEndTheConnection) {
  Call({"GET", "a"}, "a");
  ServerSends("HTTP/1.1 400 Bad Request\r\n");
  const std::vector<std::string> events = Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_THAT(events[0], testing::HasSubstr("a value begins with byte 72"));
  EXPECT_THAT(events[1], testing::HasSubstr("a value begins with byte 72"));
}

TEST_F(ClientTest, MayBeDestroyedInAReply) {
  client_->Call({"GET", "a"}, [&](absl::StatusOr<Value>) { client_.reset(); });
  Call({"GET", "b"}, "b");
  ServerSends("+1\r\n+2\r\n");
  EXPECT_THAT(Events(), IsEmpty());
}

TEST_F(ClientTest, MayBeDestroyedWhereACallHearsOfTheEnd) {
  client_->Call({"GET", "a"}, [&](absl::StatusOr<Value>) { client_.reset(); });
  Call({"GET", "b"}, "b");
  pair_.Break();
  loop_.RunUntilIdle();
  EXPECT_EQ(client_, nullptr);
  EXPECT_THAT(Events(), IsEmpty());
}

TEST_F(ClientTest, AReplyIsThereUntilItsCallbackReturnsThoughThatDestroysTheClient) {
  std::string seen;
  client_->Call({"LRANGE", "l", "0", "-1"}, [&](absl::StatusOr<Value> reply) {
    client_.reset();
    seen = DescribeMessage(*reply);
  });
  ServerSends("*2\r\n$1\r\na\r\n*1\r\n:7\r\n");
  EXPECT_EQ(seen, "*2\r\n$1\r\na\r\n*1\r\n:7\r\n");
}

TEST_F(ClientTest, APushIsThereUntilItsCallbackReturnsThoughThatDestroysTheClient) {
  class Leaving : public Client::Handler {
   public:
    void OnPush(Client&, const Value& push) override {
      client.reset();
      seen = DescribeMessage(push);
    }
    std::unique_ptr<Client> client;
    std::string seen;
  };
  StreamPair pair(loop_.loop());
  StreamRecorder server(pair.TakeServer());
  Leaving handler;
  handler.client = std::make_unique<Client>(pair.TakeClient(), Client::Options(), handler);
  server.stream().Send(">2\r\n+message\r\n*1\r\n:7\r\n");
  loop_.RunUntilIdle();
  EXPECT_EQ(handler.seen, ">2\r\n+message\r\n*1\r\n:7\r\n");
}

TEST_F(ClientTest, ACallMayBeMadeInAReply) {
  client_->Call({"GET", "a"}, [&](absl::StatusOr<Value>) { Call({"GET", "b"}, "b"); });
  ServerSends("+1\r\n");
  ServerSends("+2\r\n");
  EXPECT_THAT(Events(), ElementsAre("reply b: +2\r\n"));
}

TEST_F(ClientTest, ADrainWaitsForTheReplies) {
  Call({"GET", "a"}, "a");
  server_.KeepOpen();
  bool drained = false;
  loop_.loop().Drain(absl::Seconds(5), [&] { drained = true; });
  loop_.RunUntilIdle();
  EXPECT_EQ(client_->Call({"GET", "b"}, Recording("b")), SendResult::kRefused);
  EXPECT_FALSE(drained);
  ServerSends("+1\r\n");
  EXPECT_TRUE(server_.ended());
  server_.stream().Close();
  loop_.RunUntilIdle();
  EXPECT_TRUE(drained);
  EXPECT_THAT(Events(), ElementsAre("reply a: +1\r\n", "closed: "));
}

}  // namespace
}  // namespace sluice::resp
