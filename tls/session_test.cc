// Resumption, application protocols, private keys elsewhere, OCSP, key logs, admission.
#include <sys/time.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/private_key.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SessionTest : public HandshakePair {
 protected:
  // Whether both sides say that the session was resumed. Tickets arrive with the first bytes.
  bool Resumes(absl::string_view host = "localhost") {
    pair_.emplace(loop_.loop());
    at_server_.reset();
    at_client_.reset();
    Handshake(host);
    if (!server_.ok() || !client_.ok()) {
      ADD_FAILURE() << server_.status() << client_.status();
      return false;
    }
    const bool resumed = (*client_)->resumed();
    EXPECT_EQ((*server_)->resumed(), resumed);
    EXPECT_EQ((*client_)->peer_certificates().size(), 1) << "of the session, when resumed";
    at_server_.emplace(*std::move(server_));
    at_client_.emplace(*std::move(client_));
    at_server_->stream().Send("hello");
    loop_.RunUntilIdle();
    EXPECT_EQ(at_client_->received(), "hello");
    return resumed;
  }

  void NewServerContext() { server_context_ = *ServerContext::Create(server_options_); }
};

TEST_F(SessionTest, ASecondConnectionResumes) {
  EXPECT_FALSE(Resumes());
  EXPECT_TRUE(Resumes());
  EXPECT_TRUE(Resumes());
}

TEST_F(SessionTest, TicketsNeedNoAnswer) {
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  // The server says nothing; the client reads its tickets all the same.
  at_client_.emplace(*std::move(client_));
  loop_.RunUntilIdle();
  EXPECT_TRUE(Resumes());
}

TEST_F(SessionTest, OfTls12Too) {
  server_options_.max_version = Version::kTls12;
  EXPECT_FALSE(Resumes());
  EXPECT_TRUE(Resumes());
}

TEST_F(SessionTest, NotWithoutTicketsOrCache) {
  server_options_.session_tickets = false;
  Resumes();
  EXPECT_FALSE(Resumes());
  server_options_.session_tickets = true;
  client_options_.session_cache_servers = 0;
  MakeContexts();
  Resumes();
  EXPECT_FALSE(Resumes());
}

TEST_F(SessionTest, ASessionIsForItsServerOnly) {
  EXPECT_FALSE(Resumes("localhost"));
  EXPECT_FALSE(Resumes("127.0.0.1"));
  EXPECT_TRUE(Resumes("localhost"));
}

TEST_F(SessionTest, TheCacheIsBounded) {
  client_options_.session_cache_servers = 1;
  EXPECT_FALSE(Resumes("localhost"));
  EXPECT_FALSE(Resumes("127.0.0.1"));
  EXPECT_FALSE(Resumes("localhost")) << "the other one has taken its place";
}

TEST_F(SessionTest, ResumptionOverANewContextThatSharesTheKeys) {
  EXPECT_FALSE(Resumes());
  NewServerContext();
  EXPECT_FALSE(Resumes()) << "with keys of its own";
  server_options_.ticket_keys = std::make_shared<TicketKeys>();
  NewServerContext();
  EXPECT_FALSE(Resumes());
  NewServerContext();
  EXPECT_TRUE(Resumes());
}

TEST_F(SessionTest, ResumptionAfterRotation) {
  TicketKeys::Options options;
  options.keep = 1;
  server_options_.ticket_keys = std::make_shared<TicketKeys>(options);
  EXPECT_FALSE(Resumes());
  server_options_.ticket_keys->Rotate();
  EXPECT_TRUE(Resumes()) << "the key before opens";
  server_options_.ticket_keys->Rotate();
  server_options_.ticket_keys->Rotate();
  EXPECT_FALSE(Resumes()) << "two keys ago";
  EXPECT_TRUE(Resumes());
}

TEST_F(SessionTest, KeysRotateOnTheClockOfTheLoop) {
  TicketKeys::Options options;
  options.keep = 0;
  options.rotate_after = absl::Hours(1);
  server_options_.ticket_keys = std::make_shared<TicketKeys>(options);
  EXPECT_FALSE(Resumes());
  loop_.Advance(absl::Minutes(50));
  EXPECT_TRUE(Resumes());
  loop_.Advance(absl::Minutes(20));
  EXPECT_FALSE(Resumes());
}

