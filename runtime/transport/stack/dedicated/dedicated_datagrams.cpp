// The shard's side of UDP sockets on a dedicated stack.
#include "runtime/transport/stack/dedicated/dedicated_datagrams.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "runtime/transport/stack/datagram_calls.hpp"
#include "runtime/transport/stack/dedicated/dedicated_transport.hpp"
#include "runtime/transport/stack/dedicated/stack_service.hpp"
#include "weir/error.hpp"
#include "weir/udp.hpp"

namespace weir::detail {
namespace {

template <class Queue, class Element>
bool contains(const Queue& queue, const Element& wanted) {
  for (auto* at = queue.front(); at != nullptr; at = queue.after(*at))
    if (at == &wanted) return true;
  return false;
}

/// Copies what fits; gives how much that is.
std::size_t copy(std::span<const std::byte> bytes, std::span<std::byte> into) {
  const auto n = std::min(bytes.size(), into.size());
  if (n != 0) std::memcpy(into.data(), bytes.data(), n);
  return n;
}

/// Whether what was handed over is with the stack already.
bool heard(const dedicated_datagram_half& s) { return s.sending && (s.asks & ask::send) == 0; }

}  // namespace

dedicated_datagrams::~dedicated_datagrams() {
  while (!all_.empty()) remove(static_cast<socket&>(*all_.front()));
}

void dedicated_datagrams::attach(weir::shard& owner, std::shared_ptr<channel> way) {
  owner_ = &owner;
  channel_ = std::move(way);
}

void dedicated_datagrams::remove(socket& s) noexcept {
  all_.remove(s);
  delete &s;
}

result<datagram_socket*> dedicated_datagrams::open(const endpoint& local, const endpoint* remote,
                                                   const udp_options& options) {
  auto made = std::make_unique<socket>();
  auto& s = *made;
  s.at = this;
  s.owner = owner_;
  std::error_code error;
  call(channel_,
       [&] { error = channel_->service.datagrams().open(*channel_, s, local, remote, options); });
  if (error) return error;
  all_.push_front(*made.release());
  return static_cast<datagram_socket*>(&s);
}

std::error_code dedicated_datagrams::connect(datagram_socket& of_user, const endpoint& remote) {
  auto& s = static_cast<socket&>(of_user);
  std::error_code error;
  call(channel_, [&] { error = channel_->service.datagrams().connect(s, remote); });
  if (error) return error;
  channel_->transport.hear();  // an error that is on its way is another remote's
  s.failure = {};
  return {};
}

void dedicated_datagrams::close(datagram_socket& of_user) noexcept {
  auto& s = static_cast<socket&>(of_user);
  if (channel_ == nullptr) return remove(s);
  withdraw(*channel_, s);
  s.unread = 0;
  assert(!s.queued && "the stack hears of nothing behind the close");
  call(channel_, [&] { channel_->service.datagrams().close(s); });
}

void dedicated_datagrams::take(const down_note& note) {
  auto& s = static_cast<socket&>(*note.of);
  if ((note.bits & tell::gone) != 0) return remove(s);
  s.unread += note.count;
  if ((note.bits & tell::failed) != 0) s.failure = {note.error, std::generic_category()};
  if ((note.bits & tell::sent) != 0) sends_over(s);
  auto* op = std::exchange(s.receiver, nullptr);  // before the completion: it waits no longer
  if (op == nullptr || try_receive(s, *op)) return;
  if ((note.bits & tell::end) != 0) return op->complete(channel_->service.failure());
  s.receiver = op;
}

// --- Receiving.

/// The oldest datagram that was shown, whose bytes stay there until the end of the turn. What came
/// from others before the socket had its remote is passed over.
const stack::lent_datagram* dedicated_datagrams::next(socket& s) {
  while (s.unread != 0) {
    const auto& oldest = s.shown[s.next++ % s.window];
    --s.unread;
    ++s.consumed;
    ask_later(*channel_, s, ask::consume);
    if (!s.connected || oldest.from == s.remote) return &oldest;
  }
  return nullptr;
}

std::size_t dedicated_datagrams::receive_batch(socket& s, std::span<incoming_datagram> into) {
  std::size_t came = 0;
  for (auto& slot : into.first(std::min(into.size(), udp_socket::max_batch))) {
    const auto* got = next(s);
    if (got == nullptr) break;
    slot.n = copy(got->bytes, slot.buffer);
    slot.size = got->bytes.size();
    describe(*got, slot);
    ++came;
  }
  return came;
}

// True when the operation is over.
bool dedicated_datagrams::try_receive(socket& s, receive_datagram_operation& op) {
  if (s.failure) {
    op.complete(std::exchange(s.failure, {}));
    return true;
  }
  if (!op.batch.empty()) {
    op.size = receive_batch(s, op.batch);
    if (op.size == 0) return false;
  } else {
    const auto* got = next(s);
    if (got == nullptr) return false;
    copy(got->bytes, op.into);
    op.size = got->bytes.size();
    op.from = got->from;
  }
  op.complete();
  return true;
}

void dedicated_datagrams::start_receive(receive_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (try_receive(s, op)) return;
  if (const auto error = channel_->service.failure()) return op.complete(error);
  s.receiver = &op;
}

void dedicated_datagrams::cancel_receive(receive_datagram_operation& op) noexcept {
  op.socket->receiver = nullptr;
  op.complete(canceled_error());
}

// --- Sending.

void dedicated_datagrams::start_send(send_datagram_operation& op) {
  auto& s = static_cast<socket&>(*op.socket);
  if (s.failure) return op.complete(std::exchange(s.failure, {}));
  ++s.sends;
  s.behind.push_back(op);
  if (!heard(s)) hand_over(s);
}

/// What waits goes to the stack with the turn's notes.
void dedicated_datagrams::hand_over(socket& s) {
  if (s.behind.empty()) return;
  while (auto* op = s.behind.pop_front()) s.handed.push_back(*op);
  s.sending = true;
  ask_later(*channel_, s, ask::send);
}

void dedicated_datagrams::sends_over(socket& s) {
  assert(heard(s));
  s.sending = false;
  while (auto* op = s.handed.pop_front()) {
    --s.sends;
    op->complete(op->scratch.as<std::error_code>());
  }
  hand_over(s);
}

// What the stack has heard of it carries out, and says so soon.
void dedicated_datagrams::cancel_send(send_datagram_operation& op) noexcept {
  auto& s = static_cast<socket&>(*op.socket);
  auto& mine = heard(s) ? s.behind : s.handed;
  if (!contains(mine, op)) return;
  mine.remove(op);
  --s.sends;
  if (s.handed.empty()) {
    s.sending = false;
    s.asks &= static_cast<std::uint16_t>(~ask::send);
  }
  op.complete(canceled_error());
}

}  // namespace weir::detail
