// Sequences of UDP calls and packets: two shards of one device and a peer, every call on live, dead
// and made-up ids, and a wire whose packets the input delivers to either shard, drops, doubles or
// damages. Whatever the order: bounds hold, what is read is what was sent, a connected socket reads
// its remote's datagrams only, and nothing is left when all is closed.
#include <algorithm>
#include <deque>
#include <memory>

#include "fuzz/live_host.hpp"
#include "weir/stack/shards.hpp"

using namespace weir;
using namespace weir::fuzz;
using stack::socket_id;

namespace {

constexpr std::size_t host_count = 3;  // two shards, then the peer
constexpr std::size_t most_in_flight = 128;
constexpr std::uint64_t memory_limit = 96 << 10;
constexpr std::uint16_t ports = 6;

std::byte payload_byte(std::size_t size, std::size_t i) {
  return static_cast<std::byte>(size * 31 + i * 7);
}

ip_address address(bool peer, bool v6) {
  return *ip_address::parse(v6 ? (peer ? "fd00::2" : "fd00::1") : (peer ? "10.0.0.2" : "10.0.0.1"));
}

stack::host_options options(bool peer) {
  stack::host_options o;
  o.addresses = {{address(peer, false), 24}, {address(peer, true), 64}};
  o.secret[0] = peer ? 1 : 0;
  o.limits.memory = memory_limit;
  o.limits.udp_sockets = 8;
  o.limits.reassembly_bytes = 16 << 10;
  return o;
}

class world {
 public:
  world() : device_(std::make_shared<stack::shard_set>(2, options(false).secret, 16)) {
    for (std::size_t i = 0; i < host_count; ++i) {
      cards_[i].queue = &wire_[i == 2 ? 0 : 1];
      hosts_[i] = i == 2 ? std::make_unique<stack::host>(options(true), cards_[i])
                         : std::make_unique<stack::host>(options(false), cards_[i], device_,
                                                         static_cast<unsigned>(i));
    }
  }

  void play(input& in) {
    while (!in.empty()) {
      step(in);
      for (auto& h : hosts_) claim(h->memory_in_use() <= memory_limit, "memory is bounded");
    }
    for (std::size_t i = 0; i < host_count; ++i) {
      for (auto id : ids_[i]) hosts_[i]->close(now_, id);
      hosts_[i]->take_handovers(now_);
      claim(hosts_[i]->memory_in_use() == 0, "nothing is left");
    }
  }

 private:
  struct card final : stack::packet_sink {
    bool transmit(std::span<const std::span<const std::byte>> parts,
                  const stack::transmit_meta&) override {
      if (queue->size() >= most_in_flight) return false;
      std::vector<std::byte> packet;
      for (auto part : parts) packet.insert(packet.end(), part.begin(), part.end());
      claim(wire::parse_ip(packet).status == wire::ip_status::ok, "what is sent parses");
      claim(packet.size() <= 1500, "what is sent fits the device");
      queue->push_back(std::move(packet));
      return true;
    }
    std::deque<std::vector<std::byte>>* queue = nullptr;
  };

  socket_id pick(std::size_t h, input& in) {
    auto n = in.number8();
    if (ids_[h].empty() || n == 0xff) return static_cast<socket_id>(0x40000000u + in.number16());
    return ids_[h][n % ids_[h].size()];
  }
  endpoint some_endpoint(bool peer, input& in) {
    auto n = in.number8();
    endpoint out{address(peer, (n & 1) != 0), static_cast<std::uint16_t>((n >> 1) % ports)};
    if ((n & 0x30) == 0x30) out.address = out.address.is_v6() ? ip_address::v6({}) : ip_address();
    if (n > 0xf0) out.address = address(!peer, (n & 1) != 0);
    return out;
  }

  void step(input& in) {
    auto what = in.number8();
    auto h = std::size_t{what} >> 6;
    if (h >= host_count) h = 2;
    auto& host = *hosts_[h];
    switch (what & 15) {
      case 0: bind(h, in); break;
      case 1: {
        auto id = host.udp_connect(some_endpoint(h != 2, in), some_endpoint(h == 2, in));
        if (id) ids_[h].push_back(*id);
        break;
      }
      case 2: (void)host.udp_connect(pick(h, in), some_endpoint(h != 2, in)); break;
      case 3:
      case 4:
      case 5: send(h, in); break;
      case 6:
      case 7: receive(h, in); break;
      case 8: close(h, in); break;
      case 9: deliver(in, true); break;
      case 10: damage(in); break;
      case 11:
        host.flush(now_);
        now_ = now_ + std::chrono::milliseconds(in.number16());
        host.advance(now_);
        break;
      case 12: {
        stack::event event;
        while (host.next_event(event))
          claim(stack::is_udp(event.socket), "only UDP sockets are there");
        break;
      }
      default: deliver(in, false); break;
    }
  }

