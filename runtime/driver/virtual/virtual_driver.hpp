// The driver of simulated shards: time is a fabric's virtual clock, packets come from nodes of that
// fabric, one for each of the host's interfaces. It never waits and never moves the clock:
// sim::network, which owns the fabric, turns every shard and decides when time passes.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "weir/stack/sim.hpp"

namespace weir::detail {

class virtual_driver final : public driver {
 public:
  /// Packets that wait for turn(), of all interfaces; more are dropped, as by a full device queue.
  static constexpr std::size_t max_inbox = 16384;

  /// Adds a node with these addresses to the network, which outlives this: interface 0.
  virtual_driver(sim::fabric& network, std::string name, std::vector<ip_address> addresses);
  ~virtual_driver() override;

  /// One more, with a node of its own. Its number stands for a device's descriptor.
  int add_interface(std::string name, std::vector<ip_address> addresses);

  std::string_view name() const override { return "virtual"; }
  instant now() override { return network_->now(); }
  /// Hands out what has arrived.
  void turn(instant deadline) override;
  /// Nobody sleeps in virtual time: the network sees a message in the mailbox when it next polls.
  void wake() noexcept override {}
  /// An interface's; below zero: the first one's. Frames begin with a virtio_net_hdr, as on TUN.
  result<std::unique_ptr<packet_port>> open_packet_port(int device, std::size_t frame_limit,
                                                        packet_receiver& receiver) override;

  std::uint64_t draw_seed() override;

  sim::node_id node(int interface = 0) const {
    return interfaces_[static_cast<std::size_t>(interface)].node;
  }
  bool has_packets() const { return !inbox_.empty(); }
  std::uint64_t inbox_overflows() const { return inbox_overflows_; }

 private:
  class port;
  struct attached {
    sim::node_id node{};
    port* opened = nullptr;
  };
  struct arrival {
    std::size_t interface;
    std::vector<std::byte> frame;
  };

  void take(std::size_t interface, std::span<const std::byte> packet);

  sim::fabric* network_;
  std::deque<attached> interfaces_;  // they stay where they are
  std::deque<arrival> inbox_;        // whole frames
  std::vector<std::vector<std::byte>> spare_;
  std::uint64_t inbox_overflows_ = 0;
  std::uint64_t seeds_drawn_ = 0;
};

}  // namespace weir::detail
