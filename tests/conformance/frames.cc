#include "sluice/tests/conformance/frames.h"

#include <algorithm>
#include <cstdint>

namespace sluice::conformance {
namespace {

constexpr char kKey[] = {'\x37', '\xfa', '\x21', '\x3d'};  // of the examples in RFC 6455

void Mask(char* bytes, size_t size, const char* key) {
  for (size_t i = 0; i < size; ++i) bytes[i] ^= key[i % 4];
}

void AppendNumber(std::string& out, uint64_t number, int octets) {
  for (int shift = 8 * (octets - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(number >> shift));
}

}  // namespace

bool operator==(const Frame& a, const Frame& b) {
  return a.opcode == b.opcode && a.payload == b.payload && a.fin == b.fin && a.rsv == b.rsv;
}

std::ostream& operator<<(std::ostream& out, const Frame& frame) {
  out << "{opcode " << frame.opcode << (frame.fin ? "" : ", not final") << ", "
      << frame.payload.size() << " octets: ";
  for (const char c : frame.payload.substr(0, 40)) {
    if (c >= ' ' && c <= '~') {
      out << c;
    } else {
      out << "\\x"
          << "0123456789abcdef"[(c >> 4) & 15] << "0123456789abcdef"[c & 15];
    }
  }
  return out << (frame.payload.size() > 40 ? "...}" : "}");
}

std::string Encode(const Frame& frame, bool masked) {
  std::string out;
  out.reserve(14 + frame.payload.size());
  out.push_back(static_cast<char>((frame.fin ? 0x80 : 0) | frame.rsv << 4 | frame.opcode));
  const size_t size = frame.payload.size();
  const int mask = masked ? 0x80 : 0;
  if (size <= 125) {
    out.push_back(static_cast<char>(mask | static_cast<int>(size)));
  } else if (size <= 0xffff) {
    out.push_back(static_cast<char>(mask | 126));
    AppendNumber(out, size, 2);
  } else {
    out.push_back(static_cast<char>(mask | 127));
    AppendNumber(out, size, 8);
  }
  if (masked) out.append(kKey, 4);
  const size_t header = out.size();
  out += frame.payload;
  if (masked) Mask(&out[header], size, kKey);
  return out;
}

std::string CloseWith(int code, const std::string& reason) {
  std::string payload;
  AppendNumber(payload, static_cast<uint64_t>(code), 2);
  return payload + reason;
}

std::optional<Frame> FrameReader::Wrong(const char* why) {
  error_ = why;
  return std::nullopt;
}

std::optional<Frame> FrameReader::Next() {
  const size_t there = bytes_.size() - at_;
  if (!error_.empty() || there < 2) return std::nullopt;
  const auto octet = [this](size_t i) { return static_cast<uint8_t>(bytes_[at_ + i]); };
  Frame frame;
  frame.fin = (octet(0) & 0x80) != 0;
  frame.rsv = octet(0) >> 4 & 7;
  frame.opcode = octet(0) & 15;
  if ((octet(1) & 0x80) != (masked_ ? 0x80 : 0))
    return Wrong(masked_ ? "a client's frame is not masked" : "a server's frame is masked");
  uint64_t size = octet(1) & 0x7f;
  const size_t length_octets = size == 126 ? 2 : size == 127 ? 8 : 0;
  const size_t header = 2 + length_octets + (masked_ ? 4 : 0);
  if (there < header) return std::nullopt;
  if (length_octets != 0) {
    size = 0;
    for (size_t i = 0; i < length_octets; ++i) size = size << 8 | octet(2 + i);
    if (size <= (length_octets == 2 ? 125u : 0xffffu))
      return Wrong("a length is not in its shortest form");
  }
  const bool control = frame.opcode >= 8;
  if (control && (!frame.fin || size > 125)) return Wrong("a control frame is long or fragmented");
  if (there - header < size) return std::nullopt;
  frame.payload = bytes_.substr(at_ + header, size);
  if (masked_) Mask(&frame.payload[0], frame.payload.size(), &bytes_[at_ + header - 4]);
  at_ += header + size;
  if (at_ == bytes_.size()) {
    bytes_.clear();
    at_ = 0;
  }
  return frame;
}

}  // namespace sluice::conformance
