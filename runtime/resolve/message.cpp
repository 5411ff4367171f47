// DNS messages. An answer is looked at in three steps: whether it echoes id and question, byte for
// byte but for letters' case, before ldns sees it; its code; its records, from the question's name
// along its aliases. Records of other names are never used (RFC 5452 6).
#include "runtime/resolve/message.hpp"

#include <ldns/ldns.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>

namespace weir::detail {
namespace {

constexpr std::size_t header_size = 12;

struct free_packet {
  void operator()(ldns_pkt* p) const { ldns_pkt_free(p); }
};
using packet = std::unique_ptr<ldns_pkt, free_packet>;
struct free_bytes {
  void operator()(std::uint8_t* p) const { LDNS_FREE(p); }
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::byte lower(std::byte b) { return std::byte(lower(static_cast<char>(b))); }

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

const std::uint8_t* bytes_of(std::span<const std::byte> message) {
  return reinterpret_cast<const std::uint8_t*>(message.data());
}

bool has_type(const ldns_rr* rr, int type) {
  return static_cast<int>(ldns_rr_get_type(rr)) == type &&
         ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN;
}

/// A domain name's text, where it is a host's.
std::string text_of(const ldns_rdf* name) {
  const auto* at = ldns_rdf_data(name);
  const auto size = ldns_rdf_size(name);
  std::string out;
  for (std::size_t i = 0; i < size && at[i] != 0; i += at[i] + std::size_t{1}) {
    if (i + 1 + at[i] > size) return {};
    const auto label = std::string_view(reinterpret_cast<const char*>(at + i + 1), at[i]);
    if (label.find('.') != std::string_view::npos) return {};
    out += out.empty() ? "" : ".";
    out += label;
  }
  return host_name(out);
}

/// RFC 2181 8: a TTL with the topmost bit set is none.
duration lifetime_of(std::uint32_t seconds) {
  if (seconds > 0x7fffffffu) return {};
  return std::min<duration>(std::chrono::seconds(seconds), longest_lifetime);
}

void take_address(const ldns_rdf* rdf, record_type type, answer& into) {
  const auto* data = ldns_rdf_data(rdf);
  if (type == record_type::a && ldns_rdf_size(rdf) == 4) {
    std::array<std::uint8_t, 4> bytes;
    std::memcpy(bytes.data(), data, bytes.size());
    into.addresses.push_back(ip_address::v4(bytes));
  } else if (type == record_type::aaaa && ldns_rdf_size(rdf) == 16) {
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), data, bytes.size());
    into.addresses.push_back(ip_address::v6(bytes));
  }
}

void take_service(const ldns_rr* rr, answer& into) {
  service_record one;
  one.priority = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
  one.weight = ldns_rdf2native_int16(ldns_rr_rdf(rr, 1));
  one.port = ldns_rdf2native_int16(ldns_rr_rdf(rr, 2));
  one.target = text_of(ldns_rr_rdf(rr, 3));
  // Without a target, ".": the service is decidedly not there (RFC 2782).
  if (!one.target.empty() && one.port != 0) into.services.push_back(std::move(one));
}

/// A record of the name and type that were asked for.
void take(const ldns_rr* rr, record_type type, answer& into) {
  const auto fields = ldns_rr_rd_count(rr);
  if (type == record_type::srv) {
    if (fields == 4) take_service(rr, into);
  } else if (fields == 1 && type == record_type::ptr) {
    auto name = text_of(ldns_rr_rdf(rr, 0));
    if (!name.empty()) into.names.push_back(std::move(name));
  } else if (fields == 1) {
    take_address(ldns_rr_rdf(rr, 0), type, into);
  }
}

std::size_t taken(const answer& of) {
  return of.addresses.size() + of.services.size() + of.names.size();
}

/// Follows the aliases from the question's name to records of its type. False: aliases in a circle.
bool collect(const ldns_pkt& from, const question& q, answer& into) {
  const auto* records = ldns_pkt_answer(&from);
  const auto count = ldns_rr_list_rr_count(records);
  const ldns_rdf* name = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(&from), 0));
  duration shortest = longest_lifetime;
  for (int alias = 0; alias <= max_aliases; ++alias) {
    const ldns_rr* leads_on = nullptr;
    bool found = false;
    for (std::size_t i = 0; i < count && taken(into) < max_records; ++i) {
      const auto* rr = ldns_rr_list_rr(records, i);
      const bool wanted = has_type(rr, static_cast<int>(q.type));
      if (!wanted && !has_type(rr, LDNS_RR_TYPE_CNAME)) continue;
      if (ldns_dname_compare(ldns_rr_owner(rr), name) != 0) continue;
      if (!wanted) {
        leads_on = rr;
        continue;
      }
      found = true;
      shortest = std::min(shortest, lifetime_of(ldns_rr_ttl(rr)));
      take(rr, q.type, into);
    }
    if (found || leads_on == nullptr || ldns_rr_rd_count(leads_on) != 1) {
      into.lifetime = shortest;
      return true;
    }
    shortest = std::min(shortest, lifetime_of(ldns_rr_ttl(leads_on)));
    name = ldns_rr_rdf(leads_on, 0);
  }
  return false;
}

/// RFC 2308 5: as long as the zone's SOA record says, and without one not at all.
duration negative_lifetime(const ldns_pkt& from, duration of_aliases) {
  constexpr std::size_t soa_fields = 7;
  const auto* records = ldns_pkt_authority(&from);
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(records); ++i) {
    const auto* rr = ldns_rr_list_rr(records, i);
    if (!has_type(rr, LDNS_RR_TYPE_SOA) || ldns_rr_rd_count(rr) != soa_fields) continue;
    const auto minimum = ldns_rdf2native_int32(ldns_rr_rdf(rr, soa_fields - 1));
    return std::min({lifetime_of(ldns_rr_ttl(rr)), lifetime_of(minimum), of_aliases,
                     longest_negative_lifetime});
  }
  return {};
}

