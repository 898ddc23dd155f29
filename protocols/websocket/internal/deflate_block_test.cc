#include "sluice/protocols/websocket/internal/deflate_block.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace sluice::websocket::internal {
namespace {

int Unused(const std::string& block) {
  return UnusedBitsBehindBlock({reinterpret_cast<const uint8_t*>(block.data()), block.size()});
}

// Made by zlib, which ends a stream in the same way; the bits that are not the block's are those
// that may be changed.
struct Block {
  int unused;
  absl::string_view hex;
};
const std::vector<Block>& Blocks() {
  static const std::vector<Block> blocks = {
      {0,
       "3d8c4b0a80300c05af12ba0e82bf45bd4d91084235a5b56ebcbce4295d248b99c76892b31fc6e971"
       "c12d786bd422de77b3fe8a093ce57d15a6a6b7108b98bf35d643c0f18c415eb9b6d0374288c90072"
       "66993036d6da7618bc"},
      {1,
       "4d4dcb0a802010fc15f1bc04bd0ef637221b0496a2d9a59f8f99203aed3c77c4a4ac8773dd8c1b62"
       "aabafa58f52c4dc588c9650bda0fe384086d10aa884025b9526cbbded6dbe5853f410c8bc45f016f"
       "b804806ddab4881e"},
      {2,
       "258c4b0ac0200c44af22aea5d0dfc2de46240521ada2b59b5ebeccb80993f79271e6cdda2f999775"
       "73c6fb69ff6cb047a9290ad3d08c1c5173930171edcc19b409293d8a88609fda65b4b2108e472058"
       "f886908bdc343f"},
      {3,
       "1d8c4b0a80300c44af12ba0e82bf45bd4d291184684a6bbbf1f29259cce2cd6f98f65bb25a13a6b7"
       "7639933629f5ca12e3b4330d14e665dd90305991c705c4f00b291c9800bdeb4f2eb84c68208401f4"
       "8f1f"},
      {4,
       "3d8d5d0a80300c83afd20314c1bf871d47460561bab139cf2f49d197d02f4dd3528f68210cabca5d"
       "bb15e0bea566a027a77e9aca38cd0b3817bb98f0852b8e1170e26d4cb931cc81421f96cad74acb81"
       "117cf807be5141f90b"},
      {5,
       "354c3b0ac0200cbd4a700e85d676b0b711892048953ae6f2e5257448787f0d39dc4c4c63cae3bfe6"
       "bec45e4adb55fa58e2c67ec473beadc84f2cc404a8d8419ec954f55d6bc36782098403b61896bc05"
       "19ec03"},
      {6,
       "2d4c490a80300cfc4ae839086e87fa9b522214a22dadf5e2e765a29761f6525394ab76899a9bec41"
       "9bdc59fbf1e3e382db0c0a8ab9c8690a8489699ce6c50c5cc0b407ef8715090c04df17fa504cc86d"
       "05f202"},
      {7,
       "358ccd0a802010845f453c4bd0dfc1de466483606b45b34b2f9f3bd26599f9fc464974bd36d86d0f"
       "5cc899719a973b57024bf9888d497310011fe17a1274c0de1155fc3f7046af36a8987a3fac9d6b52"
       "bb8f9dc11c475f11224b41fb00"},
  };
  return blocks;
}

TEST(DeflateBlockTest, TellsHowManyBitsOfTheLastByteAreNotTheBlocks) {
  for (const Block& block : Blocks())
    EXPECT_EQ(Unused(absl::HexStringToBytes(block.hex)), block.unused) << block.hex;
}

TEST(DeflateBlockTest, ABlockWithoutCodesOfItsOwnDoesNotTell) {
  EXPECT_EQ(Unused(std::string("\x4b\x4c\x04\x00", 4)), -1) << "the fixed codes";
  EXPECT_EQ(Unused(std::string("\x01\x01\x00\xfe\xff\x61", 6)), -1) << "stored";
}

TEST(DeflateBlockTest, DamageIsNoBlock) {
  EXPECT_EQ(Unused(""), -1);
  EXPECT_EQ(Unused(std::string("\x05", 1)), -1);
  EXPECT_EQ(Unused(std::string(100, '\xff')), -1);
  const std::string whole = absl::HexStringToBytes(Blocks()[0].hex);
  for (size_t size = 0; size < whole.size(); ++size) {
    const int unused = Unused(whole.substr(0, size));
    EXPECT_GE(unused, -1);
    EXPECT_LT(unused, 8);
  }
}

}  // namespace
}  // namespace sluice::websocket::internal
