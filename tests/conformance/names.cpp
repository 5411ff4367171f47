// Names over the datagrams and streams of every back end that has both.
#include <optional>

#include "conformance/harness.hpp"
#include "support/name_server.hpp"
#include "weir/resolve.hpp"

namespace conformance {

namespace {

constexpr int server_known = 1001;

/// Answers what is asked, in datagrams and on streams, until the subject says that it is done.
class serving_names {
 public:
  explicit serving_names(side& me) : me_(me), both_(me.here) {
    while (!bind()) {
    }
    both_.spawn(answer_datagrams());
    both_.spawn(answer_streams());
    me.signal(server_known, socket_->local_endpoint().port);
  }
  task<> until_done() {
    co_await me_.wait(1);
    both_.cancel();
    co_await both_.join();
  }

  names_test::name_server names;

 private:
  /// One port for both; false: somebody else has the datagrams of the one that was chosen.
  bool bind() {
    listener_ = me_.here.listen({me_.address, 0});
    try {
      socket_ = me_.here.bind_udp(listener_->local_endpoint());
    } catch (const io_error& error) {
      if (error.code() != std::errc::address_in_use) throw;
    }
    return socket_.has_value();
  }
  std::string answer_to(std::span<const std::byte> query) const {
    return names.answer(names_test::read_query(text_of(query)));
  }
  task<> answer_datagrams() {
    std::array<std::byte, 512> buffer;
    for (;;) {
      auto got = co_await socket_->receive_from(buffer).nothrow();
      if (got.ec) break;
      const auto answer = answer_to(std::span(buffer).first(got.n));
      (void)co_await socket_->send_to(answer, got.from).nothrow();
    }
  }
  task<> answer_streams() {
    std::array<std::byte, 512> buffer;
    for (;;) {
      auto peer = co_await listener_->accept();
      if (!peer) break;
      auto head = co_await peer->read_exactly(std::span(buffer).first(2)).nothrow();
      const auto query = std::span(buffer).first(std::to_integer<std::size_t>(buffer[1]));
      auto got = co_await peer->read_exactly(query).nothrow();
      if (head.ec || got.ec) continue;
      const auto answer = answer_to(query);
      const auto framed = names_test::number16(static_cast<unsigned>(answer.size())) + answer;
      (void)co_await peer->write_all(framed).nothrow();
    }
  }

  side& me_;
  std::optional<tcp_listener> listener_;
  std::optional<weir::udp_socket> socket_;
  weir::scope both_;
};

/// A resolver's settings, once the other side serves names.
task<weir::resolver_settings> asking_there(side& me) {
  auto server = co_await me.wait(server_known);
  weir::resolver_settings how;
  how.servers = {{me.other->address, static_cast<std::uint16_t>(server)}};
  co_return how;
}

/// An address of the other side's network that says nothing: nobody has it, or, on the machine's
/// own loopback, whoever listens there takes no more connections.
class silent_address {
 public:
  explicit silent_address(side& me) : me_(me) {
    if (me.on_kernel())
      address_ = *weir::ip_address::parse("127.0.0.77");
    else
      address_ = *weir::ip_address::parse(me.backend == "sim" ? "10.0.0.77" : "198.18.0.77");
  }
  const weir::ip_address& address() const { return address_; }
  task<> begin(std::uint16_t port) {
    if (!me_.on_kernel()) co_return;
    listener_ = me_.here.listen({address_, port}, {.backlog = 1});
    waiting_ = co_await weir::connect(endpoint(address_, port));
  }