TEST_F(SessionTest, KeysThatMachinesShare) {
  const std::vector<std::string> secrets = {std::string(TicketKeys::kSecretBytes, 'a')};
  server_options_.ticket_keys = std::make_shared<TicketKeys>();
  ASSERT_TRUE(server_options_.ticket_keys->Use(secrets).ok());
  EXPECT_FALSE(Resumes());
  server_options_.ticket_keys = std::make_shared<TicketKeys>();
  ASSERT_TRUE(server_options_.ticket_keys->Use(secrets).ok());
  NewServerContext();
  EXPECT_TRUE(Resumes());
  const absl::Status error = server_options_.ticket_keys->Use({std::string("short")});
  EXPECT_THAT(Message(error), HasSubstr("it has 5 bytes; it must have 48"));
}

// A ticket of one machine's.
std::string Ticket(const TicketKeys& keys) {
  const std::string session = "a session";
  std::string sealed(session.size() + TicketKeys::kOverhead, 0);
  const size_t size = keys.Seal({reinterpret_cast<const uint8_t*>(session.data()), session.size()},
                                {reinterpret_cast<uint8_t*>(&sealed[0]), sealed.size()});
  EXPECT_EQ(size, sealed.size());
  return sealed;
}

bool Opens(const TicketKeys& keys, const std::string& ticket) {
  uint8_t session[64];
  size_t size = 0;
  return keys.Open({reinterpret_cast<const uint8_t*>(ticket.data()), ticket.size()},
                   absl::MakeSpan(session), size);
}

TEST(TicketKeysTest, KeysThatAreSharedDoNotRotateByTheClock) {
  const std::vector<std::string> secrets = {std::string(TicketKeys::kSecretBytes, 'a')};
  const std::vector<std::string> next = {std::string(TicketKeys::kSecretBytes, 'b'), secrets[0]};
  TicketKeys one, other;
  const MonotonicTime start = MonotonicTime() + absl::Hours(1);
  one.RotateWhenDue(start);  // it was in use before
  for (TicketKeys* keys : {&one, &other}) ASSERT_TRUE(keys->Use(secrets).ok());
  for (int day = 0; day < 10; ++day) {
    one.RotateWhenDue(start + day * absl::Hours(24));
    other.RotateWhenDue(start + day * absl::Hours(24));
    EXPECT_TRUE(Opens(other, Ticket(one))) << day;
    EXPECT_TRUE(Opens(one, Ticket(other))) << day;
  }
  ASSERT_TRUE(one.Use(next).ok());
  EXPECT_FALSE(Opens(other, Ticket(one)));
  EXPECT_TRUE(Opens(one, Ticket(other)));
}

TEST(TicketKeysTest, RotateTakesSharedKeysBackToTheirOwnClock) {
  TicketKeys::Options options;
  options.keep = 1;
  options.rotate_after = absl::Hours(12);
  TicketKeys keys(options);
  const MonotonicTime start = MonotonicTime() + absl::Hours(1);
  ASSERT_TRUE(keys.Use({std::string(TicketKeys::kSecretBytes, 'a')}).ok());
  const std::string shared = Ticket(keys);
  keys.Rotate();
  const std::string own = Ticket(keys);
  EXPECT_TRUE(Opens(keys, shared)) << "as the earlier key";
  keys.RotateWhenDue(start);
  keys.RotateWhenDue(start + absl::Hours(11));
  EXPECT_TRUE(Opens(keys, shared)) << "not due yet";
  keys.RotateWhenDue(start + absl::Hours(12));
  EXPECT_FALSE(Opens(keys, shared));
  EXPECT_TRUE(Opens(keys, own));
}

TEST_F(SessionTest, ASessionIsNotResumedWhereOtherClientsAreTrusted) {
  server_options_.ticket_keys = std::make_shared<TicketKeys>();
  EXPECT_FALSE(Resumes());
  server_options_.client_certificates = ClientCertificates::kRequest;
  server_options_.client_roots = Authority().roots();
  NewServerContext();
  EXPECT_FALSE(Resumes());
}

