// The packet script's player; see script.hpp.
#include "packet/script.hpp"

#include <doctest/doctest.h>

#include <charconv>
#include <stdexcept>

#include "stack/wire/checksum.hpp"

namespace weir::test {
namespace {

/// Splits off the next word.
std::string_view word(std::string_view& rest) {
  const auto begin = rest.find_first_not_of(" ,");
  if (begin == std::string_view::npos) return rest = {};
  rest.remove_prefix(begin);
  const auto end = std::min(rest.find_first_of(" ,"), rest.size());
  const auto out = rest.substr(0, end);
  rest.remove_prefix(end);
  return out;
}

std::uint32_t number(std::string_view text) {
  std::uint32_t out = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc{} || end != text.data() + text.size())
    throw std::invalid_argument("number: " + std::string(text));
  return out;
}

std::pair<std::uint32_t, std::uint32_t> range(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return {number(text), number(text)};
  return {number(text.substr(0, colon)), number(text.substr(colon + 1))};
}

void parse_options(std::string_view text, wire::tcp_option_set& out) {
  for (auto w = word(text); !w.empty(); w = word(text)) {
    if (w == "mss")
      out.mss = static_cast<std::uint16_t>(number(word(text)));
    else if (w == "sackOK")
      out.sack_permitted = true;
    else if (w == "wscale")
      out.window_scale = static_cast<std::uint8_t>(number(word(text)));
    else if (w == "TS") {
      const auto value = number(word(text));
      out.timestamps = wire::tcp_timestamps{value, number(word(text))};
    } else if (w == "sack") {
      while (!text.empty() && text.find(':') != std::string_view::npos) {
        const auto [left, right] = range(word(text));
        out.sack[out.sack_count++] = {left, right};
      }
    } else if (w == "uto") {
      out.user_timeout = static_cast<std::uint16_t>(number(word(text)));
    } else if (w != "nop") {
      throw std::invalid_argument("option: " + std::string(w));
    }
  }
}

constexpr std::string_view flag_letters = "FSRP.UEC";

}  // namespace

notation parse_notation(std::string_view text) {
  notation out;
  if (const auto open = text.find('<'); open != std::string_view::npos) {
    out.has_options = true;
    parse_options(text.substr(open + 1, text.find('>') - open - 1), out.options);
    text = text.substr(0, open);
  }
  for (const char c : word(text)) {
    if (c == '-') continue;
    const auto bit = flag_letters.find(c);
    if (bit == std::string_view::npos) throw std::invalid_argument("flag in: " + std::string(text));
    out.flags |= static_cast<std::uint8_t>(1u << bit);
  }
  std::tie(out.begin, out.end) = range(word(text));
  for (auto w = word(text); !w.empty(); w = word(text)) {
    if (w == "ack")
      out.ack = number(word(text));
    else if (w == "win")
      out.window = static_cast<std::uint16_t>(number(word(text)));
    else if (w == "ect1" || w == "ect0" || w == "ce")
      out.ecn = static_cast<std::uint8_t>(w == "ect1" ? 1 : w == "ect0" ? 2 : 3);
    else
      throw std::invalid_argument("word: " + std::string(w));
  }
  return out;
}

script::script(host_options options, bool v6) {
  us = *ip_address::parse(v6 ? "fd00::1" : "10.0.0.1");
  them = *ip_address::parse(v6 ? "fd00::2" : "10.0.0.2");
  if (options.addresses.empty()) {
    options.addresses = {*ip_prefix::parse("10.0.0.1/24"), *ip_prefix::parse("fd00::1/64")};
  }
  if (options.secret == decltype(options.secret){}) options.secret = secret_of(3);
  host_ = std::make_unique<host>(options, *this);
}

std::string script::stream(std::uint64_t from, std::uint64_t to) {
  std::string out;
  for (auto i = from; i < to; ++i) out += pattern(i);
  return out;
}

