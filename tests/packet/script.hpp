// Packet scripts: a compact notation for what a peer sends and what must come back, in the manner
// of packetdrill.
//
// clang-format off
//   script t;                             // a host, 10.0.0.1, and a peer played by the test, 10.0.0.2
//   t.listen(80);
//   t.in("S 0 win 65535 <mss 1460>");     // the peer sends; numbers count from its SYN
//   t.out("S. 0 ack 1 <mss 1460>");       // the host sent this next; numbers count from its SYN
//   t.in(". 1 ack 1");
//   t.accept();
//   t.in("P. 1:11 ack 1");                // ten bytes, each told by its place in the stream
//   t.after(40ms);                        // time passes, timers run
//   t.out(". 1 ack 11");
//   t.quiet();                            // nothing else was sent
// clang-format on
//
// A segment is: flags (S F R P U E C, . for ACK, - for none), first sequence number or
// first:past-the-last, then optionally "ack N", "win N" (as in the header), ect0, ect1 or ce, and
// options in <>: mss N, sackOK, wscale N, TS value echo, sack a:b c:d, uto N (raw), nop. out()
// checks what it names and nothing else; PSH only if named. Times count from the script's start.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "packet/two_hosts.hpp"
#include "stack/wire/ip.hpp"
#include "stack/wire/tcp.hpp"

namespace weir::test {

/// What one line of notation says.
struct notation {
  std::uint8_t flags = 0;
  std::uint32_t begin = 0, end = 0;
  std::optional<std::uint32_t> ack;
  std::optional<std::uint16_t> window;
  std::optional<std::uint8_t> ecn;  ///< the IP header's mark, where named
  bool has_options = false;
  wire::tcp_option_set options;
};
notation parse_notation(std::string_view text);

class script : public packet_sink {
 public:
  explicit script(host_options options = {}, bool v6 = false);

  // --- The peer.
  /// The peer's segment arrives and the host flushes.
  void in(std::string_view text);
  /// Several arrive before one flush.
  void in_batch(std::initializer_list<std::string> texts);
  /// Arrives without a flush: the application may act first.
  void arrive(std::string_view text);
  void flush() { host_->flush(now_); }
  /// Raw bytes of an IP packet.
  void in_raw(std::span<const std::byte> packet);
  /// The IP packet that `text` stands for, with good checksums.
  std::vector<std::byte> packet(std::string_view text, std::string_view payload = {}) const;
  /// The next packet that the host sent matches `text`.
  void out(std::string_view text);
  /// The next packet carries these bytes too.
  void out_payload(std::string_view text, std::string_view payload);
  /// Nothing else was sent.
  void quiet();
  /// Forgets what was sent.
  void skip() { sent_.clear(); }
  std::size_t sent() const { return sent_.size(); }
  /// The next packet, whatever it is.
  wire::tcp_segment take();
  /// The same as it is, of whatever protocol.
  std::vector<std::byte> take_packet();
  /// The TTL or hop limit of the packet that was sent last.
  std::uint8_t last_ttl() const;
  std::string describe(const wire::tcp_segment& segment) const;
  /// The whole packet that was taken last.
  std::span<const std::byte> taken_bytes() const { return taken_.back().bytes; }
  /// Where it stands in the notation's numbers.
  std::uint32_t place(const wire::tcp_segment& segment) const {
    return segment.sequence - our_isn_;
  }

  // --- Time.
  void after(duration d);
  /// Runs until the host sends something; how long that took. `limit` when it sends nothing.
  duration until_sent(duration limit = 300s);
  instant now() const { return now_; }

  // --- The application.
  void listen(std::uint16_t port = 80, const listen_options& options = {});
  /// Takes a connection; it becomes `socket`.
  bool accept();
  void connect(const tcp_options& options = {});
  /// Opens a passive connection all the way: SYN, SYN-ACK, ACK, accept. `syn` are the peer's
  /// options, `window` its field.
  void establish(std::string_view syn = "<mss 1460>", std::uint16_t window = 65535);
  result<std::size_t> send(std::size_t bytes);
  result<std::size_t> send(std::string_view text);
  /// Reads everything that is there.
  std::string read();
  std::size_t read_some(std::size_t most);
  void close() { host_->close(now_, socket); }
  void shutdown() { CHECK_ok(host_->shutdown_send(now_, socket)); }
  tcp_info info() const { return *host_->info(socket); }
  tcp_state state() const { return info().state; }
  std::uint64_t count(counter c) const { return host_->counters()[c]; }
  std::error_code error() const { return host_->error(socket); }
  /// Bits of the events that are pending for `socket`, taken.
  ready events();

  host& h() { return *host_; }
  socket_id socket = socket_id::none;
  socket_id listener = socket_id::none;
  std::uint16_t local_port = 80;
  std::uint16_t peer_port = 40000;
  std::uint32_t peer_isn = 1'000'000;
  std::uint16_t peer_window = 65535;
  bool transmit_fails = false;
  ip_address us, them;
  /// The byte at `offset` of either stream.
  static char pattern(std::uint64_t offset) { return static_cast<char>('a' + offset % 23); }
  static std::string stream(std::uint64_t from, std::uint64_t to);

 private:
  struct record {
    std::vector<std::byte> bytes;
    instant at;
  };
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const transmit_meta& meta) override;
  static void CHECK_ok(std::error_code ec);
  wire::tcp_segment parse(const record& r) const;

  std::unique_ptr<host> host_;
  std::deque<record> sent_;
  mutable std::deque<record> taken_;  // keeps the bytes that take() points into
  instant now_ = instant::from_ns(1'000'000'000);
  std::uint32_t our_isn_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace weir::test
