// What the laboratories share. A laboratory is one program and one idea: a small server on the
// stack, in a network namespace of its own, clients that bring one of its queues to its limit, a
// line of figures while that happens, and at the end what an operator should conclude and which key
// to turn. Its presets are defaults like any other: the command line overrides them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <weir/weir.hpp>

#include "runtime/observe/snapshot.hpp"

namespace lab {

struct description {
  std::string name;
  std::string summary;
  /// Configuration keys and what they are here: {"listen.backlog", "4"}.
  std::vector<std::pair<std::string, std::string>> presets;
};

/// The figures of one instant: the first listener's, and its connections' together.
struct sample {
  weir::detail::listener_snapshot listener;
  std::size_t connections = 0;
  std::uint64_t unread = 0, unsent = 0;  ///< bytes in receive and in send queues
  std::uint64_t zero_window_probes = 0, retransmissions = 0;
};

/// One shard's view of the laboratory.
class stage {
 public:
  explicit stage(weir::shard& shard) : shard_(&shard) {}
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  /// Runs `clients` on a thread of its own, which may block, and prints a line of figures every
  /// quarter of a second until it has ended.
  weir::task<> watch(std::function<void()> clients);
  sample look() const;
  /// The largest values seen while watching.
  const sample& peak() const { return peak_; }

  /// One claim of the conclusion, which this run has shown or not; a false one fails the program.
  void claim(bool holds, const std::string& text);
  void conclude(const std::string& text);

 private:
  void print(double seconds, const sample& now) const;
  weir::shard* shard_;
  sample peak_;
};

/// main() of a laboratory: reads the configuration, enters the private network, runs `scene` on
/// every shard. Exit code 1 when a claim did not hold.
int run(int argc, char** argv, const description& what,
        std::function<weir::task<>(weir::shard&, stage&)> scene);

/// The address of the stack, as clients in the private network reach it.
weir::endpoint server_address(const weir::config& settings, std::uint16_t port);

/// A kernel client: a blocking socket, closed with its object.
class client {
 public:
  client();
  client(client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  client& operator=(client&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~client();

  /// True when connected within the limit. Reads and writes then have the same limit.
  bool connect(const weir::endpoint& to, double limit_s);
  bool send(std::string_view text) const;
  /// Exactly as many bytes; fewer at the end or when the limit was reached.
  std::string receive(std::size_t bytes) const;
  /// How many bytes the kernel may keep for this reader.
  void receive_buffer(int bytes) const;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// Seconds since the program began.
double seconds_now();
void sleep_s(double seconds);

}  // namespace lab
