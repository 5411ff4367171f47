// Puts fragments together again, both families (RFC 791 3.2, RFC 815, RFC 1122 3.3.2, RFC
// 8200 4.5). Bounded in bytes, datagrams and fragments a datagram; an overlap spoils the whole
// datagram (RFC 5722), tiny first fragments are refused (RFC 1858, RFC 3128). It sends nothing:
// what deserves an ICMP error is handed back.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "stack/wire/ip.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

class reassembler {
 public:
  /// RFC 8200 4.5: 60 s; RFC 1122 3.3.2: 60 to 120 s. Counted from the first fragment that came,
  /// never extended.
  static constexpr duration timeout = std::chrono::seconds(60);
  /// Of one datagram: 64 KiB over a path MTU of 296.
  static constexpr std::size_t max_fragments = 256;

  /// At most `max_bytes` are held, overhead included; beyond it the oldest datagrams go.
  reassembler(std::uint32_t max_bytes, host_counters& counters)
      : max_bytes_(max_bytes), counters_(counters) {}

  /// Takes a fragment that parsed as ok. The complete datagram, valid until the next call, or
  /// nothing.
  std::span<const std::byte> add(instant now, std::span<const std::byte> packet,
                                 const wire::ip_header& header);
  /// Gives up what is too old; tells the first fragment where it had come (RFC 1122 3.3.2, RFC
  /// 8200 4.5).
  void advance(instant now, const std::function<void(std::span<const std::byte>)>& timed_out);
  instant next_deadline() const {
    return by_age_.empty() ? instant::never() : by_age_.front().deadline;
  }

  std::size_t bytes_held() const { return bytes_held_; }
  std::size_t datagrams_held() const { return by_age_.size(); }

 private:
  struct key {
    ip_address source, destination;
    std::uint32_t identification;
    std::uint8_t protocol;  // IPv4 only: part of the key there, not in IPv6
    auto operator<=>(const key&) const = default;
  };
  struct fragment {
    std::uint32_t begin;
    std::vector<std::byte> data;
    std::uint32_t end() const { return begin + static_cast<std::uint32_t>(data.size()); }
  };
  struct datagram {
    key id;
    instant deadline;
    std::vector<std::byte>
        first_headers;  // of the fragment at offset 0, its fragment header included
    std::size_t unfragmentable_length = 0;  // IPv6
    std::size_t next_header_at = 0;         // IPv6
    std::uint8_t protocol = 0;              // the first fragment's: the others' word does not count
    std::vector<fragment> fragments;        // by begin, never overlapping
    std::uint32_t data_held = 0;
    std::optional<std::uint32_t> end;  // known once the last fragment came
    std::uint8_t ecn_seen = 0;         // one bit a codepoint
    bool spoiled = false;              // what still comes of it is dropped until it times out
    std::size_t charge = 0;
  };
  using place = std::list<datagram>::iterator;

  bool acceptable(const wire::ip_header& header) const;
  std::optional<place> find_or_make(instant now, const wire::ip_header& header);
  bool make_room(std::size_t bytes, place keep);
  void spoil(datagram& d, counter why);
  void drop(place d);
  void charge(datagram& d, std::size_t bytes);
  bool insert(place d, std::span<const std::byte> packet, const wire::ip_header& header);
  std::span<const std::byte> assemble(place d);

  std::size_t max_bytes_;
  host_counters& counters_;
  std::size_t bytes_held_ = 0;
  std::list<datagram> by_age_;
  std::map<key, place> by_key_;
  std::vector<std::byte> assembled_;
};

}  // namespace weir::stack
