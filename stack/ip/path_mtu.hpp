// What fits through to each destination, as far as it is known: RFC 1191, RFC 8201. Bounded and
// aged; it believes what the transport has validated and sends nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

class path_mtu_cache {
 public:
  static constexpr std::size_t max_entries = 4096;
  /// RFC 1191 6.3 and RFC 8201 4: not tried again for at least five minutes, ten are recommended.
  static constexpr duration lifetime = std::chrono::minutes(10);
  static constexpr std::uint16_t minimum_v4 = 68;  ///< RFC 1191 3
  /// Below it no router is believed: forged errors cost too much.
  static constexpr std::uint16_t believed_v4 = 552;
  static constexpr std::uint16_t minimum_v6 = 1280;  ///< RFC 8201 4

  explicit path_mtu_cache(std::uint16_t device_mtu) : device_mtu_(device_mtu) {}

  std::uint16_t get(instant now, const ip_address& destination) const;
  /// What may fit through: as get(), but for a transport's own finding, which its next probe may
  /// surpass.
  std::uint16_t limit(instant now, const ip_address& destination) const;
  /// A router's word: `mtu` 0 if it named none, then the next plateau under `quoted_length` (RFC
  /// 1191 5 and 7).
  std::optional<std::uint16_t> lower(instant now, const ip_address& destination, std::uint32_t mtu,
                                     std::uint32_t quoted_length);
  /// The transport's own finding (RFC 4821).
  void set(instant now, const ip_address& destination, std::uint16_t mtu);
  void advance(instant now);
  instant next_deadline() const { return next_expiry_; }
  std::size_t size() const { return entries_.size(); }

 private:
  struct entry {
    std::uint16_t mtu;
    std::uint16_t limit;  // what a router said, else the device's
    instant expires;
  };
  void store(instant now, const ip_address& destination, std::uint16_t mtu, std::uint16_t limit);

  std::uint16_t device_mtu_;
  std::map<ip_address, entry> entries_;
  instant next_expiry_ = instant::never();  // no entry expires before it
};

}  // namespace weir::stack
