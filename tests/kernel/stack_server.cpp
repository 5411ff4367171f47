// See stack_server.hpp.
#include "kernel/stack_server.hpp"

#include <array>
#include <future>
#include <latch>
#include <thread>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/factories.hpp"
#include "runtime/run/ending.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "weir/net.hpp"
#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/udp.hpp"

namespace kernel_test {

using weir::shard;
using weir::task;
using weir::tcp_stream;

namespace {

task<> echo(tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

// Without a copy of its own: what is lent is thrown away.
task<> discard(tcp_stream peer) {
  for (;;) {
    auto lent = co_await peer.receive();
    if (!lent) break;
  }
}

task<> chargen(tcp_stream peer) {
  std::array<std::byte, 8192> line;
  for (std::size_t i = 0; i < line.size(); ++i) line[i] = static_cast<std::byte>(' ' + i % 95);
  for (;;) co_await peer.write_all(line);
}

// Reads to the end, then answers with how many bytes that were: only possible on a half-closed
// connection.
task<> count_then_answer(tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  std::size_t total = 0;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    total += n;
  }
  co_await peer.write_all(std::to_string(total));
}

task<> udp_echo(shard& s, weir::endpoint where) {
  auto socket = s.bind_udp(where);
  std::vector<std::byte> buffer(weir::udp_socket::max_payload);
  for (;;) {
    auto got = co_await socket.receive_from(buffer);
    if (!got) break;
    co_await socket.send_to(std::span(buffer).first(got.n), got.from);
  }
}

task<> serve(shard& s, weir::endpoint where, task<> (*session)(tcp_stream)) {
  auto listener = s.listen(where);
  weir::scope sessions(s);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(session(std::move(*peer)));
  }
  co_await sessions.drain(std::chrono::seconds(1));
}

}  // namespace

struct stack_server::impl {
  weir::config settings;
  std::string driver;
  std::thread thread;
  shard* made = nullptr;
  weir::detail::stack_transport* transport = nullptr;
  bool stopping = false;  // the server's thread only
  std::latch let_go{1};   // nobody else will touch the shard any more
  std::string failure;
  std::size_t roots_left = 0;

  void main(std::promise<void>& ready) {
    std::unique_ptr<shard> mine;
    try {
      std::unique_ptr<weir::detail::driver> completions;
#if WEIR_WITH_URING
      if (driver == "uring") completions = weir::detail::make_uring_driver(settings);
#endif
#if WEIR_WITH_ASIO
      if (driver == "asio") completions = weir::detail::make_asio_driver(settings);
#endif
      auto sockets = weir::detail::make_stack_transport(*completions, settings, 0);
      transport = static_cast<weir::detail::stack_transport*>(sockets.get());
      mine = std::make_unique<shard>(0, settings, std::move(completions), std::move(sockets));
      made = mine.get();
      auto run = [&](task<> server) {
        ++roots_left;
        mine->start(std::move(server), [this](std::exception_ptr error) {
          --roots_left;
          if (error && failure.empty()) failure = "a server failed";
        });
      };
      auto start = [&](weir::endpoint where, task<> (*session)(tcp_stream)) {
        run(serve(*mine, where, session));
      };
      for (auto* address : {stack_v4, stack_v6}) {
        start({address, echo_port}, &echo);
        start({address, discard_port}, &discard);
        start({address, chargen_port}, &chargen);
        start({address, half_close_port}, &count_then_answer);
        run(udp_echo(*mine, {address, echo_port}));
      }
      mine->poll();  // the listeners are there when the constructor returns
    } catch (...) {
      ready.set_exception(std::current_exception());
      return;
    }
    ready.set_value();
    // As run() does: closed connections get a bounded time to deliver what is left.
    weir::detail::ending end(*mine);
    mine->run_until([&] { return stopping && end.reached(); });
    if (transport->sockets() != 0)
      failure = std::to_string(transport->sockets()) + " sockets were left over";
    let_go.wait();
  }
};

stack_server::stack_server(const std::string& driver, weir::config settings)
    : impl_(std::make_unique<impl>()) {
  settings.backend = "stack";
  if (settings.stack.address.empty())
    settings.stack.address = {*weir::ip_prefix::parse("198.18.0.2/24"),
                              *weir::ip_prefix::parse("fd00:198:18::2/64")};
  if (settings.stack.host_address.empty())
    settings.stack.host_address = {*weir::ip_prefix::parse("198.18.0.1/24"),
                                   *weir::ip_prefix::parse("fd00:198:18::1/64")};
  impl_->settings = std::move(settings);
  impl_->driver = driver;
  std::promise<void> ready;
  auto is_ready = ready.get_future();
  impl_->thread = std::thread([this, p = std::move(ready)]() mutable { impl_->main(p); });
  try {
    is_ready.get();
  } catch (...) {
    impl_->thread.join();
    throw;
  }
}

stack_server::~stack_server() { (void)stop(); }

std::string stack_server::stop() {
  if (!impl_->thread.joinable()) return impl_->failure;
  impl_->made->request_stop();
  impl_->made->post([this] { impl_->stopping = true; });
  impl_->let_go.count_down();
  impl_->thread.join();
  return impl_->failure;
}

void stack_server::on_shard(const std::function<void()>& f) {
  auto done = std::make_shared<std::promise<void>>();
  auto is_done = done->get_future();
  impl_->made->post([&f, done] { f(), done->set_value(); });
  is_done.get();
}

std::uint64_t stack_server::counter(weir::stack::counter c) {
  std::uint64_t value = 0;
  on_shard([&] { value = impl_->transport->host().counters()[c]; });
  return value;
}

std::size_t stack_server::connections() {
  std::size_t n = 0;
  on_shard([&] {
    impl_->transport->host().for_each_connection([&](const weir::stack::tcp_info&) { ++n; });
  });
  return n;
}

bool driver_usable(const std::string& name) {
#if WEIR_WITH_URING
  if (name == "uring") return weir::probe_backend("uring", {}).usable;
#endif
#if WEIR_WITH_ASIO
  if (name == "asio") return weir::probe_backend("asio", {}).usable;
#endif
  return false;
}

}  // namespace kernel_test
