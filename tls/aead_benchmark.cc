// What encryption itself costs on this machine: the AEAD that BoringSSL's records use, without
// records. What tls_stream_benchmark takes beyond it, per byte and per record, is TLS's and ours.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "openssl/aead.h"
#include "openssl/base.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/internal/check.h"

namespace sluice::tls {
namespace {

constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;

const EVP_AEAD* Aead(int64_t index) {
  return index == 0 ? EVP_aead_aes_128_gcm() : EVP_aead_chacha20_poly1305();
}

// As a record: its header is authenticated, and the message lies in the cache.
void BM_SealAndOpen(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  const EVP_AEAD* const aead = Aead(state.range(1));
  const uint8_t key[32] = {1};
  uint8_t nonce[kNonceBytes] = {};
  const uint8_t header[5] = {23, 3, 3, 0, 0};
  bssl::ScopedEVP_AEAD_CTX context;
  SLUICE_CHECK(EVP_AEAD_CTX_init(context.get(), aead, key, EVP_AEAD_key_length(aead), kTagBytes,
                                 nullptr) == 1);
  std::vector<uint8_t> plain(size, 'x');
  std::vector<uint8_t> sealed(size + kTagBytes);
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    ++nonce[0];
    size_t out = 0;
    SLUICE_CHECK(EVP_AEAD_CTX_seal(context.get(), sealed.data(), &out, sealed.size(), nonce,
                                   kNonceBytes, plain.data(), size, header, sizeof(header)) == 1);
    SLUICE_CHECK(EVP_AEAD_CTX_open(context.get(), plain.data(), &out, size, nonce, kNonceBytes,
                                   sealed.data(), sealed.size(), header, sizeof(header)) == 1);
    benchmark::DoNotOptimize(plain[0]);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.SetLabel(state.range(1) == 0 ? "AES-128-GCM" : "ChaCha20-Poly1305");
}
BENCHMARK(BM_SealAndOpen)->ArgsProduct({{16, 64, 1024, 1340, 16384}, {0, 1}});

}  // namespace
}  // namespace sluice::tls
