// The conformance suite: what every back end must do alike. A case is two coroutines, the subject
// on the back end that is being judged and its peer: on kernel sockets and in the simulator both
// run on that back end; for the stack on TUN the peer is the kernel's own TCP, on a thread of its
// own. The two order their steps by signals, never by sleeping.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "weir/weir.hpp"

namespace conformance {

using namespace std::chrono_literals;
using weir::endpoint;
using weir::io_error;
using weir::sleep_for;
using weir::task;
using weir::tcp_listener;
using weir::tcp_stream;

/// A case's two coroutines use these numbers for the steps that they tell each other of.
inline constexpr int port_known = 1000;

/// One of the two sides of a case.
class side {
 public:
  side(weir::shard& s, std::string_view back_end, weir::ip_address own, weir::ip_address own_v6)
      : here(s), backend(back_end), address(own), address_v6(own_v6) {}

  weir::shard& here;
  std::string_view backend;  ///< of the subject
  weir::ip_address address;  ///< where this side listens
  weir::ip_address address_v6;
  side* other = nullptr;

  bool on_kernel() const { return backend == "uring" || backend == "asio"; }

  /// Tells the other side that a step was reached, with a number if one is wanted.
  void signal(int step, std::uint64_t value = 0);
  /// Waits until the other side signalled the step; gives the number.
  task<std::uint64_t> wait(int step);

  /// Listens on this side's address, any port, and tells the other side which.
  tcp_listener listen(const weir::listen_options& options = {});
  tcp_listener listen_v6(const weir::listen_options& options = {});
  /// Where the other side listens, once it does.
  task<endpoint> target();
  task<endpoint> target_v6();
  /// listen() and one accept(), or target() and connect(): the two ends of one connection.
  task<tcp_stream> accept_one();
  task<tcp_stream> connect();
  task<tcp_stream> connect(weir::connect_options options);

 private:
  struct step_state {
    weir::event reached;
    std::uint64_t value = 0;
  };
  step_state& step(int number);
  std::map<int, std::unique_ptr<step_state>> steps_;
};

/// Byte `index` of the stream that the cases send to each other.
inline std::byte pattern_at(std::uint64_t index) {
  return static_cast<std::byte>((index * 2654435761u >> 13) ^ (index >> 5));
}
std::vector<std::byte> pattern(std::size_t size, std::uint64_t from = 0);
std::string text_of(std::span<const std::byte> bytes);

/// Reads until end of stream (or `limit`), comparing with the pattern; gives how many bytes came.
task<std::uint64_t> read_pattern(tcp_stream& stream, std::uint64_t limit = UINT64_MAX,
                                 std::uint64_t from = 0);
task<std::uint64_t> write_pattern(tcp_stream& stream, std::uint64_t size,
                                  std::size_t chunk = 64 * 1024);
/// Reads until the end and gives all as text.
task<std::string> read_text(weir::any_stream& stream);

using coroutine = task<> (*)(side&);
/// Runs one case on "uring", or on "uring 6.1": with no more of io_uring than Linux 6.1 knows. Says
/// SKIPPED and why where the machine forbids the back end.
void run_case(std::string_view variant, coroutine subject, coroutine peer);

/// A case of one coroutine, both of whose ends are on the back end that is judged.
using lonely_coroutine = task<> (*)(weir::shard&);
void run_alone(std::string_view variant, lonely_coroutine body);

}  // namespace conformance

/// Registers task<> `name`(weir::shard&) for every back end that has Unix sockets: all of them, and
/// io_uring as older kernels have it.
#define UNIX_CONFORMANCE(name)                                                     \
  TEST_CASE("uring: " #name) { conformance::run_alone("uring", &name); }           \
  TEST_CASE("uring 5.19: " #name) { conformance::run_alone("uring 5.19", &name); } \
  TEST_CASE("asio: " #name) { conformance::run_alone("asio", &name); }             \
  TEST_CASE("stack: " #name) { conformance::run_alone("stack", &name); }           \
  TEST_CASE("dedicated: " #name) { conformance::run_alone("dedicated", &name); }   \
  TEST_CASE("sim: " #name) { conformance::run_alone("sim", &name); }               \
  static_assert(true, "")

/// The same for files, where the releases differ in what a ring has operations for.
#define FILE_CONFORMANCE(name)                                                   \
  TEST_CASE("uring 6.1: " #name) { conformance::run_alone("uring 6.1", &name); } \
  TEST_CASE("uring 6.6: " #name) { conformance::run_alone("uring 6.6", &name); } \
  UNIX_CONFORMANCE(name)

/// Registers struct `name` { static task<> subject(side&); static task<> peer(side&); } for every
/// back end, and for io_uring as older kernels have it.
#define CONFORMANCE(name)                    \
  CONFORMANCE_VARIANT("dedicated", name)     \
  CONFORMANCE_VARIANT("dedicated 6.1", name) \
  CONFORMANCE_VARIANT("uring", name)         \
  CONFORMANCE_VARIANT("uring 5.19", name)    \
  CONFORMANCE_VARIANT("uring 6.1", name)     \
  CONFORMANCE_VARIANT("uring 6.6", name)     \
  CONFORMANCE_VARIANT("asio", name)          \
  CONFORMANCE_VARIANT("stack", name)         \
  CONFORMANCE_VARIANT("stack 5.19", name)    \
  CONFORMANCE_VARIANT("stack 6.1", name)     \
  CONFORMANCE_VARIANT("stack 6.6", name)     \
  CONFORMANCE_VARIANT("sim", name)           \
  static_assert(true, "")
#define CONFORMANCE_VARIANT(variant, name) \
  TEST_CASE(variant ": " #name) { conformance::run_case(variant, &name::subject, &name::peer); }
