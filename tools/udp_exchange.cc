#include "sluice/tools/udp_exchange.h"

#include <algorithm>
#include <cstring>

namespace sluice::tools {

UdpCounts& UdpCounts::operator+=(const UdpCounts& other) {
  sent += other.sent;
  answers += other.answers;
  late += other.late;
  lost += other.lost;
  duplicated += other.duplicated;
  reordered += other.reordered;
  damaged += other.damaged;
  return *this;
}

UdpExchange::UdpExchange(const MessagePattern& pattern, uint32_t connection, uint32_t pipeline,
                         bool verify)
    : pattern_(pattern),
      connection_(connection),
      verify_(verify),
      slots_(size_t{pipeline} + 1),
      free_(0) {
  for (uint32_t i = 0; i < end(); ++i) slots_[i].next = i + 1;
  slots_[end()].previous = slots_[end()].next = end();
}

absl::Span<const uint8_t> UdpExchange::Next(MonotonicTime now, absl::Span<uint8_t> bytes) {
  const uint32_t index = free_;
  Slot& slot = slots_[index];
  free_ = slot.next;
  Slot& ring = slots_[end()];
  slot = {.sequence = next_sequence_++,
          .sent_at = now,
          .previous = ring.previous,
          .next = end(),
          .in_flight = true};
  slots_[ring.previous].next = index;
  ring.previous = index;
  ++in_flight_;
  ++counts_.sent;

  const Header header = {slot.sequence, now.nanoseconds(), connection_, index};
  const absl::Span<const uint8_t> content = pattern_.Message(connection_, slot.sequence);
  std::memcpy(bytes.data(), &header, kHeaderBytes);
  std::memcpy(bytes.data() + kHeaderBytes, content.data() + kHeaderBytes,
              content.size() - kHeaderBytes);
  return bytes.first(content.size());
}

void UdpExchange::Free(uint32_t index) {
  Slot& slot = slots_[index];
  slots_[slot.previous].next = slot.next;
  slots_[slot.next].previous = slot.previous;
  slot.in_flight = false;
  slot.next = free_;
  free_ = index;
  --in_flight_;
}

bool UdpExchange::IsSound(absl::Span<const uint8_t> bytes, const Header& header) const {
  if (header.connection != connection_ || header.sequence >= next_sequence_ ||
      header.slot >= end() || bytes.size() != pattern_.SizeOf(connection_, header.sequence)) {
    return false;
  }
  if (!verify_) return true;
  const absl::Span<const uint8_t> content = pattern_.Message(connection_, header.sequence);
  return std::memcmp(bytes.data() + kHeaderBytes, content.data() + kHeaderBytes,
                     content.size() - kHeaderBytes) == 0;
}

bool UdpExchange::WasLost(uint64_t sequence) {
  const auto it = std::lower_bound(lost_.begin(), lost_.end(), sequence);
  if (it == lost_.end() || *it != sequence) return false;
  lost_.erase(it);
  return true;
}

UdpExchange::Taken UdpExchange::Take(absl::Span<const uint8_t> bytes, MonotonicTime now) {
  Header header = {};
  if (bytes.size() >= kHeaderBytes) std::memcpy(&header, bytes.data(), kHeaderBytes);
  if (bytes.size() < kHeaderBytes || !IsSound(bytes, header)) {
    ++counts_.damaged;
    return {Kind::kDamaged};
  }
  const Slot& slot = slots_[header.slot];
  if (slot.in_flight && slot.sequence == header.sequence) {
    if (slot.sent_at.nanoseconds() != header.sent_at) {
      ++counts_.damaged;
      return {Kind::kDamaged};
    }
    Free(header.slot);
    ++counts_.answers;
    if (header.sequence + 1 < after_highest_answer_) ++counts_.reordered;
    after_highest_answer_ = std::max(after_highest_answer_, header.sequence + 1);
    return {Kind::kAnswer, header.sequence, now - slot.sent_at};
  }
  const bool counts = header.sequence >= counted_from_;
  if (WasLost(header.sequence)) {
    if (counts) {
      --counts_.lost;
      ++counts_.late;
    }
    return {Kind::kLate};
  }
  if (counts) ++counts_.duplicated;
  return {Kind::kDuplicate};
}

void UdpExchange::BeginCounting() {
  const uint32_t oldest = slots_[end()].next;
  counted_from_ = oldest == end() ? next_sequence_ : slots_[oldest].sequence;
  counts_ = {.sent = in_flight_, .damaged = counts_.damaged};
}

size_t UdpExchange::GiveUp(MonotonicTime sent_before) {
  size_t count = 0;
  for (uint32_t first; (first = slots_[end()].next) != end() && slots_[first].sent_at < sent_before;
       ++count) {
    lost_.push_back(slots_[first].sequence);
    if (lost_.size() > kRemembered) lost_.pop_front();
    Free(first);
  }
  counts_.lost += count;
  return count;
}

}  // namespace sluice::tools
