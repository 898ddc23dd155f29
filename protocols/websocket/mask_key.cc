#include "sluice/protocols/websocket/mask_key.h"

#include <cstddef>

#include "sluice/protocols/websocket/internal/random.h"

namespace sluice::websocket {
namespace {

struct Supply {
  uint32_t keys[256] = {};
  size_t left = 0;
};

constinit thread_local Supply supply;

}  // namespace

uint32_t NextMaskKey() {
  if (supply.left == 0) {
    internal::FillRandom(supply.keys, sizeof(supply.keys));
    supply.left = sizeof(supply.keys) / sizeof(supply.keys[0]);
  }
  return supply.keys[--supply.left];
}

}  // namespace sluice::websocket
