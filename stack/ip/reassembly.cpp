// Reassembly: see reassembly.hpp.
#include "stack/ip/reassembly.hpp"

#include <algorithm>

#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"

namespace weir::stack {
namespace {

constexpr std::size_t largest_datagram = 65535;
// What list, map and vectors cost beside the bytes: near enough to the truth to be a bound on
// memory.
constexpr std::size_t datagram_overhead = 384;
constexpr std::size_t fragment_overhead = 64;

constexpr std::uint8_t ecn_bits = 3;
constexpr std::uint8_t seen_not_ect = 1 << 0;
constexpr std::uint8_t seen_ce = 1 << 3;

}  // namespace

bool reassembler::acceptable(const wire::ip_header& header) const {
  auto length = header.payload.size();
  if (length == 0) return false;
  if (header.source.is_v6()) return true;  // parse_ipv6 has judged it
  if (header.more_fragments && length % 8 != 0) return false;
  if (header.header_length + header.fragment_offset + length > largest_datagram) return false;
  // RFC 1858 3 and RFC 3128: a TCP header is never spread over fragments but to deceive a filter.
  if (header.protocol == wire::tcp_protocol)
    return header.fragment_offset == 0 ? length >= 20 : header.fragment_offset >= 16;
  return true;
}

void reassembler::charge(datagram& d, std::size_t bytes) {
  d.charge += bytes;
  bytes_held_ += bytes;
}

void reassembler::drop(place d) {
  bytes_held_ -= d->charge;
  by_key_.erase(d->id);
  by_age_.erase(d);
}

void reassembler::spoil(datagram& d, counter why) {
  counters_.add(why);
  d.spoiled = true;
  d.fragments = {};
  d.first_headers = {};
  bytes_held_ -= d.charge - datagram_overhead;
  d.charge = datagram_overhead;
}

bool reassembler::make_room(std::size_t bytes, place keep) {
  while (bytes_held_ + bytes > max_bytes_) {
    auto oldest = by_age_.begin();
    if (oldest == keep && oldest != by_age_.end()) ++oldest;
    if (oldest == by_age_.end()) return false;
    counters_.add(counter::drop_fragment_limit);
    drop(oldest);
  }
  return true;
}

std::optional<reassembler::place> reassembler::find_or_make(instant now,
                                                            const wire::ip_header& header) {
  key id{header.source, header.destination, header.identification,
         header.source.is_v4() ? header.protocol : std::uint8_t{0}};
  if (auto found = by_key_.find(id); found != by_key_.end()) return found->second;
  if (!make_room(datagram_overhead, by_age_.end())) return std::nullopt;
  datagram fresh;
  fresh.id = id;
  fresh.deadline = now + timeout;
  by_age_.push_back(std::move(fresh));
  auto made = std::prev(by_age_.end());
  by_key_.emplace(id, made);
  charge(*made, datagram_overhead);
  return made;
}

// False: the datagram is not complete, whatever became of the fragment.
bool reassembler::insert(place d, std::span<const std::byte> packet,
                         const wire::ip_header& header) {
  auto begin = header.fragment_offset;
  auto end = begin + static_cast<std::uint32_t>(header.payload.size());
  auto after = std::lower_bound(d->fragments.begin(), d->fragments.end(), begin,
                                [](const fragment& f, std::uint32_t at) { return f.begin < at; });
  if (after != d->fragments.end() && after->begin == begin &&
      std::equal(after->data.begin(), after->data.end(), header.payload.begin(),
                 header.payload.end()))
    return false;  // RFC 8200 4.5: an exact duplicate may be ignored
  bool overlaps = (after != d->fragments.end() && after->begin < end) ||
                  (after != d->fragments.begin() && std::prev(after)->end() > begin);
  if (overlaps) {
    spoil(*d, counter::drop_fragment_overlap);
    return false;
  }
  // Two different ends, or bytes beyond the end.
  bool beyond =
      (d->end && (end > *d->end || (!header.more_fragments && end != *d->end))) ||
      (!header.more_fragments && !d->fragments.empty() && d->fragments.back().end() > end);
  d->ecn_seen |= static_cast<std::uint8_t>(1u << (header.traffic_class & ecn_bits));
  // RFC 3168 5.3: a mix of Not-ECT and CE is dropped.
  bool ecn_mix = (d->ecn_seen & seen_not_ect) != 0 && (d->ecn_seen & seen_ce) != 0;
  if (beyond || ecn_mix) {
    spoil(*d, counter::drop_fragment_malformed);
    return false;
  }
  if (d->fragments.size() >= max_fragments) {
    spoil(*d, counter::drop_fragment_limit);
    return false;
  }
  auto cost = header.payload.size() + fragment_overhead + (begin == 0 ? header.header_length : 0);
  if (!make_room(cost, d)) {
    spoil(*d, counter::drop_fragment_limit);
    return false;
  }
  charge(*d, cost);
  d->fragments.insert(after, fragment{begin, {header.payload.begin(), header.payload.end()}});
  d->data_held += end - begin;
  if (!header.more_fragments) d->end = end;
  if (begin == 0) {
    d->first_headers.assign(packet.begin(),
                            packet.begin() + static_cast<std::ptrdiff_t>(header.header_length));
    d->unfragmentable_length = header.unfragmentable_length;
    d->next_header_at = header.next_header_at;
    d->protocol = header.protocol;
  }
  return d->end == d->data_held;
}

std::span<const std::byte> reassembler::assemble(place d) {
  bool v6 = d->id.source.is_v6();
  auto headers = v6 ? d->unfragmentable_length : d->first_headers.size();
  auto total = headers + *d->end;
  if (total - (v6 ? wire::ipv6_header : 0) > largest_datagram) {
    counters_.add(counter::drop_fragment_malformed);
    drop(d);
    return {};
  }
  assembled_.clear();
  assembled_.reserve(total);
  assembled_.insert(assembled_.end(), d->first_headers.begin(),
                    d->first_headers.begin() + static_cast<std::ptrdiff_t>(headers));
  for (const auto& piece : d->fragments)
    assembled_.insert(assembled_.end(), piece.data.begin(), piece.data.end());
  auto* at = assembled_.data();
  if (v6) {
    wire::put16(at + 4, static_cast<std::uint16_t>(total - wire::ipv6_header));
    wire::put8(at + d->next_header_at, d->protocol);
    if ((d->ecn_seen & seen_ce) != 0) wire::put8(at + 1, wire::get8(at + 1) | ecn_bits << 4);
  } else {
    wire::put16(at + 2, static_cast<std::uint16_t>(total));
    wire::put16(at + 6, 0);
    if ((d->ecn_seen & seen_ce) != 0) wire::put8(at + 1, wire::get8(at + 1) | ecn_bits);
    wire::put16(at + 10, 0);
    wire::put16(at + 10, wire::checksum_of(std::span(assembled_).first(headers)));
  }
  drop(d);
  counters_.add(counter::datagrams_reassembled);
  return assembled_;
}

std::span<const std::byte> reassembler::add(instant now, std::span<const std::byte> packet,
                                            const wire::ip_header& header) {
  if (!acceptable(header)) {
    counters_.add(counter::drop_fragment_malformed);
    return {};
  }
  auto d = find_or_make(now, header);
  if (!d) {
    counters_.add(counter::drop_fragment_limit);
    return {};
  }
  if ((*d)->spoiled) {
    counters_.add(counter::drop_fragment_overlap);
    return {};
  }
  if (!insert(*d, packet, header)) return {};
  return assemble(*d);
}

void reassembler::advance(instant now,
                          const std::function<void(std::span<const std::byte>)>& timed_out) {
  while (!by_age_.empty() && by_age_.front().deadline <= now) {
    auto& d = by_age_.front();
    counters_.add(counter::drop_fragment_timeout);
    if (!d.first_headers.empty()) {
      assembled_ = d.first_headers;
      const auto& data = d.fragments.front().data;
      assembled_.insert(assembled_.end(), data.begin(), data.end());
      timed_out(assembled_);
    }
    drop(by_age_.begin());
  }
}

}  // namespace weir::stack
