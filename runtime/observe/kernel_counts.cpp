// See kernel_counts.hpp.
#include "runtime/observe/kernel_counts.hpp"

#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

namespace weir::detail {
namespace {

struct wanted {
  std::string_view theirs, ours, help;
};
constexpr std::array all = {
    wanted{"ListenOverflows", "listen_overflows", "handshakes that found an accept queue full"},
    wanted{"ListenDrops", "listen_drops",
           "SYNs and handshakes dropped by listeners, for any reason"},
    wanted{"TCPReqQFullDrop", "syn_queue_drops", "SYNs dropped because a SYN queue was full"},
    wanted{"TCPReqQFullDoCookies", "syn_queue_cookies",
           "SYNs that found a SYN queue full and were answered with a cookie"},
    wanted{"SyncookiesSent", "cookies_sent", "SYN cookies sent"},
    wanted{"SyncookiesRecv", "cookies_accepted", "connections made from a SYN cookie"},
    wanted{"SyncookiesFailed", "cookies_refused", "ACKs whose SYN cookie was wrong"},
};

std::string_view take_until(std::string_view& text, char end) {
  const auto at = text.find(end);
  const auto out = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return out;
}

}  // namespace

std::vector<kernel_count> parse_kernel_counts(std::string_view text) {
  constexpr std::string_view group = "TcpExt:";
  std::vector<kernel_count> out;
  while (!text.empty()) {
    // Two lines of the same length in words: names, then values.
    auto names = take_until(text, '\n');
    if (!names.starts_with(group)) continue;
    auto values = take_until(text, '\n');
    while (!names.empty() && !values.empty()) {
      const auto name = take_until(names, ' ');
      const auto value = take_until(values, ' ');
      for (const auto& one : all) {
        std::uint64_t number = 0;
        if (one.theirs != name) continue;
        const auto* const begin = value.data();
        const auto* const end = begin + value.size();
        if (auto [at, error] = std::from_chars(begin, end, number);
            error == std::errc() && at == end)
          out.push_back({one.ours, one.help, number});
      }
    }
    return out;
  }
  return out;
}

std::vector<kernel_count> read_kernel_counts() {
  // /proc/self/net is the first thread's: the shards' network, also where it is a private one.
  std::ifstream file("/proc/self/net/netstat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_kernel_counts(text);
}

}  // namespace weir::detail
