#include "sluice/protocols/proxy/header_dialer.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/protocols/proxy/internal/dial_fixture.h"
#include "sluice/protocols/proxy/proxy_protocol.h"

namespace sluice::proxy {
namespace {

using ::testing::HasSubstr;

class HeaderDialerTest : public internal::DialFixture {
 protected:
  ProxyHeader header_ = {.version = ProxyHeader::Version::k1,
                         .source = *SocketAddress::Parse("192.0.2.1:5"),
                         .destination = *SocketAddress::Parse("192.0.2.2:6")};
  std::shared_ptr<const Dialer> direct_ = std::make_shared<DirectDialer>();
};

TEST_F(HeaderDialerTest, TheHeaderIsTheFirstThatTheServerGets) {
  Dial(HeaderDialer(direct_, header_), proxy());  // and the dialer goes
  ASSERT_TRUE(opened());
  EXPECT_EQ(Asked(), "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
  stream_->Send("hello");
  Run();
  EXPECT_EQ(Asked(), "hello");
  Answer("good day");
  EXPECT_EQ(Received(), "good day");
}

// As the header's example has it, with this in the place of TLS.
TEST_F(HeaderDialerTest, OneStandsOnAnother) {
  ProxyHeader second = header_;
  second.source = *SocketAddress::Parse("192.0.2.3:7");
  Dial(HeaderDialer(std::make_shared<proxy::HeaderDialer>(direct_, header_), second), proxy());
  EXPECT_EQ(Asked(),
            "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nPROXY TCP4 192.0.2.3 192.0.2.2 7 6\r\n");
}

TEST_F(HeaderDialerTest, ErrorsAreTheLowerDialers) {
  listener_.reset();
  Dial(HeaderDialer(direct_, header_), proxy());
  EXPECT_THAT(Error(), HasSubstr("10.0.0.1:3128: connect: "));
}

TEST_F(HeaderDialerTest, AHeaderThatCannotBeWrittenIsAnError) {
  header_.is_local = true;
  Dial(HeaderDialer(direct_, header_), proxy());
  EXPECT_EQ(status_.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(at_proxy_, nullptr);
}

}  // namespace
}  // namespace sluice::proxy
