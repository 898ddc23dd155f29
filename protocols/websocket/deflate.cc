#include "sluice/protocols/websocket/deflate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/protocols/websocket/internal/deflate_engine.h"

namespace sluice::websocket {
namespace {

using internal::DeflateEngine;
using internal::DeflateStream;
using internal::InflateStream;

constexpr char kName[] = "permessage-deflate";
constexpr char kServerNoContext[] = "server_no_context_takeover";
constexpr char kClientNoContext[] = "client_no_context_takeover";
constexpr char kServerWindow[] = "server_max_window_bits";
constexpr char kClientWindow[] = "client_max_window_bits";
constexpr int kLargestWindow = 15;
constexpr int kSmallestWindow = 8;
// zlib has none that is smaller.
constexpr int kSmallestSendWindow = 9;
constexpr size_t kDefaultBudget = size_t{64} << 20;

// What an offer or an answer says.
struct Parameters {
  bool server_no_context = false;
  bool client_no_context = false;
  int server_window = 0;  // 0: not there
  int client_window = 0;
  bool client_window_offered = false;  // perhaps without a number
};

// From 8 to 15, in nothing but digits and without a leading zero. 0 for anything else.
int WindowBits(const Extension::Parameter& parameter) {
  for (int bits = kSmallestWindow; bits <= kLargestWindow; ++bits) {
    if (parameter.value == absl::StrCat(bits)) return bits;
  }
  return 0;
}

// Sets a flag that may be there once, and has no value.
bool SetFlag(const Extension::Parameter& parameter, bool& flag) {
  return !parameter.value.has_value() && !std::exchange(flag, true);
}

// Empty when it is in order, else what is not.
absl::string_view Read(const Extension& extension, bool is_offer, Parameters& parameters) {
  for (const Extension::Parameter& parameter : extension.parameters) {
    bool good = false;
    if (parameter.name == kServerNoContext) {
      good = SetFlag(parameter, parameters.server_no_context);
    } else if (parameter.name == kClientNoContext) {
      good = SetFlag(parameter, parameters.client_no_context);
    } else if (parameter.name == kServerWindow) {
      good = parameters.server_window == 0;
      parameters.server_window = WindowBits(parameter);
      good = good && parameters.server_window != 0;
    } else if (parameter.name == kClientWindow) {
      good = !std::exchange(parameters.client_window_offered, true);
      parameters.client_window = WindowBits(parameter);
      good = good && (parameters.client_window != 0 || (is_offer && !parameter.value.has_value()));
    }
    if (!good) return parameter.name;
  }
  return {};
}

std::string Number(int bits) { return absl::StrCat(bits); }

}  // namespace

bool ContextBudget::Take(size_t bytes) {
  size_t used = used_bytes();
  do {
    if (used > max_bytes_ || bytes > max_bytes_ - used) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return true;
}

// What one connection has agreed on, from this side.
struct Deflate::Terms {
  bool send_context = false;
  bool receive_context = false;
  int send_window = kLargestWindow;
  int receive_window = kLargestWindow;
};

// Of a connection that has agreed on contexts, or on a smaller window; and one for all the others,
// which needs to remember nothing.
class Deflate::TermsSession final : public Compression::Session {
 public:
  TermsSession(const Deflate& deflate, const Terms& terms, size_t taken)
      : deflate_(deflate), send_window_(terms.send_window), taken_(taken) {
    if (terms.send_context)
      send_ = std::make_unique<DeflateStream>(deflate.options_.level, terms.send_window);
    if (terms.receive_context) receive_ = std::make_unique<InflateStream>(terms.receive_window);
  }

  absl::Span<const uint8_t> Compress(absl::Span<const uint8_t> message) override {
    if (message.size() < deflate_.options_.min_message_bytes) return {};
    DeflateEngine& engine = DeflateEngine::OfThread();
    if (send_ != nullptr) return engine.Compress(*send_, message);
    return engine.Compress(deflate_.options_.level, send_window_, message);
  }

  Message Decompress(absl::Span<const uint8_t> compressed, uint64_t max_bytes) override {
    DeflateEngine& engine = DeflateEngine::OfThread();
    if (receive_ != nullptr) return engine.Decompress(*receive_, compressed, max_bytes);
    return engine.Decompress(compressed, max_bytes);
  }

  std::unique_ptr<Decompression> StartDecompression(uint64_t max_bytes) override {
    return DeflateEngine::StartDecompression(receive_.get(), max_bytes);
  }

  bool MaySendAlone(size_t message_bytes) override {
    if (message_bytes > size_t{1} << send_window_) return false;
    if (send_ != nullptr) send_->Forget();
    return true;
  }

  void Release() override {
    if (this == deflate_.shared_.get()) return;
    if (taken_ != 0) deflate_.options_.budget->Give(taken_);
    delete this;
  }

 private:
  const Deflate& deflate_;
  const int send_window_;
  const size_t taken_;  // of the budget
  std::unique_ptr<DeflateStream> send_;
  std::unique_ptr<InflateStream> receive_;
};

absl::StatusOr<std::shared_ptr<const Deflate>> Deflate::Create(const DeflateOptions& options) {
  const auto outside = [](absl::string_view what, int value, int low, int high) {
    return absl::InvalidArgumentError(
        absl::StrCat(kName, ": ", what, " is ", value, "; it may be from ", low, " to ", high));
  };
  if (options.level < 1 || options.level > 9) return outside("level", options.level, 1, 9);
  if (options.send_window_bits < kSmallestSendWindow || options.send_window_bits > kLargestWindow) {
    return outside("send_window_bits", options.send_window_bits, kSmallestSendWindow,
                   kLargestWindow);
  }
  if (options.receive_window_bits < kSmallestWindow ||
      options.receive_window_bits > kLargestWindow) {
    return outside("receive_window_bits", options.receive_window_bits, kSmallestWindow,
                   kLargestWindow);
  }
  DeflateOptions complete = options;
  if (complete.budget == nullptr) complete.budget = std::make_shared<ContextBudget>(kDefaultBudget);
  return std::shared_ptr<const Deflate>(new Deflate(complete));
}

Deflate::Deflate(const DeflateOptions& options)
    : options_(options), shared_(std::make_unique<TermsSession>(*this, Terms(), /*taken=*/0)) {}

Deflate::~Deflate() = default;

absl::Span<const uint8_t> Deflate::CompressAlone(absl::Span<const uint8_t> message) const {
  return shared_->Compress(message);
}

// What the contexts of these terms cost. Where that is not to be had, there are none.
size_t Deflate::TakeBudget(Terms& terms) const {
  const size_t send = terms.send_context ? DeflateStream::MemoryBytes(terms.send_window) : 0;
  const size_t receive =
      terms.receive_context ? InflateStream::MemoryBytes(terms.receive_window) : 0;
  if (options_.budget->Take(send + receive)) return send + receive;
  terms.send_context = terms.receive_context = false;
  return 0;
}

Compression::SessionPtr Deflate::NewSession(const Terms& terms, size_t taken) const {
  if (!terms.send_context && !terms.receive_context && terms.send_window == kLargestWindow)
    return SessionPtr(shared_.get());
  return SessionPtr(new TermsSession(*this, terms, taken));
}

Compression::Accepted Deflate::Accept(absl::Span<const Extension> offers) const {
  for (const Extension& offer : offers) {
    Parameters offered;
    if (offer.name != kName || !Read(offer, /*is_offer=*/true, offered).empty()) continue;
    Terms terms;
    terms.send_window = options_.send_window_bits;
    if (offered.server_window != 0)
      terms.send_window = std::min(terms.send_window, offered.server_window);
    terms.send_context = options_.send_context && !offered.server_no_context &&
                         terms.send_window >= kSmallestSendWindow;
    terms.receive_context = options_.receive_context && !offered.client_no_context;
    if (offered.client_window_offered) {
      terms.receive_window = options_.receive_window_bits;
      if (offered.client_window != 0)
        terms.receive_window = std::min(terms.receive_window, offered.client_window);
    }
    const size_t taken = TakeBudget(terms);

    Accepted accepted;
    accepted.answer.name = kName;
    std::vector<Extension::Parameter>& answer = accepted.answer.parameters;
    if (!terms.send_context) answer.push_back({kServerNoContext});
    if (!terms.receive_context) answer.push_back({kClientNoContext});
    if (terms.send_window != kLargestWindow || offered.server_window != 0)
      answer.push_back({kServerWindow, Number(terms.send_window)});
    if (terms.receive_window != kLargestWindow)
      answer.push_back({kClientWindow, Number(terms.receive_window)});
    accepted.session = NewSession(terms, taken);
    return accepted;
  }
  return {};
}

// With client_max_window_bits the server may ask for a smaller window; it asks for nothing that a
// client cannot do. (8 bits it gets by messages that are no longer than that.)
std::vector<Extension> Deflate::Offer() const {
  Extension offer{kName};
  if (!options_.receive_context) offer.parameters.push_back({kServerNoContext});
  if (!options_.send_context) offer.parameters.push_back({kClientNoContext});
  if (options_.receive_window_bits != kLargestWindow)
    offer.parameters.push_back({kServerWindow, Number(options_.receive_window_bits)});
  if (options_.send_window_bits != kLargestWindow) {
    offer.parameters.push_back({kClientWindow, Number(options_.send_window_bits)});
  } else {
    offer.parameters.push_back({kClientWindow});
  }
  return {offer};
}

absl::StatusOr<Compression::SessionPtr> Deflate::Agree(const Extension& answer) const {
  const auto broken = [](absl::string_view parameter, absl::string_view why) {
    return absl::FailedPreconditionError(
        absl::StrCat(kName, ": the answer's \"", parameter, "\" ", why));
  };
  if (answer.name != kName)
    return absl::FailedPreconditionError(absl::StrCat("\"", answer.name, "\" was not offered"));
  Parameters agreed;
  if (const absl::string_view wrong = Read(answer, /*is_offer=*/false, agreed); !wrong.empty())
    return broken(wrong, "is unknown, there twice or has a value that it cannot have");
  if (!options_.receive_context && !agreed.server_no_context)
    return broken(kServerNoContext, "is missing, though it was asked for");
  Terms terms;
  terms.receive_window = agreed.server_window == 0 ? kLargestWindow : agreed.server_window;
  if (terms.receive_window > options_.receive_window_bits)
    return broken(kServerWindow, "is missing or more than was asked for");
  terms.send_window = options_.send_window_bits;
  if (agreed.client_window != 0) {
    if (agreed.client_window > options_.send_window_bits)
      return broken(kClientWindow, "is more than was offered");
    terms.send_window = agreed.client_window;
  }
  terms.send_context = options_.send_context && !agreed.client_no_context &&
                       terms.send_window >= kSmallestSendWindow;
  terms.receive_context = !agreed.server_no_context;
  // The server will use its context, whatever is left here of the budget; ours can be left out.
  const bool needs_context = terms.receive_context;
  size_t taken = TakeBudget(terms);
  if (needs_context && !terms.receive_context) {
    terms.receive_context = true;
    taken = InflateStream::MemoryBytes(terms.receive_window);
    options_.budget->TakeAnyway(taken);
  }
  return NewSession(terms, taken);
}

}  // namespace sluice::websocket
