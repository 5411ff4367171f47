// See udp_sockets.hpp.
#include "stack/udp/udp_sockets.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace weir::stack {
namespace {

endpoint wildcard_of(const endpoint& e) {
  return {e.address.is_v4() ? ip_address() : ip_address::v6({}), e.port};
}

}  // namespace

udp_info udp_socket::info() const {
  udp_info out;
  out.local = local;
  out.remote = remote;
  out.connected = connected;
  out.queued = queued;
  out.queued_bytes = queued_bytes;
  out.queued_limit = options.receive_datagrams;
  out.queued_bytes_limit = options.receive_buffer;
  out.received = received;
  out.sent = sent;
  out.dropped = dropped;
  out.icmp_errors = icmp_errors;
  out.last_icmp_type = last_icmp_type;
  out.last_icmp_code = last_icmp_code;
  return out;
}

udp_sockets::~udp_sockets() {
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
    if (sockets_.live(i)) remove(i);
}

std::uint32_t udp_sockets::exact(const endpoint& local) const {
  return index_.find(hash_endpoint<1, 3>(key_, local),
                     [&](std::uint32_t i) { return sockets_[i].local == local; });
}

std::uint32_t udp_sockets::bound(const endpoint& local) const {
  if (sockets_.size() == 0) return none;
  const auto specific = exact(local);
  return specific != none ? specific : exact(wildcard_of(local));
}

/// Of several sockets at an address, or else on the wildcard, the first that `matches`.
template <class Matches>
std::uint32_t udp_sockets::among(const endpoint& local, Matches&& matches) const {
  for (const auto& at : {local, wildcard_of(local)}) {
    const auto found = index_.find(hash_endpoint<1, 3>(key_, at), [&](std::uint32_t i) {
      return sockets_[i].local == at && matches(i);
    });
    if (found != none) return found;
  }
  return none;
}

/// Each member has a number of its own for each flow, and the highest has it: who comes or goes
/// changes nothing between the others.
std::uint32_t udp_sockets::member(const endpoint& local, const endpoint& remote) const {
  const auto hash = flow_key{local, remote}.hash<1, 3>(key_);
  std::uint32_t chosen = none;
  std::uint64_t highest = 0;
  const auto own = among(local, [&](std::uint32_t i) {
    const auto& s = sockets_[i];
    if (s.connected) return s.remote == remote;
    const std::uint64_t words[] = {hash, i};
    const auto number = siphash_words<1, 3>(key_, words);
    if (chosen == none || number > highest) {
      chosen = i;
      highest = number;
    }
    return false;
  });
  return own != none ? own : chosen;
}

std::uint32_t udp_sockets::sender(const endpoint& local, const endpoint& remote) const {
  const auto found = bound(local);
  if (found == none) return flow(local, remote);
  if (sockets_[found].options.sharing != sharing_mode::sharded) return found;
  return among(local, [&](std::uint32_t i) { return sockets_[i].last_destination == remote; });
}

std::uint32_t udp_sockets::match(const endpoint& local, const endpoint& remote) const {
  const auto found = bound(local);
  if (found == none) return flow(local, remote);
  const auto& s = sockets_[found];
  if (s.options.sharing == sharing_mode::sharded) return member(local, remote);
  return s.connected && s.remote != remote ? none : found;
}

bool udp_sockets::may_join(const endpoint& local) const {
  const auto there = exact(local);
  return there != none && sockets_[there].options.sharing == sharing_mode::sharded;
}

bool udp_sockets::conflicts(const endpoint& local) const {
  if (sockets_.size() == 0) return false;
  if (bound(local) != none) return true;
  if (!local.address.is_unspecified()) return false;
  for (std::uint32_t i = 0; i < sockets_.capacity(); ++i) {
    if (!sockets_.live(i) || sockets_[i].any || sockets_[i].is_flow) continue;
    const auto& other = sockets_[i].local;
    if (other.port == local.port && other.address.family() == local.address.family()) return true;
  }
  return false;
}

std::uint32_t udp_sockets::add(const endpoint& local, const udp_options& options) {
  const auto i = sockets_.emplace();
  sockets_[i].local = sockets_[i].bound = local;
  sockets_[i].options = options;
  index_.insert(hash_endpoint<1, 3>(key_, local), i);
  return i;
}

