// IdTable keeps entries that come and go, and gives each an id that goes stale with it: who comes
// late, with the id of an entry that was removed, finds nothing, and not the one that has its place
// by then.
//
// Example:
//   struct Entry {
//     uint32_t generation = 0;  // the table's
//     bool used = false;        // the table's
//     int fd = -1;
//   };
//   IdTable<Entry> table;
//   const EntryId id = table.Add();
//   table.At(id.index).fd = 5;
//   table.Remove(id.index);
//   table.Find(id);  // nullptr
//
// Places are used again, the one that was left last first; so the table is as large as the most
// entries it has held at a time. An id comes back when its place was left 2^24 times.
//
// Thread-compatible.
#ifndef SLUICE_CORE_INTERNAL_ID_TABLE_H_
#define SLUICE_CORE_INTERNAL_ID_TABLE_H_

#include <concepts>
#include <cstdint>
#include <vector>

namespace sluice::internal {

struct EntryId {
  static constexpr uint32_t kGenerations = 1 << 24;

  uint32_t index;
  uint32_t generation;  // less than kGenerations

  // In 56 bits, so that there is a byte left to say what is meant of the entry.
  uint64_t bits() const { return uint64_t{generation} << 32 | index; }
  static EntryId Of(uint64_t bits) {
    return {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32) & (kGenerations - 1)};
  }

  bool operator==(const EntryId&) const = default;
};

// The table's two fields are the entry's, where they fill a gap instead of making one.
template <typename T>
concept IdTableEntry = requires(T entry) {
  { entry.generation } -> std::same_as<uint32_t&>;
  { entry.used } -> std::same_as<bool&>;
};

template <IdTableEntry Entry>
class IdTable {
 public:
  EntryId Add() {
    if (free_.empty()) {
      entries_.emplace_back();
      free_.push_back(static_cast<uint32_t>(entries_.size() - 1));
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    entries_[index].used = true;
    return IdOf(index);
  }
  void Remove(uint32_t index) {
    const uint32_t next = (entries_[index].generation + 1) & (EntryId::kGenerations - 1);
    entries_[index] = Entry();
    entries_[index].generation = next;
    free_.push_back(index);
  }

  // Null once it was removed. `id` is one that Add has returned; what is found is valid until the
  // next Add.
  Entry* Find(EntryId id) {
    Entry& entry = entries_[id.index];
    return entry.used && entry.generation == id.generation ? &entry : nullptr;
  }

  // Of an entry that is there.
  Entry& At(uint32_t index) { return entries_[index]; }
  const Entry& At(uint32_t index) const { return entries_[index]; }
  EntryId IdOf(uint32_t index) const { return {index, entries_[index].generation}; }

  // Calls `visit` with the id of each entry that is there, and the entry.
  template <typename Visit>
  void ForEach(Visit visit) {
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].used) visit(IdOf(i), entries_[i]);
    }
  }

 private:
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_ID_TABLE_H_
