#include "sluice/protocols/websocket/close_code.h"

#include "gtest/gtest.h"

namespace sluice::websocket {
namespace {

// RFC 6455 section 7.4.2 and the registry.
TEST(CloseCodeTest, OnlyRegisteredAndPrivateCodesMayBeSent) {
  for (int code = 0; code <= 0xffff; ++code) {
    const bool registered = code == 1000 || code == 1001 || code == 1002 || code == 1003 ||
                            (code >= 1007 && code <= 1014);
    const bool of_applications = code >= 3000 && code <= 4999;
    ASSERT_EQ(MayBeSent(static_cast<uint16_t>(code)), registered || of_applications) << code;
  }
}

}  // namespace
}  // namespace sluice::websocket
