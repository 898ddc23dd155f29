#include "sluice/core/fake_resolver.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/resolver.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"

namespace sluice {
namespace {

using Family = SocketAddress::Family;
using AddressesOr = absl::StatusOr<std::vector<SocketAddress>>;

class FakeResolverTest : public testing::Test {
 protected:
  // Asks and awaits the answer.
  AddressesOr Ask(absl::string_view name, Family family, absl::Duration timeout = absl::Hours(1)) {
    std::optional<AddressesOr> answer;
    auto query = resolver_.Resolve(loop_, name, family, timeout,
                                   [&](AddressesOr addresses) { answer = std::move(addresses); });
    EXPECT_FALSE(answer.has_value());
    EXPECT_TRUE(network_.RunUntil([&] { return answer.has_value(); }, absl::Hours(2)));
    return answer.value_or(absl::UnknownError("no answer"));
  }

  SimulatedNetwork network_{1};
  EventLoop& loop_ = network_.AddHost("client").loop();
  FakeResolver resolver_;
};

TEST_F(FakeResolverTest, HeaderExample) {
  EventLoop& loop = loop_;
  std::vector<SocketAddress> got;
  const MonotonicTime start = network_.now();

  FakeResolver resolver;
  resolver.Set("example.com", SocketAddress::Family::kIpv6,
               {.addresses = FakeResolver::Addresses({"2001:db8::1", "2001:db8::2"}),
                .delay = absl::Milliseconds(80)});
  resolver.Set("example.com", SocketAddress::Family::kIpv4,
               {.addresses = absl::UnavailableError("SERVFAIL")});
  std::unique_ptr<Resolver::Query> query = resolver.Resolve(
      loop, "example.com", SocketAddress::Family::kIpv6, absl::Seconds(5),
      [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { got = *std::move(addresses); });

  ASSERT_TRUE(network_.RunUntil([&] { return !got.empty(); }, absl::Hours(1)));
  EXPECT_EQ(got[1].ToString(), "[2001:db8::2]:0");
  EXPECT_GE(network_.now() - start, absl::Milliseconds(80));
  EXPECT_LT(network_.now() - start, absl::Milliseconds(81));
}

TEST_F(FakeResolverTest, AnErrorNamesTheHost) {
  resolver_.Set("a.example", Family::kIpv4, {.addresses = absl::UnavailableError("SERVFAIL")});
  EXPECT_EQ(Ask("A.example", Family::kIpv4).status(),
            absl::UnavailableError("A.example: SERVFAIL"));
}

TEST_F(FakeResolverTest, ANameThatWasNotSetDoesNotExist) {
  resolver_.Set("a.example", Family::kIpv4, {.addresses = FakeResolver::Addresses({"10.0.0.1"})});
  EXPECT_EQ(Ask("b.example", Family::kIpv4).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Ask("a.example", Family::kIpv6)->size(), 0u);
  EXPECT_EQ(Ask("a.example", Family::kIpv4)->size(), 1u);
}

TEST_F(FakeResolverTest, AnswersOfAListComeOneAfterTheOther) {
  resolver_.Set("a.example", Family::kIpv4,
                {{.addresses = FakeResolver::Addresses({"10.0.0.1"})},
                 {.addresses = absl::UnavailableError("flaps")},
                 {.addresses = FakeResolver::Addresses({"10.0.0.2"})}});
  EXPECT_EQ(Ask("a.example", Family::kIpv4)->at(0).ToString(), "10.0.0.1:0");
  EXPECT_EQ(Ask("a.example", Family::kIpv4).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Ask("a.example", Family::kIpv4)->at(0).ToString(), "10.0.0.2:0");
  EXPECT_EQ(Ask("a.example", Family::kIpv4)->at(0).ToString(), "10.0.0.2:0");
}

TEST_F(FakeResolverTest, ASilentNameIsGivenUpAtTheDeadline) {
  resolver_.Set("a.example", Family::kIpv4, {.delay = absl::InfiniteDuration()});
  const MonotonicTime start = network_.now();
  EXPECT_EQ(Ask("a.example", Family::kIpv4, absl::Seconds(5)).status(),
            absl::DeadlineExceededError("a.example: no IPv4 address within 5s"));
  EXPECT_GE(network_.now() - start, absl::Seconds(5));
  EXPECT_EQ(resolver_.pending(), 0);
  EXPECT_EQ(resolver_.given_up(), 0);
}

TEST_F(FakeResolverTest, QuestionsAreCounted) {
  resolver_.Set("a.example", Family::kIpv4, {.delay = absl::Seconds(1)});
  EXPECT_TRUE(Ask("a.example", Family::kIpv4).ok());
  EXPECT_TRUE(Ask("a.example", Family::kIpv6).ok());
  EXPECT_TRUE(Ask("127.0.0.1", Family::kIpv4).ok());
  auto query = resolver_.Resolve(loop_, "a.example", Family::kIpv4, absl::Seconds(5),
                                 [](AddressesOr) { FAIL() << "answered after it was given up"; });
  EXPECT_EQ(resolver_.questions(), 3);
  EXPECT_EQ(resolver_.questions("A.EXAMPLE", Family::kIpv4), 2);
  EXPECT_EQ(resolver_.questions("a.example", Family::kIpv6), 1);
  EXPECT_EQ(resolver_.questions("b.example", Family::kIpv6), 0);
  EXPECT_EQ(resolver_.pending(), 1);
  EXPECT_EQ(resolver_.given_up(), 0);
  query.reset();
  EXPECT_EQ(resolver_.pending(), 0);
  EXPECT_EQ(resolver_.given_up(), 1);
  network_.RunFor(absl::Seconds(10));
}

}  // namespace
}  // namespace sluice
