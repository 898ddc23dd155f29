#include "sluice/protocols/websocket/internal/waiting_line.h"

#include <utility>

namespace sluice::websocket::internal {
namespace {

bool PastBounds(size_t messages, size_t bytes, const TopicOptions& options) {
  return messages > options.max_waiting_messages ||
         (bytes > options.max_waiting_bytes && messages > 1);
}

// Of an entry beside its message.
constexpr size_t kEntryBytes = 64;

}  // namespace

WaitingLine::Effect WaitingLine::Add(Lane& lane, std::shared_ptr<const Publication> publication,
                                     const TopicOptions& options, size_t max_bytes) {
  Effect effect;
  const size_t added = kEntryBytes + publication->bytes();
  const bool keeps_newest = options.policy == SlowConsumerPolicy::kDropOldest ||
                            options.policy == SlowConsumerPolicy::kConflate;
  if (!keeps_newest && (PastBounds(lane.messages + 1, lane.bytes + publication->bytes(), options) ||
                        (bytes_ + added > max_bytes && !empty()))) {
    effect.dropped_newest = options.policy == SlowConsumerPolicy::kDropNewest;
    effect.full = !effect.dropped_newest;
    return effect;
  }
  if (options.policy == SlowConsumerPolicy::kConflate && !publication->key.empty()) {
    effect.conflated = Replace(lane, publication);
    if (!effect.conflated) {
      Append(lane, std::move(publication));
      lane.keys[lane.newest->publication->key] = lane.newest;
    }
  } else {
    Append(lane, std::move(publication));
  }
  while (PastBounds(lane.messages, lane.bytes, options) ||
         (bytes_ > max_bytes && size() > 1 && lane.messages > 0)) {
    PopOldest(lane);
    ++effect.dropped_oldest;
  }
  return effect;
}

void WaitingLine::Append(Lane& lane, std::shared_ptr<const Publication> publication) {
  lane.bytes += publication->bytes();
  bytes_ += kEntryBytes + publication->bytes();
  entries_.push_back({std::move(publication), &lane, {}});
  const std::list<Entry>::iterator last = --entries_.end();
  if (lane.messages++ == 0) {
    lane.oldest = last;
  } else {
    lane.newest->newer = last;
  }
  lane.newest = last;
}

bool WaitingLine::Replace(Lane& lane, std::shared_ptr<const Publication>& publication) {
  const auto found = lane.keys.find(publication->key);
  if (found == lane.keys.end()) return false;
  const std::list<Entry>::iterator entry = found->second;
  lane.keys.erase(found);  // its key lies in what is replaced
  const size_t grown = publication->bytes() - entry->publication->bytes();  // modulo 2^64
  lane.bytes += grown;
  bytes_ += grown;
  entry->publication = std::move(publication);
  lane.keys[entry->publication->key] = entry;
  return true;
}

WaitingLine::Entry WaitingLine::PopOldest(Lane& lane) {
  const std::list<Entry>::iterator oldest = lane.oldest;
  if (!lane.keys.empty()) lane.keys.erase(oldest->publication->key);
  lane.bytes -= oldest->publication->bytes();
  bytes_ -= kEntryBytes + oldest->publication->bytes();
  lane.oldest = oldest->newer;
  if (--lane.messages == 0) lane.keys = {};  // gives its memory back
  Entry entry = std::move(*oldest);
  entries_.erase(oldest);
  return entry;
}

// The line's oldest is its lane's oldest: both are in the order of Add.
WaitingLine::Entry WaitingLine::PopFront() { return PopOldest(*entries_.front().lane); }

void WaitingLine::Clear(Lane& lane) {
  while (lane.messages > 0) PopOldest(lane);
}

}  // namespace sluice::websocket::internal
