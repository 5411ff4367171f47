// Two hosts in one thread, joined by memory: what one sends lies in a buffer until the other takes
// it. No kernel, no loss, no delay; a packet is copied once, as a device would. For measuring what
// the stack itself costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "clock.hpp"
#include "weir/stack/host.hpp"

namespace weir::bench {

class memory_wire {
 public:
  /// With `offload` checksums are left out on both sides, as on a loopback device.
  memory_wire(stack::host_options a, stack::host_options b, bool offload)
      : to_a_(offload),
        to_b_(offload),
        a_(prepared(std::move(a), offload), to_b_),
        b_(prepared(std::move(b), offload), to_a_) {}

  stack::host& a() { return a_; }
  stack::host& b() { return b_; }
  /// What is on the way reaches the other end.
  void deliver_to_a(instant now) { to_a_.deliver(a_, now); }
  void deliver_to_b(instant now) { to_b_.deliver(b_, now); }
  /// Both ways, what is answered at once included.
  void deliver(instant now) {
    deliver_to_b(now);
    b_.flush(now);
    deliver_to_a(now);
    a_.flush(now);
  }
  static instant now() { return instant::from_ns(static_cast<std::int64_t>(now_ns())); }

 private:
  class direction final : public stack::packet_sink {
   public:
    explicit direction(bool offload) : offload_(offload) { bytes_.resize(room); }
    bool transmit(std::span<const std::span<const std::byte>> parts,
                  const stack::transmit_meta& meta) override {
      std::size_t length = 0;
      for (auto part : parts) length += part.size();
      if (used_ + length > bytes_.size()) return false;
      std::byte* to = bytes_.data() + used_;
      for (auto part : parts) {
        std::memcpy(to, part.data(), part.size());
        to += part.size();
      }
      packets_.push_back({used_, length, meta.gso_size});
      used_ += length;
      return true;
    }
    void deliver(stack::host& to, instant now) {
      stack::receive_meta meta;
      meta.checksum_good = offload_;
      for (const auto& p : packets_) {
        meta.gso_size = p.gso_size;
        to.input(now, std::span(bytes_).subspan(p.at, p.length), meta);
      }
      packets_.clear();
      used_ = 0;
    }

   private:
    static constexpr std::size_t room = 4u << 20;
    struct packet {
      std::size_t at, length;
      std::uint16_t gso_size;
    };
    std::vector<std::byte> bytes_;
    std::vector<packet> packets_;
    std::size_t used_ = 0;
    bool offload_;
  };

  static stack::host_options prepared(stack::host_options o, bool offload) {
    o.transmit_checksum_offload = o.transmit_segmentation_offload = offload;
    return o;
  }

  direction to_a_, to_b_;
  stack::host a_, b_;
};

}  // namespace weir::bench