// What a server of these names makes of sessions that began with one for localhost and 127.0.0.1.
class SharedKeysTest : public SessionTest {
 protected:
  SharedKeysTest() {
    server_options_.ticket_keys = std::make_shared<TicketKeys>();
    client_options_.insecure_accept_any_certificate = true;
    EXPECT_FALSE(Resumes());
  }

  bool ResumesWith(const std::vector<Identity>& identities) {
    server_options_.identities = identities;
    NewServerContext();
    return Resumes();
  }
  static Identity For(const std::vector<std::string>& names) {
    return Authority().Issue({.names = names});
  }
};

TEST_F(SharedKeysTest, ARenewedCertificateForTheSameNamesResumes) {
  EXPECT_TRUE(ResumesWith({For({"localhost", "127.0.0.1"})}));
  EXPECT_TRUE(ResumesWith({For({"127.0.0.1", "LocalHost"})})) << "in another order and case";
  EXPECT_TRUE(ResumesWith({For({"127.0.0.1"}), For({"localhost"})})) << "on two certificates";
}

TEST_F(SharedKeysTest, ACertificateForOtherNamesDoesNotResume) {
  EXPECT_FALSE(ResumesWith({For({"example.org", "127.0.0.1"})})) << "another name";
  EXPECT_FALSE(ResumesWith({For({"localhost", "127.0.0.2"})})) << "another address";
  EXPECT_FALSE(ResumesWith({For({"localhost", "127.0.0.1"}), For({"example.org"})})) << "one more";
  EXPECT_FALSE(ResumesWith({For({"localhost"})})) << "one less";
  EXPECT_FALSE(ResumesWith({For({"localh", "ost"})})) << "the same letters";
}

// Of the server, where it looks at the time.
int64_t seconds_passed = 0;
void TellTime(const SSL*, timeval* now) { *now = {1800000000 + seconds_passed, 0}; }

TEST_F(SessionTest, AClientsCertificateIsAskedForAgainAfterTwoHours) {
  server_options_.client_certificates = ClientCertificates::kRequire;
  server_options_.client_roots = Authority().roots();
  client_options_.identity = {Authority().Issue()};
  for (const Version version : {Version::kTls12, Version::kTls13}) {
    server_options_.max_version = version;
    MakeContexts();
    SSL_CTX_set_current_time_cb(internal::ContextAccess::Of(*server_context_).ctx.get(), &TellTime);
    EXPECT_FALSE(Resumes());
    seconds_passed += 90 * 60;
    EXPECT_TRUE(Resumes());
    seconds_passed += 40 * 60;
    EXPECT_FALSE(Resumes()) << "although the ticket is younger";
    EXPECT_TRUE(Resumes());
  }
}

TEST_F(SessionTest, AClientLooksAtItsServersCertificateAgain) {
  int asked = 0;
  absl::Status verdict;
  client_options_.verify = [&](absl::Span<const Certificate> chain) {
    ++asked;
    EXPECT_EQ(chain.size(), 2);
    return verdict;
  };
  for (const Version version : {Version::kTls12, Version::kTls13}) {
    asked = 0;
    verdict = absl::OkStatus();
    server_options_.max_version = version;
    MakeContexts();
    EXPECT_FALSE(Resumes());
    EXPECT_TRUE(Resumes());
    EXPECT_EQ(asked, 2);
    verdict = absl::PermissionDeniedError("revoked meanwhile");
    HandshakeAgain();
    EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(Message(client_.status()), HasSubstr("revoked meanwhile"));
  }
}

