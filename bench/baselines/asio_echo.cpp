// Baseline: Asio's own coroutines, written as its documentation writes an echo server. Built twice:
// here on its epoll reactor, and in a program of its own on io_uring (one program may not hold
// both).
#if defined(__clang__)
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#endif
#include <array>
#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>

#include "baselines.hpp"

namespace weir::bench {
namespace {

constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);

asio::awaitable<void> echo(asio::ip::tcp::socket socket) {
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    const auto [read_error, n] = co_await socket.async_read_some(asio::buffer(buffer), as_result);
    if (read_error) co_return;
    const auto [write_error, written] =
        co_await asio::async_write(socket, asio::buffer(buffer, n), as_result);
    if (write_error) co_return;
    static_cast<void>(written);
  }
}

asio::awaitable<void> accept_all(asio::ip::tcp::acceptor& acceptor) {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(as_result);
    if (error) continue;
    socket.set_option(asio::ip::tcp::no_delay(true));
    asio::co_spawn(acceptor.get_executor(), echo(std::move(socket)), asio::detached);
  }
}

}  // namespace

std::string_view asio_flavour() noexcept {
#if defined(ASIO_HAS_IO_URING_AS_DEFAULT)
  return "asio-uring";
#else
  return "asio-epoll";
#endif
}

void serve_asio(const baseline_settings& settings) {
  asio::io_context context(1);
  const auto protocol =
      settings.where.family() == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4();
  asio::ip::tcp::acceptor acceptor(context, protocol, listen_on(settings.where, 4096));
  announce(local_endpoint(acceptor.native_handle()), asio_flavour());
  asio::co_spawn(context, accept_all(acceptor), asio::detached);
  context.run();
  std::terminate();  // accept_all never returns
}

}  // namespace weir::bench
