// The servers and clients that the simulated scenarios share. They are ordinary weir coroutines.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/pattern.hpp"
#include "weir/net.hpp"
#include "weir/scope.hpp"
#include "weir/sim.hpp"
#include "weir/task.hpp"
#include "weir/timing.hpp"

namespace sim_test {

inline weir::task<> echo_session(weir::tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

inline weir::task<> serve_echo(weir::shard& shard, weir::endpoint where) {
  auto listener = shard.listen(where);
  weir::scope sessions(shard);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(echo_session(std::move(*peer)));
  }
  co_await sessions.drain(std::chrono::minutes(10));
}

inline weir::task<> write_pattern(weir::tcp_stream& peer, std::uint64_t stream,
                                  std::uint64_t size) {
  std::vector<std::byte> chunk(16 * 1024);
  for (std::uint64_t done = 0; done < size;) {
    auto n = std::min<std::uint64_t>(chunk.size(), size - done);
    fill_pattern(std::span(chunk).first(n), stream, done);
    co_await peer.write_all(std::span<const std::byte>(chunk).first(n));
    done += n;
  }
  peer.shutdown_send();
}

/// Reads to the end of the stream; throws unless it was exactly the pattern.
inline weir::task<> read_pattern(weir::tcp_stream& peer, std::uint64_t stream, std::uint64_t size) {
  std::vector<std::byte> chunk(16 * 1024);
  std::uint64_t done = 0;
  for (;;) {
    auto n = co_await peer.read_some(chunk);
    if (n == 0) break;
    if (done + n > size || !matches_pattern(std::span(chunk).first(n), stream, done))
      throw std::runtime_error("stream " + std::to_string(stream) + " has wrong bytes after " +
                               std::to_string(done));
    done += n;
  }
  if (done != size)
    throw std::runtime_error("stream " + std::to_string(stream) + " ended after " +
                             std::to_string(done) + " of " + std::to_string(size) + " bytes");
}

/// Sends `size` bytes through an echo server and checks what comes back, both at once.
inline weir::task<> exchange(weir::shard& shard, weir::endpoint server, std::uint64_t stream,
                             std::uint64_t size) {
  auto peer = co_await shard.connect(server);
  weir::scope writing(shard);
  writing.spawn(write_pattern(peer, stream, size));
  co_await read_pattern(peer, stream, size);
  co_await writing.join();
  if (writing.io_errors() != 0) throw std::runtime_error("writing failed");
}

}  // namespace sim_test
