// See other_loads.hpp: run_bulk. What was received at the other end is known exactly on both ways:
// our own count, or what the kernel says was acknowledged.
#include <fmt/core.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "clients.hpp"
#include "other_loads.hpp"

namespace weir::bench {
namespace {

constexpr std::size_t chunk_bytes = 256 * 1024;
constexpr int chunks_per_turn = 4;
constexpr std::size_t compared_bytes = 64;  // at the head of each chunk: a lost, doubled or moved
                                            // byte before it shows

/// RFC 864: lines of 72 printing characters, each beginning one character further on.
std::string chargen_lines() {
  constexpr std::size_t characters = 95, line = 72;
  std::string out;
  for (std::size_t i = 0; i < characters; ++i) {
    for (std::size_t k = 0; k < line; ++k)
      out += static_cast<char>(' ' + static_cast<char>((i + k) % characters));
    out += "\r\n";
  }
  return out;
}

struct flow {
  int fd = -1;
  bool sends = false;
  std::uint64_t received = 0;
};

class bulk {
 public:
  bulk(const load_settings& settings, const load_hooks& hooks)
      : settings_(settings), hooks_(hooks), buffer_(chunk_bytes, 'w'), pattern_(chargen_lines()) {
    period_ = pattern_.size();
    pattern_ += pattern_.substr(0, compared_bytes);
  }
  ~bulk() {
    // By a reset: what is in buffers still would go on for a while, in somebody else's turn.
    const linger at_once{1, 0};
    for (const flow& f : flows_) {
      if (f.fd < 0) continue;
      ::setsockopt(f.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      ::close(f.fd);
    }
  }
  bulk(const bulk&) = delete;
  bulk& operator=(const bulk&) = delete;

  load_result run(scenario kind, const std::vector<endpoint>& targets) {
    try {
      connect(kind, targets);
      measured_window window(settings_, hooks_);
      std::uint64_t at_begin = 0, seen_at_begin = 0;
      while (window.running(result_)) {
        if (window.opened_now()) {
          at_begin = moved();
          seen_at_begin = seen_;
        }
        if (window.open()) result_.requests = (seen_ - seen_at_begin) / 1'000'000;
        poll_.wait(window.next_instant(), settings_.spin, [&](std::uint64_t index, std::uint32_t) {
          flow& f = flows_[index];
          const std::uint64_t before = seen_;
          f.sends ? send_some(f) : receive_some(f);
          if (seen_ != before) window.progress_seen();
        });
      }
      result_.bytes = moved() - at_begin;
      result_.requests = result_.bytes / 1'000'000;
      if (result_.error.empty() && result_.requests == 0)
        result_.error = "not one megabyte was moved inside the measured window";
    } catch (const std::exception& error) {
      if (result_.error.empty()) result_.error = error.what();
    }
    return std::move(result_);
  }

 private:
  void connect(scenario kind, const std::vector<endpoint>& targets) {
    const unsigned count =
        kind == scenario::bulk_both ? std::max(2u, settings_.connections) : settings_.connections;
    flows_.reserve(count);
    for (unsigned i = 0; i < count; ++i) {
      const bool sends = kind == scenario::bulk_in || (kind == scenario::bulk_both && i % 2 == 0);
      flow& f = flows_.emplace_back();
      f.sends = sends;
      f.fd = connect_client(targets[kind == scenario::bulk_both && !sends ? 1 : 0]);
      poll_.add(f.fd, sends ? EPOLLOUT : EPOLLIN, i);
    }
  }
  void fail(std::string why) {
    if (result_.error.empty()) result_.error = std::move(why);
    ++result_.failed_connections;
  }
  void send_some(flow& f) {
    for (int i = 0; i < chunks_per_turn; ++i) {
      const ssize_t n = ::send(f.fd, buffer_.data(), buffer_.size(), MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n < 0) return fail(fmt::format("send: {}", std::strerror(errno)));
      seen_ += static_cast<std::uint64_t>(n);
      if (static_cast<std::size_t>(n) < buffer_.size()) return;
    }
  }
  void receive_some(flow& f) {
    for (int i = 0; i < chunks_per_turn; ++i) {
      const ssize_t n = ::recv(f.fd, buffer_.data(), buffer_.size(), 0);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n < 0) return fail(fmt::format("recv: {}", std::strerror(errno)));
      if (n == 0) return fail("the server closed it");
      const auto got = static_cast<std::size_t>(n);
      if (std::memcmp(buffer_.data(), pattern_.data() + f.received % period_,
                      std::min(got, compared_bytes)) != 0)
        return fail(fmt::format("not the pattern of RFC 864 at offset {}", f.received));
      f.received += got;
      seen_ += got;
      if (got < buffer_.size()) return;
    }
  }
  /// Payload that has reached its receiver so far.
  std::uint64_t moved() const {
    std::uint64_t total = 0;
    for (const flow& f : flows_) {
      if (!f.sends) {
        total += f.received;
        continue;
      }
      tcp_info info{};
      socklen_t length = sizeof info;
      if (::getsockopt(f.fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
        total += info.tcpi_bytes_acked;
    }
    return total;
  }

  const load_settings& settings_;
  const load_hooks& hooks_;
  poller poll_;
  std::vector<flow> flows_;
  std::vector<char> buffer_;
  std::string pattern_;
  std::size_t period_ = 0;
  std::uint64_t seen_ = 0;
  load_result result_;
};

}  // namespace

load_result run_bulk(const load_settings& settings, scenario kind,
                     const std::vector<endpoint>& targets, const load_hooks& hooks) {
  return bulk(settings, hooks).run(kind, targets);
}

}  // namespace weir::bench
