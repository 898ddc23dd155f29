#include "sluice/tools/bench.h"

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "sluice/core/datagram.h"
#include "sluice/core/dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/bench_flags.h"
#include "sluice/tools/bench_page.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/load_report.h"
#include "sluice/tools/poller_flag.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/report_file.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/target.h"
#include "sluice/tools/terminal.h"
#include "sluice/tools/udp_exchange.h"
#include "sluice/tools/udp_load_options.h"
#include "sluice/tools/udp_load_report.h"
#include "sluice/tools/udp_target.h"
#include "sluice/tools/url.h"

ABSL_FLAG(bool, verify, true, "do not compare each answer with what was sent");
ABSL_FLAG(
    bool, text, false,
    "sends text, records as in JSON, which becomes less than half when it is compressed; "
    "otherwise random bytes, which stay what they are, unless the protocol carries text only");

namespace sluice::tools {
namespace {

// Where the results go: to standard output, and into the file of --report, if there is one.
class Results {
 public:
  static absl::StatusOr<Results> Open() {
    absl::StatusOr<std::unique_ptr<ReportFile>> file = OpenReportFromFlags();
    if (!file.ok()) return file.status();
    return Results(*std::move(file));
  }

  // `text` is with a newline. An error is the file's.
  template <typename Options, typename Result>
  absl::Status Write(absl::string_view text, absl::string_view url, const Options& options,
                     const Result& result) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    if (file_ == nullptr) return absl::OkStatus();
    return file_->Write(BenchPage(url, absl::Now(), options, result));
  }

 private:
  explicit Results(std::unique_ptr<ReportFile> file) : file_(std::move(file)) {}

  std::unique_ptr<ReportFile> file_;  // null for none
};

// But for the peer.
absl::StatusOr<UdpLoadOptions> UdpLoadOptionsFrom(const LoadOptions& load) {
  if (load.size.smallest() < UdpExchange::kHeaderBytes || load.size.largest() > kMaxDatagramBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--size=", load.size.ToString(), ": over udp:// it is ",
                     UdpExchange::kHeaderBytes, " to ", kMaxDatagramBytes));
  }
  const absl::Duration lost_after = absl::GetFlag(FLAGS_lost_after).value();
  if (lost_after == absl::InfiniteDuration())
    return absl::InvalidArgumentError("--lost_after=inf: a datagram may get lost");
  return UdpLoadOptions{.poller = load.poller,
                        .meter = load.meter,
                        .over_time = load.over_time,
                        .sockets = load.connections,
                        .pipeline = load.pipeline,
                        .size = load.size,
                        .rate = load.rate,
                        .warm_up = load.warm_up,
                        .duration = load.duration,
                        .lost_after = lost_after,
                        .threads = load.threads,
                        .text = absl::GetFlag(FLAGS_text),
                        .verify = load.verify};
}

// The largest share of a thread, which Load makes as even as it can be, or all.
int64_t ConnectionsOfATable(const LoadOptions& options) {
  const int tables = options.own_descriptor_tables ? options.threads : 1;
  return (int64_t{options.connections} + tables - 1) / tables;
}

int RunUdpBench(const ProtocolTable& protocols, const LoadOptions& load,
                const Invocation& invocation) {
  const std::string& text = invocation.arguments[0];
  const absl::StatusOr<Endpoint> endpoint = ReadUdpTarget(
      protocols, invocation, {"timeout", "think_time", "reconnect", "own_descriptor_tables"});
  if (!endpoint.ok()) return invocation.BadUsage(endpoint.status().message());
  absl::StatusOr<UdpLoadOptions> options = UdpLoadOptionsFrom(load);
  if (!options.ok()) return invocation.BadUsage(options.status().message());
  const absl::StatusOr<SocketAddress> peer = LookUp(*endpoint);
  if (!peer.ok()) return invocation.Failure(peer.status().message());
  options->peer = *peer;
  absl::StatusOr<Results> results = Results::Open();
  if (!results.ok()) return invocation.Failure(results.status().message());
  RaiseDescriptorLimit();
  if (const absl::Status status = CheckDescriptorLimit(options->sockets, /*may_divide=*/false);
      !status.ok()) {
    return invocation.Failure(status.message());
  }
  const absl::StatusOr<UdpLoadResult> result = RunUdpLoad(*options);
  if (!result.ok()) return invocation.Failure(result.status().message());
  const std::string report = absl::GetFlag(FLAGS_json)
                                 ? absl::StrCat(UdpLoadReportJson(text, *options, *result), "\n")
                                 : UdpLoadReport(text, *options, *result, DetectTerminal(stdout));
  absl::Status status = results->Write(report, text, *options, *result);
  status.Update(UdpLoadStatus(*options, *result));
  return status.ok() ? kSuccess : invocation.Failure(status.message());
}

