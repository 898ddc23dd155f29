#include "sluice/tools/sluice_main.h"

#include <initializer_list>
#include <string>
#include <vector>

#include "absl/flags/reflection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// What a program with one protocol of its own, and none besides, prints.
std::string Output(std::initializer_list<std::string> words) {
  absl::FlagSaver saver;
  ProtocolTable protocols;
  protocols.Add(CodecProtocol<framing::FrameCodec>({.name = "own"}));
  std::vector<std::string> arguments = {"/usr/bin/mine"};
  arguments.insert(arguments.end(), words);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  testing::internal::CaptureStdout();
  EXPECT_EQ(SluiceMain(protocols, static_cast<int>(argv.size()), argv.data()), 0);
  return testing::internal::GetCapturedStdout();
}

TEST(SluiceMainTest, AProgramIsCalledByItsName) {
  EXPECT_THAT(Output({"help"}), StartsWith("Usage: mine COMMAND "));
}

TEST(SluiceMainTest, TheFirstProtocolIsWhatEchoSpeaks) {
  EXPECT_THAT(Output({"help", "echo"}), HasSubstr("--protocol=own "));
}

TEST(SluiceMainTest, AProtocolMayBeTheOnlyOne) {
  EXPECT_THAT(Output({"codecs"}),
              StartsWith("own\n  URL      own://HOST:PORT, own+unix:///PATH\n"));
  EXPECT_THAT(Output({"help"}), Not(HasSubstr("demo")));  // which needs WebSocket
}

}  // namespace
}  // namespace sluice::tools
