// DHCPv4, parse and emit.
#include "stack/wire/dhcp.hpp"

#include <algorithm>
#include <cstring>

#include "stack/wire/bytes.hpp"
#include "stack/wire/ip.hpp"

namespace weir::stack::wire {
namespace {

constexpr std::uint8_t boot_request = 1, boot_reply = 2;
constexpr std::size_t fixed_part = 236, options_at = 240;
constexpr std::size_t least_message = 300;  // RFC 1542 2.1: some clients drop what is shorter
constexpr std::uint32_t magic = 0x63825363;
constexpr std::uint16_t broadcast_flag = 0x8000;

namespace option {
constexpr std::uint8_t pad = 0, mask = 1, router = 3, name_servers = 6, mtu = 26, wanted = 50,
                       lease = 51, type = 53, server = 54, renewal = 58, rebinding = 59,
                       client_id = 61, end = 255;
}

bool take_option(std::uint8_t kind, std::span<const std::byte> value, dhcp_query& out) {
  switch (kind) {
    case option::type:
      if (value.size() != 1) return false;
      out.type = static_cast<dhcp_type>(get8(value.data()));
      return true;
    case option::wanted:
    case option::server:
      if (value.size() != 4) return false;
      (kind == option::wanted ? out.wanted : out.server) = read_v4(value.data());
      return true;
    case option::client_id:
      if (value.size() < 2) return false;  // RFC 2132 9.14
      out.client_id = value;
      return true;
    default: return true;
  }
}

bool read_options(std::span<const std::byte> bytes, dhcp_query& out) {
  while (!bytes.empty()) {
    const auto kind = get8(bytes.data());
    if (kind == option::end) return true;
    if (kind == option::pad) {
      bytes = bytes.subspan(1);
      continue;
    }
    if (bytes.size() < 2) return false;
    const std::size_t length = get8(bytes.data() + 1);
    if (length + 2 > bytes.size()) return false;
    if (!take_option(kind, bytes.subspan(2, length), out)) return false;
    bytes = bytes.subspan(length + 2);
  }
  return true;  // RFC 2132 2 asks for an end option; messages without are understood all the same
}

bool is_clients(dhcp_type type) {
  using enum dhcp_type;
  return type == discover || type == request || type == decline || type == release ||
         type == inform;
}

class option_writer {
 public:
  explicit option_writer(std::byte* at) : at_(at) {}
  void number8(std::uint8_t kind, std::uint8_t value) {
    head(kind, 1);
    put8(at_++, value);
  }
  void number16(std::uint8_t kind, std::uint16_t value) {
    head(kind, 2);
    put16(at_, value);
    at_ += 2;
  }
  void number32(std::uint8_t kind, std::uint32_t value) {
    head(kind, 4);
    put32(at_, value);
    at_ += 4;
  }
  void addresses(std::uint8_t kind, std::span<const ip_address> values) {
    head(kind, static_cast<std::uint8_t>(4 * values.size()));
    for (const auto& each : values) {
      std::memcpy(at_, each.bytes().data(), 4);
      at_ += 4;
    }
  }
  std::byte* end() {
    put8(at_++, option::end);
    return at_;
  }

 private:
  void head(std::uint8_t kind, std::uint8_t length) {
    put8(at_++, kind);
    put8(at_++, length);
  }
  std::byte* at_;
};

std::uint32_t mask_of(std::uint8_t length) {
  return length == 0 ? 0 : ~std::uint32_t{0} << (32 - std::min<unsigned>(length, 32));
}

// RFC 2131 4.3.1, table 3: a NAK tells nothing but who says it.
std::byte* put_options(std::byte* at, const dhcp_answer& answer) {
  option_writer options(at);
  options.number8(option::type, static_cast<std::uint8_t>(answer.type));
  options.addresses(option::server, std::span(&answer.server, 1));
  if (answer.type == dhcp_type::nak) return options.end();
  if (answer.lease_s != 0) {
    options.number32(option::lease, answer.lease_s);
    options.number32(option::renewal, answer.lease_s / 2);
    options.number32(option::rebinding, answer.lease_s / 8 * 7);
  }
  options.number32(option::mask, mask_of(answer.prefix_length));
  options.addresses(option::router, std::span(&answer.router, 1));
  const auto servers = std::min(answer.name_servers.size(), most_dhcp_name_servers);
  if (servers != 0)
    options.addresses(option::name_servers, std::span(answer.name_servers).first(servers));
  if (answer.mtu != 0) options.number16(option::mtu, answer.mtu);
  return options.end();
}

}  // namespace

std::optional<dhcp_query> parse_dhcp(std::span<const std::byte> bytes) {
  if (bytes.size() < options_at) return std::nullopt;
  const auto* at = bytes.data();
  if (get8(at) != boot_request || get8(at + 1) != 1 || get8(at + 2) != 6 ||
      get32(at + fixed_part) != magic)
    return std::nullopt;
  dhcp_query out;
  out.transaction = get32(at + 4);
  out.wants_broadcast = (get16(at + 10) & broadcast_flag) != 0;
  out.own = read_v4(at + 12);
  out.relayed = read_v4(at + 24);
  out.mac = read_mac(at + 28);
  if (out.mac.is_group() || out.mac.is_zero()) return std::nullopt;
  if (!read_options(bytes.subspan(options_at), out) || !is_clients(out.type)) return std::nullopt;
  return out;
}

std::size_t emit_dhcp(std::byte* into, const dhcp_answer& answer) {
  std::memset(into, 0, least_message);
  put8(into, boot_reply);
  put8(into + 1, 1);
  put8(into + 2, 6);
  put32(into + 4, answer.transaction);
  put16(into + 10, answer.wants_broadcast ? broadcast_flag : 0);
  std::memcpy(into + 12, answer.own.bytes().data(), 4);
  std::memcpy(into + 16, answer.yours.bytes().data(), 4);
  std::memcpy(into + 20, answer.server.bytes().data(), 4);
  write_mac(into + 28, answer.mac);
  put32(into + fixed_part, magic);
  const auto end = static_cast<std::size_t>(put_options(into + options_at, answer) - into);
  return std::max(end, least_message);
}

}  // namespace weir::stack::wire
