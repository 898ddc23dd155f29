// The frames of a conformance case: writing them, also such as break the rules, and reading what
// comes back, strictly. Independent of the code under test on purpose.
//
// Example:
//   std::string bytes = Encode({.opcode = kText, .payload = "Hello"}, /*masked=*/true);
//   FrameReader reader(/*masked=*/true);
//   reader.Append(bytes);
//   std::optional<Frame> frame = reader.Next();    // nullopt: more is needed, or error()
//
// Thread-compatible.
#ifndef SLUICE_TESTS_CONFORMANCE_FRAMES_H_
#define SLUICE_TESTS_CONFORMANCE_FRAMES_H_

#include <cstddef>
#include <optional>
#include <ostream>
#include <string>

namespace sluice::conformance {

// Opcodes are numbers here: the suite uses those that are nobody's, too.
inline constexpr int kContinuation = 0;
inline constexpr int kText = 1;
inline constexpr int kBinary = 2;
inline constexpr int kClose = 8;
inline constexpr int kPing = 9;
inline constexpr int kPong = 10;

struct Frame {
  int opcode = kText;
  std::string payload = {};
  bool fin = true;
  int rsv = 0;  // RSV1 is 4
};

bool operator==(const Frame& a, const Frame& b);
std::ostream& operator<<(std::ostream& out, const Frame& frame);

std::string Encode(const Frame& frame, bool masked);

// The payload of a close frame.
std::string CloseWith(int code, const std::string& reason = "");

class FrameReader {
 public:
  // Whether frames must be masked (a client's) or must not.
  explicit FrameReader(bool masked) : masked_(masked) {}

  void Append(const std::string& bytes) { bytes_ += bytes; }
  std::optional<Frame> Next();

  bool empty() const { return at_ == bytes_.size(); }
  // What rule was broken; empty for none.
  const std::string& error() const { return error_; }

 private:
  std::optional<Frame> Wrong(const char* why);

  const bool masked_;
  std::string bytes_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace sluice::conformance

#endif  // SLUICE_TESTS_CONFORMANCE_FRAMES_H_