  void bind(std::size_t h, input& in) {
    auto bits = in.number8();
    stack::udp_options how;
    how.allow_wildcard = (bits & 1) != 0;
    how.sharing = (bits & 2) != 0 ? stack::sharing_mode::sharded : stack::sharing_mode::exclusive;
    how.receive_datagrams = bits >> 4;
    if ((bits & 4) != 0) how.receive_buffer = in.number16();
    auto at = some_endpoint(h == 2, in);
    auto id = hosts_[h]->udp_bind(at, how);
    if (!id) return;
    claim(!at.address.is_unspecified() || how.allow_wildcard, "a wildcard takes a decision");
    claim(hosts_[h]->local_endpoint(*id).port != 0, "a bound socket has a port");
    limits_[h][*id] = std::max<std::uint32_t>(how.receive_datagrams, 1);
    ids_[h].push_back(*id);
  }

  void send(std::size_t h, input& in) {
    constexpr std::size_t sizes[] = {0, 1, 100, 1400, 1473, 3000, 9000, 65507};
    auto id = pick(h, in);
    auto n = in.number8();
    std::vector<std::byte> bytes(sizes[n & 7]);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = payload_byte(bytes.size(), i);
    std::span<const std::byte> parts[] = {std::span(bytes).first(bytes.size() / 2),
                                          std::span(bytes).subspan(bytes.size() / 2)};
    auto to = some_endpoint(h != 2, in);
    auto sent = hosts_[h]->udp_send(now_, id, (n & 8) != 0 ? nullptr : &to, parts);
    claim(!sent || *sent == bytes.size(), "a datagram is sent whole");
  }

  void receive(std::size_t h, input& in) {
    auto id = pick(h, in);
    std::vector<std::byte> buffer(in.number8() < 200 ? 65536 : 50);
    auto info = hosts_[h]->info_udp(id);
    if (info && limits_[h].contains(id))
      claim(info->queued <= limits_[h][id], "a queue is bounded");
    auto got = hosts_[h]->udp_receive(id, buffer);
    if (!got) return;
    claim(info.has_value() && info->queued > 0, "only what is queued is received");
    claim(got->copied == std::min(got->size, buffer.size()), "the sizes agree");
    if (info->connected) claim(got->from == info->remote, "a connected socket hears its remote");
    for (std::size_t i = 0; !damaged_ && i < got->copied; ++i)
      claim(buffer[i] == payload_byte(got->size, i), "what is read was sent");
  }

  void close(std::size_t h, input& in) {
    auto id = pick(h, in);
    hosts_[h]->close(now_, id);
    std::erase(ids_[h], id);
    limits_[h].erase(id);
    claim(!hosts_[h]->info_udp(id), "a closed id is dead");
  }

  void deliver(input& in, bool keep) {
    auto n = in.number8();
    auto& queue = wire_[n & 1];
    if (queue.empty()) return;
    auto packet = queue.front();
    if (!keep) queue.pop_front();
    if (n >= 240) return;  // lost
    // The kernel chooses either queue of the device.
    auto to = (n & 1) != 0 ? std::size_t{2} : std::size_t{n} >> 1 & 1;
    hosts_[to]->input(now_, packet);
    for (auto& h : hosts_) h->take_handovers(now_);
  }

  void damage(input& in) {
    auto& queue = wire_[in.number8() & 1];
    if (queue.empty()) return;
    auto& packet = queue.front();
    packet[in.number16() % packet.size()] ^= static_cast<std::byte>(in.number8());
    damaged_ = true;
  }

  std::shared_ptr<stack::shard_set> device_;
  std::array<std::deque<std::vector<std::byte>>, 2> wire_;  // to the shards, to the peer
  std::array<card, host_count> cards_;
  std::array<std::unique_ptr<stack::host>, host_count> hosts_;
  std::array<std::vector<socket_id>, host_count> ids_;
  std::array<std::map<socket_id, std::uint32_t>, host_count> limits_;
  instant now_ = instant::from_ns(1'000'000'000);
  bool damaged_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  input in(data, std::min<std::size_t>(size, 1024));
  world().play(in);
  return 0;
}
