// Path MTU cache: see path_mtu.hpp.
#include "stack/ip/path_mtu.hpp"

#include <algorithm>

namespace weir::stack {
namespace {

// RFC 1191 7.1, table 7-1.
constexpr std::uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};

std::uint32_t plateau_below(std::uint32_t length) {
  for (auto plateau : plateaus)
    if (plateau < length) return plateau;
  return path_mtu_cache::minimum_v4;
}

}  // namespace

std::uint16_t path_mtu_cache::get(instant now, const ip_address& destination) const {
  if (entries_.empty()) return device_mtu_;
  auto found = entries_.find(destination);
  if (found == entries_.end() || found->second.expires <= now) return device_mtu_;
  return found->second.mtu;
}

std::uint16_t path_mtu_cache::limit(instant now, const ip_address& destination) const {
  const auto found = entries_.find(destination);
  if (found == entries_.end() || found->second.expires <= now) return device_mtu_;
  return found->second.limit;
}

std::optional<std::uint16_t> path_mtu_cache::lower(instant now, const ip_address& destination,
                                                   std::uint32_t mtu, std::uint32_t quoted_length) {
  auto current = get(now, destination);
  if (destination.is_v6()) {
    if (mtu < minimum_v6) return std::nullopt;  // RFC 8201 4: discarded
  } else {
    if (mtu == 0) mtu = plateau_below(std::min<std::uint32_t>(quoted_length, current));
    mtu = std::max<std::uint32_t>(mtu, std::min(believed_v4, device_mtu_));
  }
  if (mtu >= current) return std::nullopt;  // RFC 1191 3: an error never raises it
  store(now, destination, static_cast<std::uint16_t>(mtu), static_cast<std::uint16_t>(mtu));
  return static_cast<std::uint16_t>(mtu);
}

void path_mtu_cache::set(instant now, const ip_address& destination, std::uint16_t mtu) {
  auto least = destination.is_v6() ? minimum_v6 : minimum_v4;
  mtu = std::min(std::max(mtu, least), device_mtu_);
  if (mtu == device_mtu_) {
    entries_.erase(destination);
    return;
  }
  store(now, destination, mtu, std::max(mtu, limit(now, destination)));
}

void path_mtu_cache::store(instant now, const ip_address& destination, std::uint16_t mtu,
                           std::uint16_t limit) {
  if (entries_.size() >= max_entries && !entries_.contains(destination)) {
    auto oldest = std::min_element(
        entries_.begin(), entries_.end(),
        [](const auto& a, const auto& b) { return a.second.expires < b.second.expires; });
    entries_.erase(oldest);
  }
  entries_[destination] = {mtu, limit, now + lifetime};
  next_expiry_ = std::min(next_expiry_, now + lifetime);
}

void path_mtu_cache::advance(instant now) {
  if (now < next_expiry_) return;
  std::erase_if(entries_, [&](const auto& item) { return item.second.expires <= now; });
  next_expiry_ = instant::never();
  for (const auto& [destination, item] : entries_)
    next_expiry_ = std::min(next_expiry_, item.expires);
}

}  // namespace weir::stack
