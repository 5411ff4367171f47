// A name server for tests, on weir's own sockets: a zone, and what it does wrong. It writes
// messages by hand, so that nothing here shares a mistake with what it is to test.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "weir/udp.hpp"
#include "weir/weir.hpp"

namespace names_test {

enum record_kind : std::uint16_t { A = 1, CNAME = 5, SOA = 6, PTR = 12, AAAA = 28, SRV = 33 };

inline std::string number16(unsigned n) {
  return {static_cast<char>(n >> 8 & 0xff), static_cast<char>(n & 0xff)};
}
inline std::string number32(std::uint32_t n) { return number16(n >> 16) + number16(n & 0xffff); }
inline std::string wire_name(std::string text) {
  std::string out;
  while (!text.empty()) {
    const auto dot = std::min(text.find('.'), text.size());
    out += static_cast<char>(dot);
    out += text.substr(0, dot);
    text.erase(0, dot + 1);
  }
  return out + '\0';
}
inline std::string wire_address(const char* text) {
  const auto address = *weir::ip_address::parse(text);
  const auto bytes = address.bytes();
  return {bytes.begin(), bytes.end()};
}

struct record {
  std::uint16_t type;
  std::string data;
  std::uint32_t ttl = 60;
};
inline record a(const char* address, std::uint32_t ttl = 60) {
  return {weir::ip_address::parse(address)->is_v4() ? A : AAAA, wire_address(address), ttl};
}
inline record alias(const char* name) { return {CNAME, wire_name(name)}; }
inline record service(unsigned priority, unsigned weight, unsigned port, const char* target) {
  return {SRV, number16(priority) + number16(weight) + number16(port) + wire_name(target)};
}
inline std::string wire_record(const std::string& name, const record& r) {
  return name + number16(r.type) + number16(1) + number32(r.ttl) +
         number16(static_cast<unsigned>(r.data.size())) + r.data;
}

/// The question of a query, and the name in it as text.
struct asked {
  std::string id, wire, name;
  unsigned type = 0;
};
inline asked read_query(const std::string& query) {
  asked out;
  out.id = query.substr(0, 2);
  std::size_t at = 12;
  while (query.at(at) != 0) {
    const auto length = static_cast<unsigned char>(query[at]);
    out.name += (out.name.empty() ? "" : ".") + query.substr(at + 1, length);
    at += length + 1u;
  }
  out.wire = query.substr(12, at + 5 - 12);
  out.type = static_cast<unsigned char>(query.at(at + 1)) * 256u +
             static_cast<unsigned char>(query.at(at + 2));
  return out;
}
/// An answer's bytes: flags, the question, and records that are written already.
inline std::string wire_message(const asked& q, unsigned flags, unsigned answers,
                                const std::string& records, unsigned authorities = 0) {
  return q.id + number16(flags) + number16(1) + number16(answers) + number16(authorities) +
         number16(0) + q.wire + records;
}
inline constexpr unsigned plain_flags = 0x8180, truncated_flag = 0x0200, no_such_name = 3,
                          server_failure = 2, refused = 5;

class name_server {
 public:
  std::map<std::string, std::vector<record>> zone;
  std::uint32_t negative_ttl = 30;
  bool soa = true;                            ///< negative answers say how long they may be kept
  std::map<unsigned, weir::duration> delays;  ///< by record type
  int ignore = 0;                             ///< queries over UDP that get no answer
  unsigned failure = 0;                       ///< code of every answer
  /// What to send in place of the honest answer, in this order; from a foreign port where the flag
  /// says so.
  std::function<std::vector<std::pair<std::string, bool>>(const asked&, const std::string&)> lie;
  /// The same over TCP, of bytes that begin with their length.
  std::function<std::string(const asked&, const std::string&)> lie_over_tcp;
  std::vector<std::string> log;  ///< "example.org 1", "tcp example.org 1"

