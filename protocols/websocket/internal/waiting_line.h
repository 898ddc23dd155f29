// WaitingLine is what waits for one connection that does not keep up: references to messages in the
// order in which they were published, each in the lane of one subscription, whose policy and bounds
// decide what falls out. It sends nothing and counts only what waits.
//
// Example:
//   WaitingLine line;
//   WaitingLine::Lane prices, chat;
//   line.Add(prices, publication, options);
//   line.Add(chat, other, options);
//   line.PopFront().publication->message;   // what was added first, of either lane
//
// Adding, dropping and replacing cost O(1). A message that waits takes 64 bytes of the line's, and
// one with a key in a conflated lane about 50 more; its bytes are shared with whoever else has it.
//
// A lane that has something waiting must not move or go. Loop-bound.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_WAITING_LINE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_WAITING_LINE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/topic_options.h"

namespace sluice::websocket::internal {

struct Publication {
  PreparedMessage message;
  std::string key;  // "" for none

  size_t bytes() const { return message.payload().size(); }
};

class WaitingLine {
 public:
  struct Lane;
  struct Entry {
    std::shared_ptr<const Publication> publication;
    Lane* lane;
    std::list<Entry>::iterator newer;  // the next of the lane, where there is one
  };

  // A subscription's part.
  struct Lane {
    size_t messages = 0;
    size_t bytes = 0;

   private:
    friend class WaitingLine;
    std::list<Entry>::iterator oldest;
    std::list<Entry>::iterator newest;
    absl::flat_hash_map<absl::string_view, std::list<Entry>::iterator> keys;  // of kConflate
  };

  // What became of messages when one was added. It waits unless dropped_newest or full.
  struct Effect {
    uint64_t dropped_oldest = 0;
    bool dropped_newest = false;
    bool conflated = false;
    bool full = false;  // kClose: there is no room
  };
  // `max_bytes` are for the whole line, with 64 for each message: past it the lane that wants more
  // goes by its policy, too, and what it drops may be all that it has.
  Effect Add(Lane& lane, std::shared_ptr<const Publication> publication,
             const TopicOptions& options, size_t max_bytes);

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  const Entry& front() const { return entries_.front(); }
  Entry PopFront();

  // Drops what is in the lane.
  void Clear(Lane& lane);

 private:
  void Append(Lane& lane, std::shared_ptr<const Publication> publication);
  bool Replace(Lane& lane, std::shared_ptr<const Publication>& publication);
  Entry PopOldest(Lane& lane);

  std::list<Entry> entries_;
  size_t bytes_ = 0;
};

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_WAITING_LINE_H_
