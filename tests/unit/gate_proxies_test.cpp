// Asking a proxy for a connection: the bytes of SOCKS 5 and CONNECT, wherever they are cut and
// whichever operation fails; and that nothing of what follows is taken.
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "core_world.hpp"
#include "runtime/tools/gate/http_connect.hpp"
#include "runtime/tools/gate/socks5.hpp"
#include "weir/testing.hpp"

using core_test::world;
using weir::any_stream;
using weir::endpoint;
using weir::shard;
using weir::task;
using weir::gate::credentials;
using weir::gate::http_connect;
using weir::gate::socks5_connect;
using weir::testing::ends;
using weir::testing::expects;
using weir::testing::gives;
using weir::testing::script;
using weir::testing::step;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

using asks = task<std::error_code> (*)(any_stream&, const credentials&, const endpoint&);

struct dialogue {
  asks ask;
  credentials who;
  endpoint to;
  std::vector<step> steps;
};

const endpoint v4{"192.0.2.7", 443}, v6{"2001:db8::7", 80};
const auto bound = "\x05\x00\x00\x01\x0a\x00\x00\x01\x12\x34"s;

/// Dialogues that end with a connection, whose first bytes are "hello".
std::vector<dialogue> good() {
  return {
      {&socks5_connect,
       {},
       v4,
       {expects("\x05\x01\x00"s), gives("\x05\x00"s),
        expects("\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s), gives(bound + "hello")}},
      {&socks5_connect,
       {"me", "secret"},
       v6,
       {expects("\x05\x02\x00\x02"s), gives("\x05\x02"s), expects("\x01\x02me\x06secret"s),
        gives("\x01\x00"s),
        expects("\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x00\x50"s),
        gives("\x05\x00\x00\x03\x02hi\x00\x01"s + "hello")}},
      {&socks5_connect,
       {"me", "secret"},
       v4,
       {expects("\x05\x02\x00\x02"s), gives("\x05\x00"s),
        expects("\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s),
        gives("\x05\x00\x00\x04"s + std::string(18, '\0') + "hello")}},
      {&http_connect,
       {},
       v6,
       {expects("CONNECT [2001:db8::7]:80 HTTP/1.1\r\nHost: [2001:db8::7]:80\r\n\r\n"),
        gives("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello")}},
      {&http_connect,
       {"me", "secret"},
       v4,
       {expects("CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n"
                "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"),
        gives("HTTP/1.1 102 wait\r\n\r\nHTTP/1.0 204 go\r\n\r\nhello")}},
  };
}

std::error_code outcome_of(const dialogue& d) {
  std::error_code out;
  world w;
  w.run([&](shard& s) -> task<> {
    script peer(s, d.steps);
    auto stream = peer.stream();
    out = co_await d.ask(stream, d.who, d.to);
  });
  return out;
}

}  // namespace

TEST_CASE("a_proxy_is_asked_for_a_connection_wherever_the_bytes_are_cut") {
  world w;
  w.run([](shard& s) -> task<> {
    for (const auto& d : good()) {
      for (weir::testing::cut at{0};; at = {at.place + 1}) {
        script peer(s, d.steps);
        auto stream = weir::testing::cutting(peer.stream(), at);
        auto failed = co_await d.ask(stream, d.who, d.to);
        CHECK_FALSE(failed);
        std::array<std::byte, 5> first;
        auto read = co_await stream.read_exactly(first).nothrow();
        CHECK_FALSE(read.ec);
        CHECK(std::string(reinterpret_cast<const char*>(first.data()), 5) == "hello");
        CHECK(peer.complaint() == "");
        stream.close();
        co_await weir::sleep_for(1ms);  // the layer lets go of its inner stream
        if (!at.reached && at.place != 0) break;
      }
    }
  });
}

TEST_CASE("a_connection_to_a_proxy_that_breaks_at_any_operation_is_said") {
  world w;
  w.run([](shard& s) -> task<> {
    for (const auto& d : good()) {
      for (weir::testing::fault at;; at = {at.operation + 1}) {
        script peer(s, d.steps);
        auto stream = weir::testing::failing(peer.stream(), at);
        auto failed = co_await d.ask(stream, d.who, d.to);
        stream.close();
        co_await weir::sleep_for(1ms);
        if (!at.reached) {
          CHECK_FALSE(failed);
          break;
        }
        CHECK(failed == std::errc::connection_reset);
      }
    }
  });
}

TEST_CASE("what_a_proxy_says_of_the_destination_is_told") {
  const auto socks = [](const std::string& reply) {
    return outcome_of({&socks5_connect,
                       {},
                       v4,
                       {expects("\x05\x01\x00"s), gives("\x05\x00"s),
                        expects("\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s), gives(reply)}});
  };
  for (const auto& [code, why] : {std::pair('\x01', std::errc::host_unreachable),
                                  {'\x02', std::errc::permission_denied},
                                  {'\x03', std::errc::network_unreachable},
                                  {'\x04', std::errc::host_unreachable},
                                  {'\x05', std::errc::connection_refused},
                                  {'\x08', std::errc::address_family_not_supported},
                                  {'\x63', std::errc::host_unreachable}})
    CHECK(socks("\x05"s + code + std::string(8, '\0')) == why);
  const auto http = [](const std::string& reply) {
    return outcome_of(
        {&http_connect,
         {},
         v4,
         {expects("CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n"), gives(reply)}});
  };
  for (const auto& [status, why] : {std::pair("403", std::errc::permission_denied),
                                    {"407", std::errc::permission_denied},
                                    {"502", std::errc::host_unreachable},
                                    {"504", std::errc::timed_out},
                                    {"404", std::errc::connection_refused}})
    CHECK(http("HTTP/1.1 "s + status + " no\r\n\r\n") == why);
}

TEST_CASE("what_is_no_answer_of_a_proxy_is_a_protocol_error_and_an_end_a_reset") {
  const auto greeted = [](const std::string& answer, const credentials& who = {}) {
    return outcome_of({&socks5_connect,
                       who,
                       v4,
                       {expects(who.user.empty() ? "\x05\x01\x00"s : "\x05\x02\x00\x02"s),
                        gives(answer), ends()}});
  };
  CHECK(greeted("HT") == std::errc::protocol_error);
  CHECK(greeted("\x05\xff"s) == std::errc::permission_denied);
  CHECK(greeted("\x05\x02"s) == std::errc::permission_denied);  // it was not offered
  CHECK(greeted("\x05"s) == std::errc::connection_reset);
  CHECK(outcome_of({&socks5_connect, {std::string(256, 'x'), ""}, v4, {}}) ==
        std::errc::invalid_argument);
  CHECK(outcome_of({&socks5_connect,
                    {"me", "no"},
                    v4,
                    {expects("\x05\x02\x00\x02"s), gives("\x05\x02"s), expects("\x01\x02me\x02no"s),
                     gives("\x01\x01"s)}}) == std::errc::permission_denied);
  CHECK(outcome_of({&socks5_connect,
                    {},
                    v4,
                    {expects("\x05\x01\x00"s), gives("\x05\x00"s),
                     expects("\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s),
                     gives("\x05\x00\x00\x07\x00"s)}}) == std::errc::protocol_error);
  const auto http = [](const std::string& answer) {
    return outcome_of({&http_connect,
                       {},
                       v4,
                       {expects("CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n"),
                        gives(answer), ends()}});
  };
  CHECK(http("SSH-2.0-x\r\n\r\n") == std::errc::protocol_error);
  CHECK(http("HTTP/1.1 2x0 yes\r\n\r\n") == std::errc::protocol_error);
  CHECK(http("HTTP/1.1 200 yes\r\n") == std::errc::connection_reset);
  CHECK(http("HTTP/1.1 200 yes\r\n" + std::string(9000, 'a')) == std::errc::protocol_error);
}