// A server on each of several threads, one context for all.
TEST_F(SessionTest, ResumptionAcrossLoopsAndThreads) {
  server_options_.ticket_keys = std::make_shared<TicketKeys>();
  MakeContexts();
  const auto serve = [&](int connections, int& resumed) {
    for (int i = 0; i < connections; ++i) {
      VirtualLoop loop;
      StreamPair pair(loop.loop());
      StreamOr server = absl::UnknownError(""), client = absl::UnknownError("");
      Accept(pair.TakeServer(), server_context_, {}, [&](StreamOr s) { server = std::move(s); });
      Connect(pair.TakeClient(), client_context_, "localhost", {},
              [&](StreamOr s) { client = std::move(s); });
      loop.RunUntilIdle();
      ASSERT_TRUE(server.ok() && client.ok());
      resumed += (*client)->resumed() ? 1 : 0;
      StreamRecorder at_server(*std::move(server)), at_client(*std::move(client));
      at_server.stream().Send("hello");
      loop.RunUntilIdle();
      if (i % 8 == 0) server_options_.ticket_keys->Rotate();
    }
  };
  int first = 0;
  serve(1, first);
  EXPECT_EQ(first, 0);
  std::vector<int> resumed(4, 0);
  std::vector<std::thread> threads;
  for (int& count : resumed) threads.emplace_back([&] { serve(20, count); });
  for (std::thread& thread : threads) thread.join();
  int total = 0;
  for (const int count : resumed) total += count;
  EXPECT_GT(total, 20);
}

// Application protocols.

TEST_F(SessionTest, AFunctionChoosesTheApplicationProtocol) {
  std::vector<std::string> seen;
  server_options_.choose_alpn = [&](absl::Span<const absl::string_view> offered,
                                    absl::string_view name) -> absl::StatusOr<std::string> {
    seen.assign(offered.begin(), offered.end());
    seen.emplace_back(name);
    return std::string(offered.back());
  };
  client_options_.alpn = {"h2", "http/1.1"};
  Handshake();
  ASSERT_TRUE(server_.ok()) << server_.status();
  EXPECT_EQ((*client_)->alpn(), "http/1.1");
  EXPECT_THAT(seen, ElementsAre("h2", "http/1.1", "localhost"));
}

TEST_F(SessionTest, AFunctionMayRefuseTheApplicationProtocols) {
  server_options_.choose_alpn = [](absl::Span<const absl::string_view>, absl::string_view) {
    return absl::StatusOr<std::string>(absl::NotFoundError("nothing for me"));
  };
  client_options_.alpn = {"h2"};
  Handshake();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(server_.status()), HasSubstr("nothing for me"));
}

TEST_F(SessionTest, WithoutProtocolsNoneIsChosen) {
  server_options_.alpn = {"h2"};
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_EQ((*client_)->alpn(), "");
}

// OCSP and key logs.

TEST_F(SessionTest, AnOcspResponseIsStapled) {
  server_options_.identities[0].ocsp_response = "what the issuer says";
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_EQ((*client_)->ocsp_response(), "what the issuer says");
}

TEST_F(SessionTest, AnOcspResponseIsStapledToItsOwnCertificateOnly) {
  Identity stapled = Localhost();
  stapled.ocsp_response = "what the issuer says";
  const Identity other = Authority().Issue({.names = {"example.org"}});
  for (const auto& identities : {std::vector{stapled, other}, std::vector{other, stapled}}) {
    server_options_.identities = identities;
    MakeContexts();
    HandshakeAgain("example.org");
    ASSERT_TRUE(client_.ok()) << client_.status();
    EXPECT_EQ((*client_)->ocsp_response(), "");
    HandshakeAgain("localhost");
    ASSERT_TRUE(client_.ok()) << client_.status();
    EXPECT_EQ((*client_)->ocsp_response(), "what the issuer says");
  }
}

TEST_F(SessionTest, KeysAreLoggedOnlyOnRequest) {
  std::vector<std::string> lines;
  server_options_.key_log = [&](absl::string_view line) { lines.emplace_back(line); };
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_THAT(lines, ::testing::Contains(HasSubstr("SERVER_TRAFFIC_SECRET_0 ")));
}

// Private keys elsewhere.

class SlowKey : public PrivateKey {
 public:
  mutable std::vector<Done> waiting;
  mutable std::vector<SignatureAlgorithm> asked;
  bool at_once = false;
  bool leaves_error = false;

