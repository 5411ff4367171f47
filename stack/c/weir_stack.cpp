// The C interface: handles around a host, addresses and error codes in C's form, and the end of
// every exception.
#include "stack/c/weir_stack.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "weir/stack/host.hpp"

namespace stack = weir::stack;
using weir::endpoint;
using weir::instant;
using weir::ip_address;
using weir::result;

namespace {

/// Packets to the caller, each in one piece.
class sink final : public stack::packet_sink {
 public:
  sink(weir_transmit put, void* context) : transmit_(put), context_(context) {}
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta&) override {
    packet_.clear();
    for (const auto part : parts) packet_.insert(packet_.end(), part.begin(), part.end());
    return transmit_(context_, reinterpret_cast<const std::uint8_t*>(packet_.data()),
                     packet_.size()) != 0;
  }

 private:
  weir_transmit transmit_;
  void* context_;
  std::vector<std::byte> packet_;
};

int code(const std::error_code& error) {
  if (!error) return 0;
  const auto number = error.default_error_condition().value();
  return number > 0 ? -number : -EIO;
}

/// What `f` gives; -ENOMEM or -EINVAL where it throws.
template <class F>
auto guarded(F f) noexcept -> decltype(f()) {
  using type = decltype(f());
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return static_cast<type>(-ENOMEM);
  } catch (...) {
    return static_cast<type>(-EINVAL);
  }
}

bool is_address(const weir_address* a) {
  return a != nullptr && (a->family == 4 || a->family == 6);
}

endpoint from_c(const weir_address& a) {
  std::array<std::uint8_t, 16> v6;
  std::copy_n(a.bytes, v6.size(), v6.begin());
  std::array<std::uint8_t, 4> v4;
  std::copy_n(a.bytes, v4.size(), v4.begin());
  return {a.family == 4 ? ip_address::v4(v4) : ip_address::v6(v6), a.port};
}

void to_c(const endpoint& from, weir_address& out) {
  out = {};
  out.family = from.address.is_v4() ? 4 : 6;
  const auto bytes = from.address.bytes();
  std::copy(bytes.begin(), bytes.end(), out.bytes);
  out.port = from.port;
}

stack::socket_id id(weir_socket s) { return static_cast<stack::socket_id>(s); }

/// A new socket, to where the caller wants it.
int give(const result<stack::socket_id>& made, weir_socket* out) {
  if (!made) return code(made.error());
  *out = static_cast<weir_socket>(*made);
  return 0;
}
std::int64_t give(const result<std::size_t>& count) {
  return count ? static_cast<std::int64_t>(*count) : code(count.error());
}
std::span<const std::byte> bytes_of(const void* bytes, std::size_t size) {
  return {static_cast<const std::byte*>(bytes), size};
}

}  // namespace

struct weir_host {
  weir_host(stack::host_options options, weir_transmit transmit, void* context)
      : out(transmit, context), inside(std::move(options), out) {}
  sink out;
  stack::host inside;
};

namespace {

/// The options as the stack has them; nothing where they cannot be.
std::unique_ptr<weir_host> made_from(const weir_host_options& from) {
  constexpr std::uint32_t least_mtu = 68, least_mtu_v6 = 1280, most_mtu = 65535;
  stack::host_options out;
  bool v6 = false;
  if (from.transmit == nullptr || from.secret == nullptr || from.addresses == nullptr ||
      from.address_count == 0)
    return nullptr;
  for (std::size_t i = 0; i < from.address_count; ++i) {
    const auto* text = from.addresses[i];
    const auto prefix = text == nullptr ? std::nullopt : weir::ip_prefix::parse(text);
    if (!prefix) return nullptr;
    v6 |= prefix->address.is_v6();
    out.addresses.push_back(*prefix);
  }
  std::copy_n(from.secret, out.secret.size(), out.secret.begin());
  if (from.mtu != 0) {
    if (from.mtu < (v6 ? least_mtu_v6 : least_mtu) || from.mtu > most_mtu) return nullptr;
    out.mtu = static_cast<std::uint16_t>(from.mtu);
  }
  if (from.max_connections != 0) out.limits.connections = from.max_connections;
  if (from.max_memory != 0) out.limits.memory = from.max_memory;
  return std::make_unique<weir_host>(std::move(out), from.transmit, from.context);
}

}  // namespace

