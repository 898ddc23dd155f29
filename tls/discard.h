// How a stream is left that is of no more use, but has an alert to deliver.
#ifndef SLUICE_TLS_DISCARD_H_
#define SLUICE_TLS_DISCARD_H_

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"

namespace sluice::tls {

class DiscardHandler : public StreamHandler {
  void OnReceive(Stream&, absl::Span<uint8_t>) override {}
};

// What was sent still leaves; what arrives is lost.
inline void CloseAndForget(std::unique_ptr<Stream> stream) {
  constexpr absl::Duration kLinger = absl::Seconds(1);
  static DiscardHandler* const discard = new DiscardHandler;
  Stream& forgotten = *stream;
  forgotten.SetLingerTimeout(kLinger);
  Stream::Run(std::move(stream), *discard);
  forgotten.Close();
}

}  // namespace sluice::tls

#endif  // SLUICE_TLS_DISCARD_H_