std::vector<std::byte> script::packet(std::string_view text, std::string_view payload) const {
  const auto n = parse_notation(text);
  wire::tcp_segment s;
  s.source = them;
  s.destination = us;
  s.source_port = peer_port;
  s.destination_port = local_port;
  s.sequence = peer_isn + n.begin;
  s.flags = n.flags;
  if (n.ack) s.acknowledgment = our_isn_ + *n.ack;
  s.window = n.window.value_or(peer_window);
  s.options = n.options;
  for (std::size_t i = 0; i < s.options.sack_count; ++i) {
    s.options.sack[i].left += our_isn_;
    s.options.sack[i].right += our_isn_;
  }
  std::string body(payload);
  // The notation's range counts SYN and FIN out, as packetdrill does: only data.
  if (body.empty() && n.end > n.begin) body = stream(n.begin - 1u, n.end - 1u);
  std::array<std::byte, wire::max_tcp_header> header;
  const auto length = wire::emit_tcp_header(header, s);
  const auto ip_length = us.is_v4() ? wire::min_ipv4_header : wire::ipv6_header;
  std::vector<std::byte> out(ip_length + length + body.size());
  if (us.is_v4()) {
    wire::ipv4_fields ip;
    ip.source = them;
    ip.destination = us;
    ip.protocol = wire::tcp_protocol;
    ip.total_length = static_cast<std::uint16_t>(out.size());
    ip.traffic_class = n.ecn.value_or(0);
    wire::emit_ipv4(out.data(), ip);
  } else {
    wire::ipv6_fields ip;
    ip.source = them;
    ip.destination = us;
    ip.next_header = wire::tcp_protocol;
    ip.payload_length = static_cast<std::uint16_t>(length + body.size());
    ip.traffic_class = n.ecn.value_or(0);
    wire::emit_ipv6(out.data(), ip);
  }
  std::memcpy(out.data() + ip_length, header.data(), length);
  std::memcpy(out.data() + ip_length + length, body.data(), body.size());
  return out;
}

void script::in_raw(std::span<const std::byte> bytes) {
  // A copy of its exact size, so that the address sanitizer sees any read past the end.
  const std::vector<std::byte> exact(bytes.begin(), bytes.end());
  receive_meta meta;
  meta.checksum_good = true;
  host_->input(now_, exact, meta);
}

void script::arrive(std::string_view text) { in_raw(packet(text)); }

void script::in(std::string_view text) {
  arrive(text);
  flush();
}

void script::in_batch(std::initializer_list<std::string> texts) {
  for (const auto& text : texts) arrive(text);
  flush();
}

bool script::transmit(std::span<const std::span<const std::byte>> parts, const transmit_meta&) {
  if (transmit_fails) return false;
  record r;
  r.at = now_;
  for (auto part : parts) r.bytes.insert(r.bytes.end(), part.begin(), part.end());
  sent_.push_back(std::move(r));
  return true;
}

wire::tcp_segment script::parse(const record& r) const {
  const auto ip = wire::parse_ip(r.bytes);
  REQUIRE(ip.status == wire::ip_status::ok);
  REQUIRE(ip.protocol == wire::tcp_protocol);
  wire::tcp_segment s;
  s.source = ip.source;
  s.destination = ip.destination;
  // RFC 9293 MUST-2: every checksum that leaves is verified.
  REQUIRE(wire::parse_tcp(ip.payload, true, s) == wire::parse_status::ok);
  s.ecn = ip.traffic_class & 3;
  s.traffic_class = ip.traffic_class & 0xfc;
  return s;
}

std::string script::describe(const wire::tcp_segment& s) const {
  std::string out;
  for (std::size_t i = 0; i < flag_letters.size(); ++i)
    if ((s.flags >> i & 1) != 0) out += flag_letters[i];
  const auto begin = s.sequence - our_isn_;
  out += " " + std::to_string(begin);
  if (!s.payload.empty()) out += ":" + std::to_string(begin + s.payload.size());
  if (s.has(wire::ack)) out += " ack " + std::to_string(s.acknowledgment - peer_isn);
  out += " win " + std::to_string(s.window) + " <";
  if (s.options.mss) out += " mss " + std::to_string(*s.options.mss);
  if (s.options.sack_permitted) out += " sackOK";
  if (s.options.window_scale) out += " wscale " + std::to_string(*s.options.window_scale);
  if (s.options.timestamps) {
    out += " TS " + std::to_string(s.options.timestamps->value) + " " +
           std::to_string(s.options.timestamps->echo);
  }
  for (std::size_t i = 0; i < s.options.sack_count; ++i) {
    out += (i == 0 ? " sack " : " ") + std::to_string(s.options.sack[i].left - peer_isn) + ":" +
           std::to_string(s.options.sack[i].right - peer_isn);
  }
  return out + " >";
}

wire::tcp_segment script::take() {
  REQUIRE_MESSAGE(!sent_.empty(), "nothing was sent");
  taken_.push_back(std::move(sent_.front()));
  sent_.pop_front();
  auto s = parse(taken_.back());
  if (s.has(wire::syn)) our_isn_ = s.sequence;
  return s;
}

std::vector<std::byte> script::take_packet() {
  REQUIRE_MESSAGE(!sent_.empty(), "nothing was sent");
  auto bytes = std::move(sent_.front().bytes);
  sent_.pop_front();
  return bytes;
}

std::uint8_t script::last_ttl() const {
  REQUIRE_FALSE(sent_.empty());
  return std::to_integer<std::uint8_t>(sent_.back().bytes[us.is_v4() ? 8 : 7]);
}

void script::out(std::string_view text) { out_payload(text, {}); }

