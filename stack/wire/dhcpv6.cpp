// DHCPv6, parse and emit.
#include "stack/wire/dhcpv6.hpp"

#include <algorithm>
#include <cstring>

#include "stack/wire/bytes.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

constexpr std::size_t message_head = 4, option_head = 4;
constexpr std::size_t address_size = 16, address_body = 24;  // and two lifetimes
constexpr std::size_t association_body = 12, temporary_body = 4;
constexpr std::size_t least_id = 3;  // two bytes of its kind, and something (RFC 8415 11.1)
constexpr std::uint16_t hardware_ethernet = 1, id_of_card = 3;

namespace option {
constexpr std::uint16_t client_id = 1, server_id = 2, addresses = 3, temporary = 4, address = 5,
                        preference = 7, status = 13, rapid_commit = 14, name_servers = 23,
                        prefixes = 25;
}

// Calls `take` for each option until it says no. False: it did, or one goes beyond the end.
template <class F>
bool each_option(std::span<const std::byte> bytes, F take) {
  while (!bytes.empty()) {
    if (bytes.size() < option_head) return false;
    const std::size_t length = get16(bytes.data() + 2);
    if (length > bytes.size() - option_head) return false;
    if (!take(get16(bytes.data()), bytes.subspan(option_head, length))) return false;
    bytes = bytes.subspan(option_head + length);
  }
  return true;
}

bool read_association(std::span<const std::byte> body, dhcpv6_association& out) {
  out.id = get32(body.data());
  return each_option(body.subspan(association_body), [&](std::uint16_t kind, auto value) {
    if (kind != option::address) return true;
    if (value.size() < address_body) return false;
    // Options of the address say nothing that is looked at, but they have to be such.
    if (!each_option(value.subspan(address_body), [](std::uint16_t, auto) { return true; }))
      return false;
    if (out.count < out.addresses.size()) out.addresses[out.count++] = read_v6(value.data());
    return true;
  });
}

void refuse(std::uint16_t kind, std::uint32_t id, dhcpv6_query& out) {
  if (out.other_count < out.others.size()) out.others[out.other_count++] = {kind, id};
}

bool take_id(std::span<const std::byte> value, std::span<const std::byte>& into) {
  // Twice is once too often (RFC 8415 21: options appear once, unless they say otherwise).
  if (value.size() < least_id || value.size() > max_dhcpv6_id || !into.empty()) return false;
  into = value;
  return true;
}

bool take_option(std::uint16_t kind, std::span<const std::byte> value, dhcpv6_query& out) {
  switch (kind) {
    case option::client_id: return take_id(value, out.client_id);
    case option::server_id: return take_id(value, out.server_id);
    case option::rapid_commit:
      if (!value.empty()) return false;
      out.rapid_commit = true;
      return true;
    case option::addresses: {
      if (value.size() < association_body) return false;
      dhcpv6_association one;
      if (!read_association(value, one)) return false;
      if (out.wants)
        refuse(kind, one.id, out);
      else
        out.wants = one;
      return true;
    }
    case option::temporary:
    case option::prefixes:
      if (value.size() < (kind == option::temporary ? temporary_body : association_body))
        return false;
      refuse(kind, get32(value.data()), out);
      return true;
    default: return true;
  }
}

class writer {
 public:
  explicit writer(std::byte* at) : at_(at) {}
  std::byte* at() const { return at_; }

  /// The length is written by close(), once it is known.
  std::byte* open(std::uint16_t kind) {
    put16(at_, kind);
    at_ += option_head;
    return at_;
  }
  void close(std::byte* body) { put16(body - 2, static_cast<std::uint16_t>(at_ - body)); }

  void number8(std::uint8_t v) { put8(at_++, v); }
  void number16(std::uint16_t v) {
    put16(at_, v);
    at_ += 2;
  }
  void number32(std::uint32_t v) {
    put32(at_, v);
    at_ += 4;
  }
  void bytes(std::span<const std::byte> v) {
    if (!v.empty()) std::memcpy(at_, v.data(), v.size());
    at_ += v.size();
  }
  void address(const ip_address& v) {
    std::memcpy(at_, v.bytes().data(), address_size);
    at_ += address_size;
  }
  void status(dhcpv6_status v) {
    auto* const body = open(option::status);
    number16(static_cast<std::uint16_t>(v));
    close(body);
  }

