#include "sluice/core/fake_resolver.h"

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/host_name.h"
#include "sluice/core/internal/resolver_query.h"
#include "sluice/core/timer.h"

namespace sluice {

using Family = SocketAddress::Family;

struct FakeResolver::State {
  struct Script {
    std::vector<Answer> answers;
    size_t next = 0;
    int questions = 0;
  };
  using Key = std::pair<std::string, Family>;

  static Key KeyOf(absl::string_view name, Family family) {
    return {absl::AsciiStrToLower(name), family};
  }

  Answer NextAnswer(absl::string_view name, Family family);

  mutable std::mutex mutex;
  std::map<Key, Script> scripts;
  int questions = 0;
  int pending = 0;
  int given_up = 0;
};

FakeResolver::Answer FakeResolver::State::NextAnswer(absl::string_view name, Family family) {
  Script& script = scripts[KeyOf(name, family)];
  ++script.questions;
  if (!script.answers.empty()) {
    Answer answer = script.answers[script.next];
    if (script.next + 1 < script.answers.size()) ++script.next;
    const absl::Status& status = answer.addresses.status();
    if (!status.ok())
      answer.addresses = absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
    return answer;
  }
  const auto other =
      scripts.find(KeyOf(name, family == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4));
  if (other != scripts.end() && !other->second.answers.empty()) return {};
  return {.addresses = absl::NotFoundError(absl::StrCat(name, ": there is no such name"))};
}

class FakeResolver::FakeQuery final : public internal::ResolverQuery {
 public:
  FakeQuery(EventLoop& loop, absl::string_view name, Family family, absl::Duration timeout,
            ResolveFunction done, std::shared_ptr<State> state)
      : ResolverQuery(loop, name, family, timeout, std::move(done)),
        state_(std::move(state)),
        timer_([this] {
          End();
          Answer(std::move(answer_.addresses), answer_.time_to_live);
        }) {
    {
      const std::lock_guard lock(state_->mutex);
      ++state_->questions;
      ++state_->pending;
      answer_ = state_->NextAnswer(name, family);
    }
    // At the same instant, the deadline, which was armed first, comes first.
    loop.ArmTimer(timer_, answer_.delay);
  }

  ~FakeQuery() override {
    if (ended_) return;
    End();
    const std::lock_guard lock(state_->mutex);
    ++state_->given_up;
  }

 private:
  void GiveUp() override {
    timer_.Cancel();
    End();
  }

  void End() {
    ended_ = true;
    const std::lock_guard lock(state_->mutex);
    --state_->pending;
  }

  const std::shared_ptr<State> state_;
  FakeResolver::Answer answer_;
  Timer timer_;
  bool ended_ = false;
};

FakeResolver::FakeResolver() : state_(std::make_shared<State>()) {}
FakeResolver::~FakeResolver() = default;

std::vector<SocketAddress> FakeResolver::Addresses(
    std::initializer_list<absl::string_view> literals) {
  std::vector<SocketAddress> addresses;
  for (const absl::string_view literal : literals) {
    addresses.push_back(internal::LiteralAddress(literal));
    SLUICE_CHECK(addresses.back().is_ip());
  }
  return addresses;
}

void FakeResolver::Set(absl::string_view name, Family family, Answer answer) {
  Set(name, family, std::vector<Answer>{std::move(answer)});
}

void FakeResolver::Set(absl::string_view name, Family family, std::vector<Answer> answers) {
  SLUICE_CHECK(!answers.empty());
  const std::lock_guard lock(state_->mutex);
  State::Script& script = state_->scripts[State::KeyOf(name, family)];
  script.answers = std::move(answers);
  script.next = 0;
}

int FakeResolver::questions() const {
  const std::lock_guard lock(state_->mutex);
  return state_->questions;
}

int FakeResolver::questions(absl::string_view name, Family family) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->scripts.find(State::KeyOf(name, family));
  return found == state_->scripts.end() ? 0 : found->second.questions;
}

int FakeResolver::pending() const {
  const std::lock_guard lock(state_->mutex);
  return state_->pending;
}

int FakeResolver::given_up() const {
  const std::lock_guard lock(state_->mutex);
  return state_->given_up;
}

std::unique_ptr<Resolver::Query> FakeResolver::Resolve(EventLoop& loop, absl::string_view name,
                                                       Family family, absl::Duration timeout,
                                                       ResolveFunction done) const {
  if (auto known = internal::AnswerWithoutAsking(loop, name, family, done)) return known;
  return std::make_unique<FakeQuery>(loop, name, family, timeout, std::move(done), state_);
}

}  // namespace sluice
