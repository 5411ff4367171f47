// What every server program does around listening: one line on stdout per listener once all shards
// listen, a notice when other machines can reach it, and errors that name the listener and say what
// to do.
#pragma once

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include <weir/weir.hpp>

namespace examples {

/// A service and where it is offered, as the command line gave them.
struct offer {
  std::string service;  ///< "echo"
  weir::endpoint where;
  weir::unix_endpoint local = {};  ///< instead of `where`, unless it is unnamed

  bool on_unix() const { return !local.is_unnamed(); }
  std::string place() const { return on_unix() ? local.to_string() : where.to_string(); }
};

/// Reads ADDR:PORT into `offers`; returns an error text or nothing.
std::string add_offer(std::vector<offer>& offers, const std::string& service,
                      std::string_view text);

/// The same, and unix:/run/x.sock or unix:@name, where the program can.
std::string add_stream_offer(std::vector<offer>& offers, const std::string& service,
                             std::string_view text);

/// Listeners that cannot be. what() names the service, the address and the remedy.
class listen_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Listens on this shard. With several shards, each has a listener of its own on the same address
/// and port. `network` is as in weir::listen_options.
weir::tcp_listener listen_for(weir::shard& shard, const offer& what, std::string_view network = {});

/// On a Unix socket all shards accept from the same one.
weir::unix_listener listen_on_unix(weir::shard& shard, const offer& what);

/// The same for a service on UDP.
weir::udp_socket bind_for(weir::shard& shard, const offer& what);

/// Prints "listening echo 198.18.0.2:7 backend=stack shards=1" for each offer, when the last shard
/// has said that it listens. One object for the whole program.
class announcement {
 public:
  explicit announcement(std::string program) : program_(std::move(program)) {}
  /// `offers` with the ports that they have got.
  void shard_listens(weir::shard& shard, const std::vector<offer>& offers);

 private:
  std::string program_;
  std::atomic<unsigned> shards_ready_ = 0;
};

}  // namespace examples