int RunBench(const ProtocolTable& protocols, const Invocation& invocation) {
  const std::string& text = invocation.arguments[0];
  absl::StatusOr<LoadOptions> read = BenchOptionsFromFlags();
  if (absl::IsInvalidArgument(read.status())) return invocation.BadUsage(read.status().message());
  if (!read.ok()) return invocation.Failure(read.status().message());
  LoadOptions& options = *read;
  options.poller = absl::GetFlag(FLAGS_poller);
  options.timeout = absl::GetFlag(FLAGS_timeout).value();
  options.verify = absl::GetFlag(FLAGS_verify);
  options.own_descriptor_tables = absl::GetFlag(FLAGS_own_descriptor_tables);
  if (NamesUdp(invocation)) return RunUdpBench(protocols, options, invocation);
  const absl::StatusOr<Target> target = ReadTarget(protocols, invocation);
  if (!target.ok()) return invocation.BadUsage(target.status().message());
  options.protocol = target->protocol.get();
  options.url = target->url;
  options.dialer = target->dialer;
  options.encryption = target->encryption;
  options.compress = target->compress;
  options.text = absl::GetFlag(FLAGS_text) || target->protocol->info().text_only;

  absl::StatusOr<Results> results = Results::Open();
  if (!results.ok()) return invocation.Failure(results.status().message());
  RaiseDescriptorLimit();
  if (const absl::Status status = CheckDescriptorLimit(
          ConnectionsOfATable(options), /*may_divide=*/!options.own_descriptor_tables);
      !status.ok()) {
    return invocation.Failure(status.message());
  }
  const absl::StatusOr<LoadResult> result = RunLoad(options);
  if (!result.ok()) return invocation.Failure(result.status().message());
  const std::string report = absl::GetFlag(FLAGS_json)
                                 ? absl::StrCat(LoadReportJson(text, options, *result), "\n")
                                 : LoadReport(text, options, *result, DetectTerminal(stdout));
  const absl::Status status = results->Write(report, text, options, *result);
  if (!status.ok()) return invocation.Failure(status.message());
  return result->errors.total() == 0 ? kSuccess : kFailure;
}

}  // namespace

Command BenchCommand(const ProtocolTable& protocols) {
  std::vector<std::string> flags = BenchFlagNames();
  flags.insert(flags.end(), {"poller", "timeout", "lost_after", "own_descriptor_tables", "verify",
                             "json", "text"});
  return {
      .name = "bench",
      .summary = "puts a load on an echo server and tells how it went",
      .description = absl::StrCat(
          "Each connection keeps --pipeline messages in flight and sends the next when an answer "
          "comes (closed loop); with --rate messages leave when they are due (open loop). Every "
          "answer is compared with what was sent. Progress goes to standard error. "
          "Ctrl-C ends the run early. The exit status is 1 if anything went wrong on any "
          "connection."
          "\n\n"
          "Over udp:// a connection is a socket, and a message a datagram, with a number and a "
          "time in it. What is lost, late, duplicated, overtaken or damaged is counted. Loss is no "
          "failure, unless nothing was answered; damage is."
          "\n\n"
          "URL: ",
          AcceptedUrls(TargetSchemes(protocols)),
          "; HOST is a name, or an address (an IPv6 one in brackets)."),
      .arguments = {"URL"},
      .flags = WithClientFlags(protocols, std::move(flags)),
      .run = [&protocols](const Invocation& invocation) { return RunBench(protocols, invocation); },
  };
}

}  // namespace sluice::tools