 private:
  std::byte* at_;
};

void put_association(writer& out, const dhcpv6_assignment& from) {
  auto* const body = out.open(option::addresses);
  out.number32(from.id);
  // Asked for again after half of the time that the address is preferred, and of anybody after four
  // fifths (RFC 8415 21.4).
  const auto preferred = from.count == 0 ? 0 : from.addresses[0].preferred_s;
  out.number32(preferred / 2);
  out.number32(preferred / 5 * 4);
  for (std::size_t i = 0; i < from.count; ++i) {
    const auto& each = from.addresses[i];
    auto* const inner = out.open(option::address);
    out.address(each.value);
    out.number32(each.preferred_s);
    out.number32(each.valid_s);
    out.close(inner);
  }
  if (from.status != dhcpv6_status::success) out.status(from.status);
  out.close(body);
}

void put_refusal(writer& out, const dhcpv6_refusal& what) {
  auto* const body = out.open(what.option);
  out.number32(what.id);
  if (what.option != option::temporary) {
    out.number32(0);
    out.number32(0);
  }
  out.status(what.option == option::prefixes ? dhcpv6_status::no_prefix
                                             : dhcpv6_status::no_addresses);
  out.close(body);
}

}  // namespace

std::optional<dhcpv6_query> parse_dhcpv6(std::span<const std::byte> bytes) {
  if (bytes.size() < message_head || is_relayed_dhcpv6(bytes)) return std::nullopt;
  dhcpv6_query out;
  const auto head = get32(bytes.data());
  out.type = static_cast<dhcpv6_type>(head >> 24);
  out.transaction = head & 0xffffff;
  const bool right = each_option(bytes.subspan(message_head), [&](std::uint16_t kind, auto value) {
    return take_option(kind, value, out);
  });
  if (!right) return std::nullopt;
  return out;
}

bool is_relayed_dhcpv6(std::span<const std::byte> bytes) {
  if (bytes.empty()) return false;
  const auto type = static_cast<dhcpv6_type>(get8(bytes.data()));
  return type == dhcpv6_type::relay_forward || type == dhcpv6_type::relay_reply;
}

std::array<std::byte, dhcpv6_card_id> dhcpv6_id_of(const mac_address& mac) {
  std::array<std::byte, dhcpv6_card_id> out;
  put16(out.data(), id_of_card);
  put16(out.data() + 2, hardware_ethernet);
  write_mac(out.data() + 4, mac);
  return out;
}

std::size_t emit_dhcpv6(std::byte* into, const dhcpv6_answer& answer) {
  writer out(into);
  out.number32(static_cast<std::uint32_t>(answer.type) << 24 | (answer.transaction & 0xffffff));
  const auto put = [&](std::uint16_t kind, std::span<const std::byte> value) {
    auto* const body = out.open(kind);
    out.bytes(value);
    out.close(body);
  };
  if (!answer.client_id.empty()) put(option::client_id, answer.client_id);
  put(option::server_id, dhcpv6_id_of(answer.server));
  if (answer.type == dhcpv6_type::advertise) {
    auto* const body = out.open(option::preference);
    out.number8(255);  // nobody else is to be waited for (RFC 8415 18.2.1)
    out.close(body);
  }
  if (answer.rapid_commit) put(option::rapid_commit, {});
  if (answer.status) out.status(*answer.status);
  if (answer.given) put_association(out, *answer.given);
  for (std::size_t i = 0; i < answer.other_count; ++i) put_refusal(out, answer.others[i]);
  const auto count = std::min(answer.name_servers.size(), most_dhcpv6_name_servers);
  if (count != 0) {
    auto* const body = out.open(option::name_servers);
    for (const auto& each : answer.name_servers.first(count)) out.address(each);
    out.close(body);
  }
  return static_cast<std::size_t>(out.at() - into);
}

}  // namespace weir::stack::wire