 private:
  void Sign(SignatureAlgorithm algorithm, absl::Span<const uint8_t> message,
            Done done) const override {
    asked.push_back(algorithm);
    if (leaves_error) ERR_put_error(ERR_LIB_USER, 0, 1, __FILE__, __LINE__);
    EXPECT_FALSE(message.empty());
    if (at_once) return done(absl::UnavailableError("the module is out of order"));
    waiting.push_back(std::move(done));
  }
};

class PrivateKeyTest : public SessionTest {
 protected:
  PrivateKeyTest() {
    server_options_.identities[0].key.clear();
    server_options_.identities[0].private_key = key_;
  }
  std::shared_ptr<SlowKey> key_ = std::make_shared<SlowKey>();
};

TEST_F(PrivateKeyTest, AHandshakeWaitsForItsSignature) {
  Handshake();
  ASSERT_EQ(key_->waiting.size(), 1);
  EXPECT_EQ(key_->asked[0], SignatureAlgorithm::kEcdsaP256Sha256);
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown);
  std::thread elsewhere([&] { key_->waiting[0](absl::UnavailableError("no such slot")); });
  elsewhere.join();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown);
  loop_.RunUntilIdle();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(server_.status()),
              HasSubstr("the private key could not be used: no such slot"));
}

TEST_F(PrivateKeyTest, AnAnswerAtOnceIsTakenLater) {
  key_->at_once = true;
  Handshake();
  EXPECT_THAT(Message(server_.status()), HasSubstr("the module is out of order"));
}

TEST_F(PrivateKeyTest, AnAnswerForAHandshakeThatIsGoneIsIgnored) {
  Handshake();
  ASSERT_EQ(key_->waiting.size(), 1);
  pair_->Break();
  loop_.RunUntilIdle();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnavailable);
  key_->waiting[0](std::string("a signature"));
  loop_.RunUntilIdle();
}

TEST_F(PrivateKeyTest, AWrongSignatureIsFoundByTheClient) {
  Handshake();
  ASSERT_EQ(key_->waiting.size(), 1);
  key_->waiting[0](std::string("not a signature"));
  loop_.RunUntilIdle();
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(client_.status()), HasSubstr("bad signature"));
}

TEST_F(PrivateKeyTest, AHandshakeThatWaitsHasADeadline) {
  Handshake();
  loop_.Advance(absl::Seconds(11));
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kDeadlineExceeded);
}

// Signs with a key in PEM, on a thread for each signature.
class ThreadedKey : public PrivateKey {
 public:
  explicit ThreadedKey(std::string pem) : pem_(std::move(pem)) {}
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void Sign(SignatureAlgorithm algorithm, absl::Span<const uint8_t> message,
            Done done) const override {
    threads_.emplace_back([this, algorithm, bytes = std::string(message.begin(), message.end()),
                           done = std::move(done)]() mutable {
      done(TestAuthority::SignMessage(pem_, algorithm, bytes));
    });
  }

  const std::string pem_;
  mutable std::vector<std::thread> threads_;
};

TEST_F(PrivateKeyTest, ASignatureFromAnotherThreadFinishesTheHandshake) {
  for (const TestAuthority::KeyType type :
       {TestAuthority::KeyType::kP256, TestAuthority::KeyType::kEd25519}) {
    Identity identity = Authority().Issue({.key = type});
    const auto key = std::make_shared<ThreadedKey>(std::exchange(identity.key, ""));
    identity.private_key = key;
    server_options_.identities = {identity};
    MakeContexts();
    HandshakeAgain();
    key->Join();
    loop_.RunUntilIdle();
    EXPECT_TRUE(server_.ok()) << server_.status();
    EXPECT_TRUE(client_.ok()) << client_.status();
  }
}

TEST_F(PrivateKeyTest, OneOfSeveralIdentities) {
  server_options_.identities.insert(server_options_.identities.begin(),
                                    Authority().Issue({.names = {"example.org"}}));
  Handshake();
  EXPECT_EQ(key_->waiting.size(), 1);
  HandshakeAgain("example.org");
  EXPECT_TRUE(client_.ok()) << client_.status();
  EXPECT_EQ(key_->waiting.size(), 1);
}

