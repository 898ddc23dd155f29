#include <cstddef>

#include "cobs/cobs_codec.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/sluice_main.h"

int main(int argc, char** argv) {
  sluice::tools::ProtocolTable protocols;
  protocols.Add(sluice::tools::CodecProtocol<cobs::CobsCodec>(
      {.name = "cobs",
       .summary = "messages that end with a 0, by consistent overhead byte stuffing",
       .message = "any bytes",
       .limits = "--max_message_bytes"},
      [](size_t max_message_bytes) { return cobs::CobsCodec(max_message_bytes); }));
  return sluice::tools::SluiceMain(protocols, argc, argv);
}
