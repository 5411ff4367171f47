// Names over the datagrams and streams of every back end that has both.
#include "conformance/harness.hpp"
#include "support/name_server.hpp"
#include "weir/resolve.hpp"

namespace conformance {

namespace {

constexpr int server_known = 1001;

/// Answers what is asked, until the subject says that it is done.
task<> serve_names(weir::udp_socket& socket, const names_test::name_server& names) {
  std::array<std::byte, 512> buffer;
  for (;;) {
    auto got = co_await socket.receive_from(buffer).nothrow();
    if (got.ec) break;
    const std::string query(reinterpret_cast<const char*>(buffer.data()), got.n);
    const auto answer = names.answer(names_test::read_query(query));
    (void)co_await socket.send_to(answer, got.from).nothrow();
  }
}

}  // namespace

struct names_connect_to_a_host_and_miss_one_that_is_not {
  static task<> subject(side& s) {
    auto server = co_await s.wait(server_known);
    auto to = co_await s.target();
    weir::resolver_settings how;
    how.servers = {{s.other->address, static_cast<std::uint16_t>(server)}};
    weir::resolver names(s.here, how);
    auto stream = co_await names.connect("server.test", to.port);
    CHECK(stream.remote_endpoint() == to);
    CHECK(co_await read_text(stream) == "by name");
    auto none = co_await names.addresses("nobody.test").nothrow();
    REQUIRE_FALSE(none);
    CHECK(none.error() == weir::name_error::not_found);
    s.signal(1);
  }
  static task<> peer(side& s) {
    names_test::name_server names;
    const auto own = s.address.to_string();
    names.zone["server.test"] = {names_test::a(own.c_str())};
    auto socket = s.here.bind_udp({s.address, 0});
    weir::scope serving(s.here);
    serving.spawn(serve_names(socket, names));
    s.signal(server_known, socket.local_endpoint().port);
    {
      auto stream = co_await s.accept_one();
      co_await stream.write_all("by name");
    }
    co_await s.wait(1);
    serving.cancel();
    co_await serving.join();
  }
};
DATAGRAM_CONFORMANCE(names_connect_to_a_host_and_miss_one_that_is_not);

}  // namespace conformance