bool echoes(std::span<const std::byte> message, std::span<const std::byte> query) {
  constexpr auto response = std::byte{0x80}, opcode = std::byte{0x78};
  if (message.size() < query.size()) return false;
  if (message[0] != query[0] || message[1] != query[1]) return false;
  if ((message[2] & response) == std::byte{0} || (message[2] & opcode) != std::byte{0})
    return false;
  if (message[4] != std::byte{0} || message[5] != std::byte{1}) return false;
  const auto asked = query.subspan(header_size);
  return std::ranges::equal(message.subspan(header_size, asked.size()), asked,
                            [](std::byte a, std::byte b) { return lower(a) == lower(b); });
}

}  // namespace

std::string host_name(std::string_view text) {
  constexpr std::size_t longest_label = 63;
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > longest_name) return {};
  std::string out;
  out.reserve(text.size());
  std::size_t label = 0;
  for (char c : text) {
    c = lower(c);
    if (c == '.' ? label == 0 : !is_host_character(c) || label == longest_label) return {};
    label = c == '.' ? 0 : label + 1;
    out += c;
  }
  return label == 0 ? std::string() : out;
}

std::string reverse_name(const ip_address& address) {
  const auto bytes = address.bytes();
  std::string out;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    if (address.is_v4()) {
      out += std::to_string(bytes[i]) + '.';
    } else {
      constexpr std::string_view digits = "0123456789abcdef";
      out += {digits[bytes[i] & 15], '.', digits[bytes[i] >> 4], '.'};
    }
  }
  return out + (address.is_v4() ? "in-addr.arpa" : "ip6.arpa");
}

std::vector<std::byte> encode_query(const question& q, std::uint16_t id) {
  auto* name = ldns_dname_new_frm_str(q.name.c_str());
  if (name == nullptr) return {};
  packet asks(ldns_pkt_query_new(name, static_cast<ldns_rr_type>(q.type), LDNS_RR_CLASS_IN,
                                 LDNS_RD));  // which owns the name now
  if (!asks) return {};
  ldns_pkt_set_id(asks.get(), id);
  std::uint8_t* data = nullptr;
  std::size_t size = 0;
  if (ldns_pkt2wire(&data, asks.get(), &size) != LDNS_STATUS_OK) return {};
  std::unique_ptr<std::uint8_t, free_bytes> owned(data);
  const auto bytes = std::as_bytes(std::span(data, size));
  return {bytes.begin(), bytes.end()};
}

verdict read_answer(std::span<const std::byte> message, std::span<const std::byte> query,
                    const question& q, answer& into) {
  into = {};
  if (query.size() <= header_size || !echoes(message, query)) return verdict::foreign;
  constexpr auto truncation = std::byte{0x02}, code_bits = std::byte{0x0f};
  if ((message[2] & truncation) != std::byte{0}) return verdict::truncated;
  const auto code = std::to_integer<int>(message[3] & code_bits);
  if (code != LDNS_RCODE_NOERROR && code != LDNS_RCODE_NXDOMAIN) return verdict::failed;

  ldns_pkt* read = nullptr;
  if (ldns_wire2pkt(&read, bytes_of(message), message.size()) != LDNS_STATUS_OK)
    return verdict::foreign;
  packet owned(read);
  if (ldns_rr_list_rr_count(ldns_pkt_question(read)) != 1) return verdict::foreign;
  if (!collect(*read, q, into)) return verdict::failed;
  if (taken(into) > 0 && code == LDNS_RCODE_NOERROR) return verdict::answered;
  // A referral: neither of its own zones nor asked of others. This server knows nothing.
  constexpr auto authoritative = std::byte{0x04}, recursion = std::byte{0x80};
  if ((message[2] & authoritative) == std::byte{0} && (message[3] & recursion) == std::byte{0})
    return verdict::failed;
  const auto lifetime = negative_lifetime(*read, into.lifetime);
  into = {};
  into.error = code == LDNS_RCODE_NXDOMAIN ? name_error::not_found : name_error::no_data;
  into.lifetime = lifetime;
  return verdict::answered;
}

std::optional<passed_answer> read_passed_answer(std::span<const std::byte> message) {
  constexpr auto response = std::byte{0x80}, opcode = std::byte{0x78};
  if (message.size() < header_size || (message[2] & response) == std::byte{0} ||
      (message[2] & opcode) != std::byte{0} || (message[3] & std::byte{0x0f}) != std::byte{0})
    return std::nullopt;
  ldns_pkt* read = nullptr;
  if (ldns_wire2pkt(&read, bytes_of(message), message.size()) != LDNS_STATUS_OK)
    return std::nullopt;
  packet owned(read);
  if (ldns_rr_list_rr_count(ldns_pkt_question(read)) != 1) return std::nullopt;
  const auto* asked = ldns_rr_list_rr(ldns_pkt_question(read), 0);
  passed_answer out;
  out.name = text_of(ldns_rr_owner(asked));
  const bool v6 = has_type(asked, LDNS_RR_TYPE_AAAA);
  if (out.name.empty() || (!v6 && !has_type(asked, LDNS_RR_TYPE_A))) return std::nullopt;
  const question q{out.name, v6 ? record_type::aaaa : record_type::a};
  if (!collect(*read, q, out.said) || out.said.addresses.empty()) return std::nullopt;
  return out;
}

}  // namespace weir::detail