 private:
  side& me_;
  weir::ip_address address_;
  std::optional<tcp_listener> listener_;
  std::optional<tcp_stream> waiting_;
};

}  // namespace

struct names_connect_to_a_host_and_miss_one_that_is_not {
  static task<> subject(side& s) {
    const auto how = co_await asking_there(s);
    auto to = co_await s.target();
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
    serving_names serving(s);
    const auto own = s.address.to_string();
    serving.names.zone["server.test"] = {names_test::a(own.c_str())};
    {
      auto stream = co_await s.accept_one();
      co_await stream.write_all("by name");
    }
    co_await serving.until_done();
  }
};
CONFORMANCE(names_connect_to_a_host_and_miss_one_that_is_not);

/// Where one family refuses, the other is taken at once, whichever of them goes first.
struct names_connect_by_the_family_that_answers {
  static task<> subject(side& s) {
    const auto how = co_await asking_there(s);
    for (const int round : {2, 3}) {
      const auto port = static_cast<std::uint16_t>(co_await s.wait(round));
      weir::resolver names(s.here, how);
      auto stream = co_await names.connect("server.test", port);
      CHECK(stream.remote_endpoint().address ==
            (round == 2 ? s.other->address : s.other->address_v6));
      CHECK(co_await read_text(stream) == "by family");
    }
    s.signal(1);
  }
  static task<> peer(side& s) {
    serving_names serving(s);
    const auto own = s.address.to_string(), own_v6 = s.address_v6.to_string();
    serving.names.zone["server.test"] = {names_test::a(own.c_str()), names_test::a(own_v6.c_str())};
    for (const int round : {2, 3}) {
      auto listener = s.here.listen({round == 2 ? s.address : s.address_v6, 0});
      s.signal(round, listener.local_endpoint().port);
      auto stream = co_await listener.accept();
      REQUIRE(stream);
      co_await stream->write_all("by family");
    }
    co_await serving.until_done();
  }
};
CONFORMANCE(names_connect_by_the_family_that_answers);

/// An address that says nothing costs the delay of RFC 8305, and no more: the second wins.
struct names_connect_past_an_address_that_says_nothing {
  static task<> subject(side& s) {
    const auto how = co_await asking_there(s);
    const auto port = static_cast<std::uint16_t>(co_await s.wait(2));
    weir::resolver names(s.here, how);
    const auto begin = s.here.now();
    auto stream = co_await names.connect("server.test", port);
    CHECK(stream.remote_endpoint() == endpoint(s.other->address, port));
    CHECK(s.here.now() - begin >= 250ms);
    CHECK(co_await read_text(stream) == "the second");
    s.signal(1);
  }
  static task<> peer(side& s) {
    serving_names serving(s);
    silent_address silent(s);
    const auto own = s.address.to_string(), other = silent.address().to_string();
    serving.names.zone["server.test"] = {names_test::a(other.c_str()), names_test::a(own.c_str())};
    {
      auto listener = s.here.listen({s.address, 0});
      co_await silent.begin(listener.local_endpoint().port);
      s.signal(2, listener.local_endpoint().port);
      auto stream = co_await listener.accept();
      REQUIRE(stream);
      co_await stream->write_all("the second");
    }
    co_await serving.until_done();
  }
};
CONFORMANCE(names_connect_past_an_address_that_says_nothing);

struct names_say_what_became_of_each_address {
  static task<> subject(side& s) {
    const auto how = co_await asking_there(s);
    const auto port = static_cast<std::uint16_t>(co_await s.wait(2));
    weir::resolver names(s.here, how);
    std::string details;
    std::error_code code;
    try {
      (void)co_await names.connect("server.test", port);
    } catch (const weir::connect_error& error) {
      details = error.details();
      code = error.code();
    }
    CHECK(code == std::errc::connection_refused);
    CAPTURE(details);
    for (const auto& address : {s.other->address, s.other->address_v6}) {
      const auto said = endpoint(address, port).to_string() + ": Connection refused";
      CHECK(details.find(said) != std::string::npos);
    }
    s.signal(1);
  }
  static task<> peer(side& s) {
    serving_names serving(s);
    const auto own = s.address.to_string(), own_v6 = s.address_v6.to_string();
    serving.names.zone["server.test"] = {names_test::a(own.c_str()), names_test::a(own_v6.c_str())};
    auto closed = s.here.listen({s.address, 0});
    const auto port = closed.local_endpoint().port;
    closed.close();
    s.signal(2, port);
    co_await serving.until_done();
  }
};
CONFORMANCE(names_say_what_became_of_each_address);

}  // namespace conformance