extern "C" {

uint32_t weir_stack_version(void) { return WEIR_STACK_VERSION; }

int weir_address_parse(const char* text, weir_address* out) {
  return guarded([&] {
    const auto read = text == nullptr || out == nullptr ? std::nullopt : endpoint::parse(text);
    if (!read) return -EINVAL;
    to_c(*read, *out);
    return 0;
  });
}

int weir_address_print(const weir_address* address, char* into, size_t size) {
  return guarded([&] {
    if (!is_address(address) || into == nullptr) return -EINVAL;
    const auto text = from_c(*address).to_string();
    if (text.size() >= size) return -ENOSPC;
    std::memcpy(into, text.c_str(), text.size() + 1);
    return 0;
  });
}

weir_host* weir_host_new(const weir_host_options* options, int* error) {
  std::unique_ptr<weir_host> made;
  const int failed = guarded([&] {
    if (options == nullptr || options->size < sizeof *options) return -EINVAL;
    made = made_from(*options);
    return made == nullptr ? -EINVAL : 0;
  });
  if (error != nullptr) *error = failed;
  return made.release();
}

void weir_host_free(weir_host* host) { delete host; }

void weir_host_input(weir_host* host, int64_t now, const void* packet, size_t size) {
  (void)guarded([&] {
    host->inside.input(instant::from_ns(now), bytes_of(packet, size));
    return 0;
  });
}

void weir_host_flush(weir_host* host, int64_t now) {
  (void)guarded([&] {
    host->inside.flush(instant::from_ns(now));
    return 0;
  });
}

void weir_host_advance(weir_host* host, int64_t now) {
  (void)guarded([&] {
    host->inside.advance(instant::from_ns(now));
    return 0;
  });
}

int64_t weir_host_next_deadline(const weir_host* host) {
  const auto next = host->inside.next_deadline();
  return next.is_never() ? std::numeric_limits<std::int64_t>::max() : next.ns();
}

int weir_host_next_event(weir_host* host, weir_event* out) {
  return guarded([&] {
    stack::event next;
    if (!host->inside.next_event(next)) return 0;
    out->socket = static_cast<weir_socket>(next.socket);
    out->user = next.user;
    out->what = static_cast<std::uint32_t>(next.what);
    return 1;
  });
}

int weir_listen(weir_host* host, const weir_address* local, uint32_t backlog, weir_socket* out) {
  return guarded([&] {
    if (!is_address(local)) return -EINVAL;
    stack::listen_options how;
    if (backlog != 0) how.backlog = backlog;
    return give(host->inside.listen(from_c(*local), how), out);
  });
}

int weir_listen_any(weir_host* host, const weir_address* network, uint8_t prefix_length,
                    uint16_t first_port, uint16_t last_port, uint32_t backlog, weir_socket* out) {
  return guarded([&] {
    if (!is_address(network) || prefix_length > (network->family == 4 ? 32 : 128)) return -EINVAL;
    stack::listen_options how;
    if (backlog != 0) how.backlog = backlog;
    const weir::any_destination where{{from_c(*network).address, prefix_length},
                                      {first_port, last_port}};
    return give(host->inside.listen_any(where, how), out);
  });
}

int weir_accept(weir_host* host, int64_t now, weir_socket listener, weir_socket* out) {
  return guarded(
      [&] { return give(host->inside.accept(instant::from_ns(now), id(listener)), out); });
}

int weir_connect(weir_host* host, int64_t now, const weir_address* remote,
                 const weir_address* local, weir_socket* out) {
  return guarded([&] {
    if (!is_address(remote) || (local != nullptr && !is_address(local))) return -EINVAL;
    const auto from = local == nullptr ? endpoint() : from_c(*local);
    return give(host->inside.connect(instant::from_ns(now), from_c(*remote), from,
                                     host->inside.options().tcp),
                out);
  });
}

int64_t weir_send(weir_host* host, int64_t now, weir_socket socket, const void* bytes,
                  size_t size) {
  return guarded([&] {
    const auto part = bytes_of(bytes, size);
    return give(host->inside.send(instant::from_ns(now), id(socket), std::span(&part, 1)));
  });
}

int64_t weir_receive(weir_host* host, int64_t now, weir_socket socket, void* into, size_t size) {
  return guarded([&] {
    return give(host->inside.receive(instant::from_ns(now), id(socket),
                                     {static_cast<std::byte*>(into), size}));
  });
}

int weir_shutdown_send(weir_host* host, int64_t now, weir_socket socket) {
  return guarded(
      [&] { return code(host->inside.shutdown_send(instant::from_ns(now), id(socket))); });
}

void weir_close(weir_host* host, int64_t now, weir_socket socket) {
  (void)guarded([&] {
    host->inside.close(instant::from_ns(now), id(socket));
    return 0;
  });
}

void weir_abort(weir_host* host, int64_t now, weir_socket socket) {
  (void)guarded([&] {
    host->inside.abort(instant::from_ns(now), id(socket));
    return 0;
  });
}

int weir_socket_error(const weir_host* host, weir_socket socket) {
  return guarded([&] { return code(host->inside.error(id(socket))); });
}

int weir_udp_bind(weir_host* host, const weir_address* local, weir_socket* out) {
  return guarded([&] {
    if (!is_address(local)) return -EINVAL;
    return give(host->inside.udp_bind(from_c(*local)), out);
  });
}

int weir_udp_connect(weir_host* host, const weir_address* remote, weir_socket* out) {
  return guarded([&] {
    if (!is_address(remote)) return -EINVAL;
    const auto to = from_c(*remote);
    const endpoint any(to.address.is_v4() ? ip_address() : ip_address::v6({}), 0);
    return give(host->inside.udp_connect(to, any), out);
  });
}

int64_t weir_udp_send(weir_host* host, int64_t now, weir_socket socket, const weir_address* to,
                      const void* bytes, size_t size) {
  return guarded([&]() -> std::int64_t {
    if (to != nullptr && !is_address(to)) return -EINVAL;
    const auto where = to == nullptr ? endpoint() : from_c(*to);
    const auto part = bytes_of(bytes, size);
    return give(host->inside.udp_send(instant::from_ns(now), id(socket),
                                      to == nullptr ? nullptr : &where, std::span(&part, 1)));
  });
}

int64_t weir_udp_receive(weir_host* host, weir_socket socket, void* into, size_t size,
                         weir_address* from) {
  return guarded([&]() -> std::int64_t {
    const auto got = host->inside.udp_receive(id(socket), {static_cast<std::byte*>(into), size});
    if (!got) return code(got.error());
    if (from != nullptr) to_c(got->from, *from);
    return static_cast<std::int64_t>(got->size);
  });
}

void weir_set_user(weir_host* host, weir_socket socket, void* user) {
  (void)guarded([&] {
    host->inside.set_user(id(socket), user);
    return 0;
  });
}

int weir_local_address(const weir_host* host, weir_socket socket, weir_address* out) {
  return guarded([&] {
    to_c(host->inside.local_endpoint(id(socket)), *out);
    return 0;
  });
}

int weir_remote_address(const weir_host* host, weir_socket socket, weir_address* out) {
  return guarded([&] {
    to_c(host->inside.remote_endpoint(id(socket)), *out);
    return 0;
  });
}

}  // extern "C"