// What a user's functions leave behind.

void LeaveAnError() { ERR_put_error(ERR_LIB_USER, 0, 1, __FILE__, __LINE__); }

TEST_F(SessionTest, ErrorsThatVerifyLeavesInTheLibraryAreNotTheHandshakes) {
  client_options_.max_version = Version::kTls12;  // where more is to come afterwards
  client_options_.verify = [](absl::Span<const Certificate>) {
    LeaveAnError();
    return absl::OkStatus();
  };
  Handshake();
  EXPECT_TRUE(client_.ok()) << client_.status();
}

TEST_F(SessionTest, ErrorsThatTheChoiceOfAProtocolLeavesAreNotTheHandshakes) {
  server_options_.choose_alpn = [](absl::Span<const absl::string_view>, absl::string_view) {
    LeaveAnError();
    return absl::StatusOr<std::string>("h2");
  };
  client_options_.alpn = {"h2"};
  Handshake();
  EXPECT_TRUE(server_.ok()) << server_.status();
}

TEST_F(SessionTest, ErrorsThatAKeyLogLeavesAreNotTheHandshakes) {
  server_options_.key_log = [](absl::string_view) { LeaveAnError(); };
  Handshake();
  EXPECT_TRUE(server_.ok()) << server_.status();
}

TEST_F(PrivateKeyTest, ErrorsThatAKeyLeavesAreNotTheHandshakes) {
  key_->leaves_error = true;
  Handshake();
  EXPECT_EQ(key_->waiting.size(), 1);
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown)
      << "it waits: " << server_.status();
}

// Admission.

TEST_F(SessionTest, AStormOfHandshakesLeavesRoomInEachTurn) {
  MakeContexts();
  constexpr int kConnections = 100;
  std::deque<StreamPair> pairs;
  std::vector<StreamOr> done;
  int accepted = 0;
  std::vector<uint64_t> turns;
  for (int i = 0; i < kConnections; ++i) {
    StreamPair& pair = pairs.emplace_back(loop_.loop());
    Accept(pair.TakeServer(), server_context_, {}, [&](StreamOr stream) {
      ASSERT_TRUE(stream.ok()) << stream.status();
      ++accepted;
      turns.push_back(loop_.loop().counters().turns);
      done.push_back(std::move(stream));
    });
    Connect(pair.TakeClient(), client_context_, "localhost", {},
            [&](StreamOr stream) { done.push_back(std::move(stream)); });
  }
  loop_.RunUntilIdle();
  EXPECT_EQ(accepted, kConnections);
  // Three steps for each connection that cost something, eight a turn.
  EXPECT_GE(turns.back() - turns.front(), kConnections / 8);
  int most = 0;
  for (size_t i = 0; i < turns.size(); ++i) {
    int same = 0;
    for (const uint64_t turn : turns) same += turn == turns[i] ? 1 : 0;
    most = std::max(most, same);
  }
  EXPECT_LE(most, 8);
}

class AdmissionTest : public SessionTest {
 protected:
  AdmissionTest() {
    client_options_.alpn = {"h2"};
    server_options_.choose_alpn = [this](absl::Span<const absl::string_view>, absl::string_view) {
      CountTurn();
      return absl::StatusOr<std::string>("h2");
    };
  }

  void CountTurn() { ++by_turn_[loop_.loop().counters().turns]; }
  int MostInATurn() const {
    int most = 0;
    for (const auto& [turn, count] : by_turn_) most = std::max(most, count);
    return most;
  }

