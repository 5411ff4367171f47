// An impairment layer at the device, for where there is no sch_netem: the simulator's fabric under
// the real clock, between TUN devices and whatever else sends packets. Loss, delay, jitter,
// reordering, rate and queue are the fabric's, drawn from a seed.
#pragma once

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "stack/device/tun_device.hpp"
#include "stack/device/vnet_header.hpp"
#include "weir/stack/sim.hpp"

namespace kernel_test {

class impaired_wire {
 public:
  explicit impaired_wire(std::uint64_t seed) : fabric_(seed) {}

  weir::sim::fabric& fabric() { return fabric_; }
  weir::instant now() const {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return weir::instant::from_ns(std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
  }

  /// The kernel behind `device`, which must have been opened without offloads.
  weir::sim::node_id attach(weir::stack::tun_device& device, std::string name,
                            std::vector<weir::ip_address> addresses) {
    auto file = device.fd();
    auto node = fabric_.add_node(std::move(name), std::move(addresses),
                                 [this, file](std::span<const std::byte> packet) {
                                   frame_.assign(weir::stack::vnet_header_size, std::byte{0});
                                   frame_.insert(frame_.end(), packet.begin(), packet.end());
                                   // What the device has no room for is lost, as on any wire.
                                   if (::write(file, frame_.data(), frame_.size()) < 0) ++refused_;
                                 });
    devices_.push_back({file, node});
    return node;
  }

  /// Carries packets until something has come or `until` is reached.
  void carry(weir::instant until) {
    auto wait = std::min(until, fabric_.next_event()) - now();
    wait = std::clamp<weir::duration>(wait, weir::duration(0), std::chrono::milliseconds(20));
    std::array<pollfd, 4> watched{};
    for (std::size_t i = 0; i < devices_.size(); ++i) watched[i] = {devices_[i].file, POLLIN, 0};
    timespec time{0, static_cast<long>(wait.count())};
    (void)::ppoll(watched.data(), devices_.size(), &time, nullptr);
    for (std::size_t i = 0; i < devices_.size(); ++i)
      if ((watched[i].revents & POLLIN) != 0) read(devices_[i]);
    fabric_.advance_to(now());
  }
  std::uint64_t refused() const { return refused_; }

 private:
  struct port {
    int file;
    weir::sim::node_id node;
  };
  static constexpr int most_at_once = 64;

  void read(const port& from) {
    for (int i = 0; i < most_at_once; ++i) {
      auto n = ::read(from.file, buffer_.data(), buffer_.size());
      if (n <= static_cast<ssize_t>(weir::stack::vnet_header_size)) return;
      // Now, not when the batch began: what waited in the device has waited already.
      fabric_.advance_to(now());
      const std::span<const std::byte> parts[] = {std::span(buffer_)
                                                      .first(static_cast<std::size_t>(n))
                                                      .subspan(weir::stack::vnet_header_size)};
      fabric_.send(from.node, parts);
    }
  }

  weir::sim::fabric fabric_;
  std::vector<port> devices_;
  std::vector<std::byte> frame_;
  std::array<std::byte, 65'536 + 64> buffer_;
  std::uint64_t refused_ = 0;
};

/// A TUN device without offloads whose kernel end has this address. Throws.
inline weir::stack::tun_device open_device(const std::string& name,
                                           const std::vector<std::string>& kernel_addresses,
                                           std::uint16_t mtu) {
  weir::stack::tun_options options;
  options.name = name;
  for (const auto& text : kernel_addresses)
    options.host_addresses.push_back(*weir::ip_prefix::parse(text));
  options.mtu = mtu;
  options.checksum_offload = options.segmentation_offload = false;
  std::string why;
  auto made = weir::stack::tun_device::open(options, why);
  if (!made) throw std::runtime_error("TUN: " + why);
  return std::move(*made);
}

}  // namespace kernel_test