void udp_sockets::remove(std::uint32_t i) {
  auto& s = sockets_[i];
  while (s.head != none) discard(s, take_head(s));
  assert(s.queued == 0 && "what was lent was given back");
  if (s.any)
    forget_any(i);
  else if (s.is_flow)
    leave_any(i);
  else
    index_.erase(hash_endpoint<1, 3>(key_, s.local), i);
  sockets_.erase(i);
}

void udp_sockets::connect(std::uint32_t i, const ip_address& source, const endpoint& remote) {
  auto& s = sockets_[i];
  if (s.local.address != source) {
    index_.erase(hash_endpoint<1, 3>(key_, s.local), i);
    s.local.address = source;
    index_.insert(hash_endpoint<1, 3>(key_, s.local), i);
  }
  s.remote = remote;
  s.connected = true;
  s.error = {};
  // The queue is walked once; what stays keeps its order.
  const auto last = s.tail;
  for (bool more = s.head != none; more;) {
    const auto r = take_head(s);
    more = r != last;
    if (records_[r].of.from == remote)
      append(s, r);
    else
      discard(s, r);
  }
}

std::uint32_t udp_sockets::cost(std::size_t size) {
  return static_cast<std::uint32_t>(sizeof(record)) +
         (size == 0 ? 0 : buffer::chunk_pool::cost(size));
}

udp_sockets::admission udp_sockets::push(std::uint32_t index, const arrival& of,
                                         std::span<const std::byte> payload) {
  auto& s = sockets_[index];
  const auto charge = cost(payload.size());
  // An empty queue takes what comes, or a large datagram could never be received.
  const bool full = s.queued >= s.options.receive_datagrams ||
                    (s.queued != 0 && s.queued_bytes + charge > s.options.receive_buffer);
  if (full) {
    ++s.dropped;
    return admission::queue_full;
  }
  buffer::chunk* bytes = nullptr;
  // Queues of datagrams grow beside the reserve; one datagram may come out of it.
  const bool room = s.queued == 0 || charge <= pool_.account().bulk_available();
  if (!room || !pool_.account().charge(sizeof(record))) {
    ++s.dropped;
    return admission::no_memory;
  }
  if (!payload.empty()) {
    bytes = pool_.take(payload.size());
    if (bytes == nullptr) {
      pool_.account().release(sizeof(record));
      ++s.dropped;
      return admission::no_memory;
    }
    std::memcpy(bytes->data(), payload.data(), payload.size());
  }
  const auto r = records_.emplace();
  records_[r] = {of, bytes, static_cast<std::uint32_t>(payload.size()), none};
  append(s, r);
  ++s.queued;
  s.queued_bytes += charge;
  ++s.received;
  return admission::queued;
}

received_datagram udp_sockets::pop(std::uint32_t index, std::span<std::byte> into) {
  auto& s = sockets_[index];
  const auto oldest = take_head(s);
  const auto& r = records_[oldest];
  received_datagram out;
  out.size = r.size;
  out.copied = std::min<std::size_t>(r.size, into.size());
  out.from = r.of.from;
  out.to = r.of.to;
  out.ecn = r.of.ecn;
  if (out.copied != 0) std::memcpy(into.data(), r.bytes->data(), out.copied);
  discard(s, oldest);
  return out;
}

lent_datagram udp_sockets::lend(std::uint32_t index) {
  const auto oldest = take_head(sockets_[index]);
  const auto& r = records_[oldest];
  const auto* bytes = r.bytes != nullptr ? r.bytes->data() : nullptr;
  return {{bytes, r.size}, oldest, r.of.from, r.of.to, r.of.ecn};
}

void udp_sockets::give_back(std::uint32_t index, std::uint32_t token) {
  discard(sockets_[index], token);
}

void udp_sockets::append(udp_socket& s, std::uint32_t r) {
  (s.head == none ? s.head : records_[s.tail].next) = r;
  s.tail = r;
}

/// Out of the queue; still charged.
std::uint32_t udp_sockets::take_head(udp_socket& s) {
  const auto r = s.head;
  s.head = std::exchange(records_[r].next, none);
  if (s.head == none) s.tail = none;
  return r;
}

void udp_sockets::discard(udp_socket& s, std::uint32_t r) {
  --s.queued;
  s.queued_bytes -= cost(records_[r].size);
  if (records_[r].bytes != nullptr) pool_.give(records_[r].bytes);
  pool_.account().release(sizeof(record));
  records_.erase(r);
}

}  // namespace weir::stack