  std::string answer(const asked& q) const {
    if (failure != 0) return wire_message(q, plain_flags | failure, 0, "");
    std::string records, name = q.name;
    unsigned count = 0;
    for (int step = 0; step < 8; ++step) {
      const auto found = zone.find(name);
      if (found == zone.end()) break;
      std::string next;
      for (const auto& r : found->second) {
        if (r.type != q.type && r.type != CNAME) continue;
        records += wire_record(wire_name(name), r);
        ++count;
        if (r.type == CNAME && r.type != q.type) next = text_of(r.data);
      }
      if (next.empty()) break;
      name = next;
    }
    if (count != 0) return wire_message(q, plain_flags, count, records);
    const auto none = zone.contains(q.name) ? 0u : no_such_name;
    if (!soa) return wire_message(q, plain_flags | none, 0, "");
    const record zone_start{SOA,
                            wire_name("ns") + wire_name("admin") + number32(1) + number32(1) +
                                number32(1) + number32(1) + number32(negative_ttl),
                            negative_ttl};
    return wire_message(q, plain_flags | none, 0, wire_record(wire_name("org"), zone_start), 1);
  }

  weir::task<> serve(weir::shard& s, weir::endpoint at) {
    weir::scope both(s);
    both.spawn(over_udp(s, at));
    both.spawn(over_tcp(s, at));
    co_await both.join();
  }

 private:
  static std::string text_of(const std::string& wire) {
    return read_query(std::string(12, '\0') + wire + std::string(4, '\0')).name;
  }
  weir::task<> over_udp(weir::shard& s, weir::endpoint at) {
    auto socket = s.bind_udp(at);
    auto foreign = s.bind_udp({at.address, static_cast<std::uint16_t>(at.port + 1)});
    weir::scope answers(s);
    std::array<std::byte, 512> buffer;
    for (;;) {
      auto got = co_await socket.receive_from(buffer);
      if (got.ec) break;
      const std::string text(reinterpret_cast<const char*>(buffer.data()), got.n);
      const auto q = read_query(text);
      log.push_back(q.name + ' ' + std::to_string(q.type));
      if (ignore > 0 && ignore-- > 0) continue;
      answers.spawn(reply(socket, foreign, q, got.from));
    }
    co_await answers.drain(weir::duration(0));
  }
  weir::task<> reply(weir::udp_socket& socket, weir::udp_socket& foreign, asked q,
                     weir::endpoint to) {
    if (const auto late = delays.find(q.type); late != delays.end())
      co_await weir::sleep_for(late->second);
    auto honest = answer(q);
    if (honest.size() > 512) honest = wire_message(q, plain_flags | truncated_flag, 0, "");
    std::vector<std::pair<std::string, bool>> all;
    if (lie)
      all = lie(q, honest);
    else
      all.emplace_back(honest, false);
    for (const auto& [bytes, from_elsewhere] : all) {
      auto& from = from_elsewhere ? foreign : socket;
      (void)co_await from.send_to(bytes, to).nothrow();
    }
  }
  weir::task<> over_tcp(weir::shard& s, weir::endpoint at) {
    auto listener = s.listen(at);
    for (;;) {
      auto peer = co_await listener.accept();
      if (!peer) break;
      std::array<std::byte, 512> buffer;
      auto head = co_await peer->read_exactly(std::span(buffer).first(2)).nothrow();
      const auto size = std::to_integer<std::size_t>(buffer[1]);
      auto got = co_await peer->read_exactly(std::span(buffer).first(size)).nothrow();
      if (head.ec || got.ec) continue;
      const auto q = read_query({reinterpret_cast<const char*>(buffer.data()), size});
      log.push_back("tcp " + q.name + ' ' + std::to_string(q.type));
      const auto honest = answer(q);
      auto framed = number16(static_cast<unsigned>(honest.size())) + honest;
      if (lie_over_tcp) framed = lie_over_tcp(q, framed);
      (void)co_await peer->write_all(framed).nothrow();
    }
  }
};

}  // namespace names_test
