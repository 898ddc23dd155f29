#include "sluice/protocols/websocket/utf8.h"

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/protocols/websocket/internal/utf8_kernels.h"

namespace sluice::websocket {
namespace {

// About n bytes of a repeated phrase, ended at a character.
std::string Text(absl::string_view phrase, size_t n) {
  std::string text;
  while (text.size() + phrase.size() <= n) text.append(phrase.data(), phrase.size());
  if (text.empty()) text = std::string(phrase);
  return text;
}

constexpr absl::string_view kAscii = "The quick brown fox jumps over the lazy dog. ";
constexpr absl::string_view kTwoBytes = "Съешь же ещё этих мягких французских булок. ";
constexpr absl::string_view kThreeBytes = "いろはにほへと、散りぬるを。 mixed with ASCII, ";
constexpr absl::string_view kFourBytes = "🙂🙃😀😁 ";

void Measure(benchmark::State& state, absl::string_view phrase) {
  const std::string text = Text(phrase, static_cast<size_t>(state.range(0)));
  const auto* data = reinterpret_cast<const uint8_t*>(text.data());
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    Utf8Validator validator;
    benchmark::DoNotOptimize(validator.Update(data, text.size()));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void BM_Ascii(benchmark::State& state) { Measure(state, kAscii); }
void BM_TwoBytes(benchmark::State& state) { Measure(state, kTwoBytes); }
void BM_ThreeBytesMixed(benchmark::State& state) { Measure(state, kThreeBytes); }
void BM_FourBytes(benchmark::State& state) { Measure(state, kFourBytes); }
BENCHMARK(BM_Ascii)->Arg(64)->Arg(1024)->Arg(65536);
BENCHMARK(BM_TwoBytes)->Arg(64)->Arg(1024)->Arg(65536);
BENCHMARK(BM_ThreeBytesMixed)->Arg(64)->Arg(1024)->Arg(65536);
BENCHMARK(BM_FourBytes)->Arg(64)->Arg(1024)->Arg(65536);

void BM_Kernel(benchmark::State& state, const internal::Utf8Kernel& kernel,
               absl::string_view phrase) {
  const std::string text = Text(phrase, 65536);
  const auto* data = reinterpret_cast<const uint8_t*>(text.data());
  const ::sluice::internal::BenchmarkCalls calls(state);
  for (auto _ : state) benchmark::DoNotOptimize(kernel.valid(data, text.size()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

const bool kernels_registered = [] {
  for (const internal::Utf8Kernel& kernel : internal::UsableUtf8Kernels()) {
    const std::string name = std::string("BM_Kernel/") + kernel.name;
    benchmark::RegisterBenchmark((name + "/ascii").c_str(), BM_Kernel, kernel, kAscii);
    benchmark::RegisterBenchmark((name + "/three_bytes_mixed").c_str(), BM_Kernel, kernel,
                                 kThreeBytes);
  }
  return true;
}();

}  // namespace
}  // namespace sluice::websocket
