// Frames between a simulated host's interfaces and their nodes.
#include "runtime/driver/virtual/virtual_driver.hpp"

#include <cassert>
#include <cstring>

#include "stack/device/vnet_header.hpp"

namespace weir::detail {

/// The node's end of the wire: takes the header off what is sent, counts.
class virtual_driver::port final : public packet_port {
 public:
  port(virtual_driver& owner, attached& at, packet_receiver& receiver, std::size_t frame_limit)
      : owner_(&owner), at_(&at), receiver_(&receiver), frame_limit_(frame_limit) {
    at.opened = this;
  }
  ~port() override { at_->opened = nullptr; }

  bool send(std::span<const std::span<const std::byte>> parts) override {
    std::size_t size = 0;
    for (auto part : parts) size += part.size();
    // A simulated device has no offloads: a header that asks for one is refused.
    stack::vnet::layout header;
    bool plain = !parts.empty() && parts[0].size() == sizeof header;
    if (plain) {
      std::memcpy(&header, parts[0].data(), sizeof header);
      plain = header.flags == 0 && header.gso_type == stack::vnet::gso_none;
    }
    if (!plain || size > frame_limit_) {
      ++counters_.send_failed;
      return false;
    }
    ++counters_.frames_out;
    counters_.bytes_out += size;
    owner_->network_->send(at_->node, parts.subspan(1));
    return true;
  }
  const packet_port_counters& counters() const override { return counters_; }

  void receive(std::span<const std::byte> frame) {
    const std::span frames(&frame, 1);
    counters_.add_received(frames);
    receiver_->receive(frames);
  }

 private:
  virtual_driver* owner_;
  attached* at_;
  packet_receiver* receiver_;
  std::size_t frame_limit_;
  packet_port_counters counters_;
};

virtual_driver::virtual_driver(sim::fabric& network, std::string name,
                               std::vector<ip_address> addresses)
    : network_(&network) {
  add_interface(std::move(name), std::move(addresses));
}

virtual_driver::~virtual_driver() {
  for ([[maybe_unused]] const auto& one : interfaces_)
    assert(one.opened == nullptr && "a packet port outlived its driver");
}

int virtual_driver::add_interface(std::string name, std::vector<ip_address> addresses) {
  const auto number = interfaces_.size();
  interfaces_.emplace_back().node =
      network_->add_node(std::move(name), std::move(addresses),
                         [this, number](std::span<const std::byte> p) { take(number, p); });
  return static_cast<int>(number);
}

void virtual_driver::take(std::size_t interface, std::span<const std::byte> packet) {
  if (interfaces_[interface].opened == nullptr || inbox_.size() >= max_inbox) {
    ++inbox_overflows_;
    return;
  }
  std::vector<std::byte> frame;
  if (!spare_.empty()) {
    frame = std::move(spare_.back());
    spare_.pop_back();
  }
  frame.assign(stack::vnet_header_size, std::byte{0});
  frame.insert(frame.end(), packet.begin(), packet.end());
  inbox_.push_back({interface, std::move(frame)});
}

std::uint64_t virtual_driver::draw_seed() {
  // A purpose of its own: nothing that the wires draw moves by it.
  constexpr std::uint64_t purpose = 0x6472617773656564ull;
  const auto of_node = purpose ^ std::uint64_t{static_cast<std::uint32_t>(node())} << 24;
  return sim::random_source::derived(network_->seed(), of_node + seeds_drawn_++).next();
}

void virtual_driver::turn(instant) {
  while (!inbox_.empty()) {
    auto [interface, frame] = std::move(inbox_.front());
    inbox_.pop_front();
    if (auto* opened = interfaces_[interface].opened) opened->receive(frame);
    if (spare_.size() < 1024) spare_.push_back(std::move(frame));
  }
}

result<std::unique_ptr<packet_port>> virtual_driver::open_packet_port(int device,
                                                                      std::size_t frame_limit,
                                                                      packet_receiver& receiver) {
  const auto number = device < 0 ? 0 : static_cast<std::size_t>(device);
  if (number >= interfaces_.size()) return std::errc::no_such_device;
  auto& at = interfaces_[number];
  if (at.opened != nullptr) return std::errc::device_or_resource_busy;
  return std::unique_ptr<packet_port>(std::make_unique<port>(*this, at, receiver, frame_limit));
}

}  // namespace weir::detail