void script::out_payload(std::string_view text, std::string_view payload) {
  INFO("expected: ", std::string(text));
  REQUIRE_MESSAGE(!sent_.empty(), "nothing was sent");
  const auto want = parse_notation(text);
  const auto got = take();
  INFO("got:      ", describe(got));
  auto flags = got.flags;
  if ((want.flags & wire::psh) == 0) flags &= static_cast<std::uint8_t>(~wire::psh);
  CHECK(flags == want.flags);
  CHECK(got.sequence - our_isn_ == want.begin);
  CHECK(got.payload.size() == want.end - want.begin);
  if (want.ack) CHECK(got.acknowledgment - peer_isn == *want.ack);
  if (want.window) CHECK(got.window == *want.window);
  if (want.ecn) CHECK(int{got.ecn} == int{*want.ecn});
  if (want.has_options) {
    if (want.options.mss) CHECK(got.options.mss == want.options.mss);
    if (want.options.user_timeout) CHECK(got.options.user_timeout == want.options.user_timeout);
    if ((want.flags & wire::syn) != 0) {
      CHECK(got.options.sack_permitted == want.options.sack_permitted);
      CHECK(got.options.window_scale == want.options.window_scale);
      CHECK(got.options.timestamps.has_value() == want.options.timestamps.has_value());
    }
    if (want.options.timestamps)
      CHECK(got.options.timestamps->echo == want.options.timestamps->echo);
    CHECK(got.options.sack_count == want.options.sack_count);
    for (std::size_t i = 0; i < want.options.sack_count; ++i) {
      CHECK(got.options.sack[i].left - peer_isn == want.options.sack[i].left);
      CHECK(got.options.sack[i].right - peer_isn == want.options.sack[i].right);
    }
  }
  if (!payload.empty()) {
    CHECK(std::string_view(reinterpret_cast<const char*>(got.payload.data()), got.payload.size()) ==
          payload);
  }
}

void script::quiet() {
  for (const auto& r : sent_) {
    const auto s = parse(r);
    FAIL_CHECK("sent though nothing was expected: ", describe(s));
  }
  sent_.clear();
}

void script::after(duration d) {
  const auto end = now_ + d;
  while (host_->next_deadline() <= end) {
    now_ = std::max(now_, host_->next_deadline());
    host_->advance(now_);
    host_->flush(now_);
  }
  now_ = end;
  host_->advance(now_);
  host_->flush(now_);
}

duration script::until_sent(duration limit) {
  const auto begin = now_;
  const auto end = now_ + limit;
  while (sent_.empty() && host_->next_deadline() <= end) {
    now_ = std::max(now_, host_->next_deadline());
    host_->advance(now_);
    host_->flush(now_);
  }
  if (sent_.empty()) now_ = end;
  return now_ - begin;
}

void script::CHECK_ok(std::error_code ec) { CHECK_MESSAGE(!ec, ec.message()); }

void script::listen(std::uint16_t port, const listen_options& options) {
  auto got = host_->listen({us, port}, options);
  REQUIRE(got);
  listener = *got;
  local_port = host_->local_endpoint(listener).port;
}

bool script::accept() {
  auto got = host_->accept(listener);
  if (!got) return false;
  socket = *got;
  return true;
}

void script::connect(const tcp_options& options) {
  auto got = host_->connect(now_, {them, peer_port}, {}, options);
  REQUIRE(got);
  socket = *got;
  local_port = host_->local_endpoint(socket).port;
}

void script::establish(std::string_view syn, std::uint16_t window) {
  peer_window = window;
  if (listener == socket_id::none) listen();
  in("S 0 " + std::string(syn));
  const auto answer = take();
  REQUIRE(answer.flags == (wire::syn | wire::ack));
  // Timestamps, where negotiated, must be on the ACK too.
  if (answer.options.timestamps) {
    const auto next = parse_notation("S 0 " + std::string(syn)).options.timestamps->value + 1;
    in(". 1 ack 1 <TS " + std::to_string(next) + " " +
       std::to_string(answer.options.timestamps->value) + ">");
  } else {
    in(". 1 ack 1");
  }
  quiet();
  REQUIRE(accept());
  (void)events();
}

result<std::size_t> script::send(std::size_t bytes) {
  const auto text = stream(written_, written_ + bytes);
  auto out = send(text);
  return out;
}

result<std::size_t> script::send(std::string_view text) {
  auto out = send_text(*host_, now_, socket, text);
  if (out) written_ += *out;
  return out;
}

std::string script::read() { return receive_text(*host_, now_, socket); }

std::size_t script::read_some(std::size_t most) {
  std::vector<std::byte> buffer(most);
  auto got = host_->receive(now_, socket, buffer);
  return got ? *got : 0;
}

ready script::events() {
  auto out = ready::none;
  event e;
  while (host_->next_event(e))
    if (e.socket == socket) out = out | e.what;
  return out;
}

}  // namespace weir::test
