#include "sluice/tools/proxy_flag.h"

#include <memory>
#include <string>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/protocols/proxy/http_connect.h"
#include "sluice/protocols/proxy/socks5.h"

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// "URL user password", or the error.
std::string Parse(absl::string_view text) {
  const absl::StatusOr<ProxyUrl> url = ParseProxyUrl(text);
  if (!url.ok()) return std::string(url.status().message());
  return absl::StrCat(url->ToString(), " ", url->user, " ", url->password);
}

TEST(ProxyUrlTest, BothKindsByAddressAndByName) {
  EXPECT_EQ(Parse("http://10.0.0.1:3128"), "http://10.0.0.1:3128  ");
  EXPECT_EQ(Parse("http://proxy.example:80/"), "http://proxy.example:80  ");
  EXPECT_EQ(Parse("socks5://[::1]:1080"), "socks5://[::1]:1080  ");
}

TEST(ProxyUrlTest, UserNameAndPasswordAreDecoded) {
  EXPECT_EQ(Parse("http://me@p:1"), "http://p:1 me ");
  EXPECT_EQ(Parse("socks5://me:secret@p:1"), "socks5://p:1 me secret");
  EXPECT_EQ(Parse("http://a%40b:c%3ad%2F%25@p:1"), "http://p:1 a@b c:d/%");
  EXPECT_EQ(Parse("http://me:a@b:c@p:1"), "http://p:1 me a@b:c");
}

TEST(ProxyUrlTest, WhatIsNoneIsToldWhatIs) {
  for (const char* text : {"", "10.0.0.1:3128", "https://p:1", "socks4://p:1", "http+unix:///p",
                           "unix:///p", "://p:1"}) {
    EXPECT_THAT(Parse(text), HasSubstr("accepted are http://[USER[:PASSWORD]@]HOST:PORT and "
                                       "socks5://[USER:PASSWORD@]HOST:PORT"))
        << text;
  }
  EXPECT_THAT(Parse("http://p"), HasSubstr("there is no port: http://p:PORT"));
  EXPECT_THAT(Parse("http://p:0"), HasSubstr("the port is 0"));
  EXPECT_THAT(Parse("socks5://p:1/x"), HasSubstr("nothing may follow the port of socks5://"));
  EXPECT_THAT(Parse("http://a b:1"), HasSubstr("is no host"));
}

TEST(ProxyUrlTest, ErrorsDoNotTellThePassword) {
  EXPECT_THAT(Parse("http://me:s3cret@p"), AllOf(HasSubstr("http://p"), Not(HasSubstr("s3cret"))));
  EXPECT_THAT(Parse("http://me:s3cret%@p:1"),
              AllOf(HasSubstr("two hexadecimal digits"), Not(HasSubstr("s3cret"))));
  EXPECT_THAT(Parse("ftp://me:s3cret@p:1"), Not(HasSubstr("s3cret")));
}

TEST(ProxyUrlTest, ErrorsDoNotTellThePasswordOfWhoForgetsTheHost) {
  for (const char* text : {"http://me:s3cret", "http://me:s3cret/", "socks5://me:s3cret:1080",
                           "http://me:1:s3cret", "http://me:70000s3cret", "http://me:s3cret/x"}) {
    EXPECT_THAT(Parse(text), AllOf(HasSubstr("accepted are http://"), Not(HasSubstr("s3cret"))))
        << text;
  }
  EXPECT_THAT(Parse("http://me:70001"), Not(HasSubstr("70001")));
}

class ProxyFlagTest : public testing::Test {
 protected:
  absl::StatusOr<ProxyFlag> Read(absl::string_view value) {
    std::string error;
    EXPECT_TRUE(absl::FindCommandLineFlag("proxy")->ParseFrom(value, &error)) << error;
    return ReadProxyFlag(lower_);
  }

  const absl::FlagSaver saver_;
  const std::shared_ptr<const Dialer> lower_ = std::make_shared<DirectDialer>();
};

TEST_F(ProxyFlagTest, WithoutItTheConnectionIsTheLowerOne) {
  const auto flag = Read("");
  ASSERT_TRUE(flag.ok()) << flag.status();
  EXPECT_EQ(flag->dialer, lower_);
  EXPECT_EQ(flag->proxy, "");
}

TEST_F(ProxyFlagTest, TheSchemeSaysWhichDialer) {
  const auto http = Read("http://me:secret@10.0.0.1:3128");
  ASSERT_TRUE(http.ok()) << http.status();
  EXPECT_NE(dynamic_cast<const proxy::HttpConnectDialer*>(http->dialer.get()), nullptr);
  EXPECT_EQ(http->proxy, "http://10.0.0.1:3128");
  const auto socks = Read("socks5://10.0.0.1:1080");
  ASSERT_TRUE(socks.ok()) << socks.status();
  EXPECT_NE(dynamic_cast<const proxy::Socks5Dialer*>(socks->dialer.get()), nullptr);
}

TEST_F(ProxyFlagTest, ErrorsNameTheFlag) {
  for (const char* value : {"nonsense", "http://:secret@p:1", "http://a%3ab@p:1", "socks5://me@p:1",
                            "socks5://:secret@p:1"}) {
    const auto flag = Read(value);
    EXPECT_THAT(std::string(flag.status().message()), testing::StartsWith("--proxy: ")) << value;
    EXPECT_THAT(std::string(flag.status().message()), Not(HasSubstr("secret")));
  }
}

}  // namespace
}  // namespace sluice::tools