  // A connection to each of the hosts. What all clients say arrives at the same time, and what all
  // servers answer. Answers how many ends finish their handshakes.
  size_t Storm(const std::vector<std::string>& hosts) {
    by_turn_.clear();
    std::deque<StreamPair> pairs;
    std::deque<StreamRecorder> finished;
    const auto keep = [&](StreamOr stream) {
      if (stream.ok()) finished.emplace_back(*std::move(stream));
    };
    for (const std::string& host : hosts) {
      StreamPair& pair = pairs.emplace_back(loop_.loop());
      pair.to_client().set_max_chunk(chunk_);
      pair.to_server().Hold();
      pair.to_client().Hold();
      Accept(pair.TakeServer(), server_context_, {}, keep);
      Connect(pair.TakeClient(), client_context_, host, {}, keep);
    }
    loop_.RunUntilIdle();
    for (StreamPair& pair : pairs) pair.to_server().Release();
    loop_.RunUntilIdle();
    for (StreamPair& pair : pairs) pair.to_client().Release();
    loop_.RunUntilIdle();
    return finished.size();
  }

  // How many servers answer in one turn that have these identities, of 20.
  int MostAnswersInATurn(const std::vector<Identity>& identities) {
    server_options_.identities = identities;
    MakeContexts();
    EXPECT_EQ(Storm(std::vector<std::string>(20, "localhost")), 40);
    return MostInATurn();
  }

  size_t chunk_ = 64 * 1024;
  std::map<uint64_t, int> by_turn_;
};

TEST_F(AdmissionTest, HowManySignInATurnDependsOnTheKey) {
  using KeyType = TestAuthority::KeyType;
  const auto issue = [](KeyType key) { return Authority().Issue({.key = key}); };
  EXPECT_EQ(MostAnswersInATurn({issue(KeyType::kP256)}), 8);
  EXPECT_EQ(MostAnswersInATurn({issue(KeyType::kEd25519)}), 8);
  EXPECT_EQ(MostAnswersInATurn({issue(KeyType::kP384)}), 2);
  EXPECT_EQ(MostAnswersInATurn({issue(KeyType::kRsa2048)}), 2);
}

TEST_F(AdmissionTest, OfSeveralIdentitiesTheChosenOneCounts) {
  using KeyType = TestAuthority::KeyType;
  const Identity other = Authority().Issue({.names = {"example.org"}});
  const Identity other_rsa =
      Authority().Issue({.names = {"example.org"}, .key = KeyType::kRsa2048});
  const Identity rsa = Authority().Issue({.key = KeyType::kRsa2048});
  EXPECT_EQ(MostAnswersInATurn({other, rsa}), 2);
  EXPECT_EQ(MostAnswersInATurn({other_rsa, Localhost()}), 8);
}

TEST_F(AdmissionTest, AServerThatResumesDoesNotSign) {
  std::vector<std::string> hosts;
  for (char c = 'a'; c <= 't'; ++c) hosts.push_back(std::string(1, c) + ".example.org");
  server_options_.identities = {
      Authority().Issue({.names = hosts, .key = TestAuthority::KeyType::kRsa2048})};
  MakeContexts();
  EXPECT_EQ(Storm(hosts), 40);
  EXPECT_EQ(MostInATurn(), 2);
  EXPECT_EQ(Storm(hosts), 40);
  EXPECT_EQ(MostInATurn(), 8);
}

TEST_F(AdmissionTest, AKeyElsewhereCostsTheLoopLittle) {
  const auto key = std::make_shared<SlowKey>();
  key->at_once = true;  // and fails
  Identity rsa = Authority().Issue({.key = TestAuthority::KeyType::kRsa2048});
  rsa.key.clear();
  rsa.private_key = key;
  server_options_.identities = {rsa};
  MakeContexts();
  EXPECT_EQ(Storm(std::vector<std::string>(20, "localhost")), 0);
  EXPECT_EQ(MostInATurn(), 8);
}

// In TLS 1.2 a certificate can be read before there is anything to be said.
TEST_F(AdmissionTest, AStepThatVerifiesCountsThoughItSaysNothing) {
  client_options_.max_version = Version::kTls12;
  chunk_ = 100;
  client_options_.verify = [this](absl::Span<const Certificate>) {
    CountTurn();
    return absl::OkStatus();
  };
  server_options_.choose_alpn = {};
  MakeContexts();
  EXPECT_EQ(Storm(std::vector<std::string>(20, "localhost")), 40);
  EXPECT_EQ(MostInATurn(), 8);
}

}  // namespace
}  // namespace sluice::tls
