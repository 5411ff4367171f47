// Datagrams of a load: an echo whose first bytes number it, and DNS questions (made by ldns), whose
// answers are told by their identifier. Answers that fit nothing are passed over.
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <stdexcept>

#include "load/protocol.hpp"

#if WEIR_LOAD_WITH_DNS
#include <ldns/ldns.h>
#endif

namespace weir::load {
namespace {

constexpr std::size_t number_bytes = 8;

class udp_echo : public datagram_protocol {
 public:
  udp_echo(const plan& of, unsigned connection) : size_(of.size), connection_(connection) {
    if (size_ < number_bytes)
      throw std::invalid_argument("udp:// needs --size 8 at least: a datagram carries its number");
  }
  void ask(std::uint64_t which, std::string& out) override {
    out.resize(size_);
    std::memcpy(out.data(), &which, number_bytes);
    for (std::size_t i = number_bytes; i < size_; ++i) out[i] = filler(which, i);
  }
  step feed(std::span<const std::byte> datagram, std::uint64_t oldest) override {
    std::uint64_t which = 0;
    if (datagram.size() < number_bytes) return {};
    std::memcpy(&which, datagram.data(), number_bytes);
    if (which < oldest) return {};
    if (datagram.size() != size_) return {step::kind::refused, which, "the answer was cut short"};
    for (std::size_t i = number_bytes; i < size_; ++i)
      if (static_cast<char>(datagram[i]) != filler(which, i))
        return {step::kind::refused, which, "the echo has other bytes than were sent"};
    return {step::kind::answered, which, {}};
  }

 private:
  char filler(std::uint64_t which, std::size_t i) const {
    return static_cast<char>(which * 31 + i * 7 + connection_);
  }
  std::size_t size_;
  unsigned connection_;
};

#if WEIR_LOAD_WITH_DNS
std::string dns_question(const std::string& name, const std::string& type) {
  ldns_rdf* owner = ldns_dname_new_frm_str(name.c_str());
  const auto kind = ldns_get_rr_type_by_name(type.c_str());
  if (owner == nullptr || kind == 0) {
    ldns_rdf_deep_free(owner);
    throw std::invalid_argument(fmt::format("dns: `{}` with type {} is no question", name, type));
  }
  ldns_pkt* packet = ldns_pkt_query_new(owner, kind, LDNS_RR_CLASS_IN, LDNS_RD);
  std::uint8_t* wire = nullptr;
  std::size_t size = 0;
  const auto status = ldns_pkt2wire(&wire, packet, &size);
  ldns_pkt_free(packet);
  if (status != LDNS_STATUS_OK) throw std::invalid_argument("dns: the question cannot be encoded");
  std::string out(reinterpret_cast<const char*>(wire), size);
  std::free(wire);
  return out;
}

class dns_questions : public datagram_protocol {
 public:
  explicit dns_questions(const plan& of) : question_(dns_question(of.to.path, of.record_type)) {}

  void ask(std::uint64_t which, std::string& out) override {
    out = question_;
    out[0] = static_cast<char>(which >> 8);
    out[1] = static_cast<char>(which);
  }
  step feed(std::span<const std::byte> datagram, std::uint64_t oldest) override {
    constexpr std::size_t header = 12;  // RFC 1035 4.1.1
    if (datagram.size() < question_.size()) return {};
    const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(datagram[i]); };
    const auto id = static_cast<std::uint16_t>(at(0) << 8 | at(1));
    const std::uint64_t which =
        oldest + static_cast<std::uint16_t>(id - static_cast<std::uint16_t>(oldest));
    const bool is_answer = (at(2) & 0x80) != 0;
    // The question comes back; the case of its letters may differ.
    bool same = true;
    for (std::size_t i = header; i < question_.size(); ++i)
      same = same && (at(i) | 0x20u) == (static_cast<unsigned char>(question_[i]) | 0x20u);
    if (!is_answer || !same) return {};
    if ((at(2) & 0x02) != 0) return {step::kind::refused, which, "dns: truncated"};
    if (const auto code = at(3) & 0x0f; code != 0) {
      constexpr std::array<std::string_view, 6> names{
          "", "dns: FORMERR", "dns: SERVFAIL", "dns: NXDOMAIN", "dns: NOTIMP", "dns: REFUSED"};
      return {step::kind::refused, which, code < names.size() ? names[code] : "dns: an error"};
    }
    if ((at(6) << 8 | at(7)) == 0) return {step::kind::refused, which, "dns: no answer in it"};
    return {step::kind::answered, which, {}};
  }

 private:
  std::string question_;
};
#endif

}  // namespace

std::unique_ptr<datagram_protocol> make_datagrams(const plan& of, unsigned connection) {
  if (of.to.kind == scheme::dns) {
#if WEIR_LOAD_WITH_DNS
    return std::make_unique<dns_questions>(of);
#else
    throw std::invalid_argument("dns:// was not built in: it needs libldns-dev");
#endif
  }
  if (of.to.what != service::echo)
    throw std::invalid_argument("udp:// knows echo only: udp://HOST:PORT");
  return std::make_unique<udp_echo>(of, connection);
}

}  // namespace weir::load
