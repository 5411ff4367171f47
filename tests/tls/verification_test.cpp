// Whom a secured stream trusts, and what it says to a person when it does not.
#include "tls/world.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

using namespace tls_test;

namespace {

struct temporary_file {
  explicit temporary_file(const std::string& bytes) {
    const int made = ::mkstemp(path.data());
    REQUIRE(made >= 0);
    ::close(made);
    std::ofstream(path, std::ios::binary) << bytes;
  }
  ~temporary_file() { ::unlink(path.c_str()); }
  std::string text() const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string path = "/tmp/weir-tls-XXXXXX";
};

/// How a client takes a server's staple: why not, or nothing.
std::string objection(bool revoked, long from_days, bool by_another = false) {
  world w;
  const auto own = w.trusted.issue();
  w.use(own);
  authority another("test authority");
  const auto& by = by_another ? another : w.trusted;
  temporary_file staple(by.staple(own, revoked, from_days));
  w.serving.staple = staple.path;
  w.talk(echo, say_hello);
  if (w.client_failure) CHECK(w.client_failure == weir::error::untrusted);
  return w.client_words;
}

}  // namespace

TEST_CASE("a_certificate_that_expired_is_refused_with_the_date") {
  world w;
  w.use(w.trusted.issue({.from_days = -30, .to_days = -2}));
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words.starts_with("the certificate of server.test expired on 20"));
  CHECK(w.server_words == "the peer refused us: certificate expired");
}

TEST_CASE("a_certificate_for_somebody_else_is_refused_with_both_names") {
  world w;
  w.use(w.trusted.issue({.name = "other.test"}));
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words ==
        "name mismatch: asked for server.test, the certificate is for other.test");
}

TEST_CASE("a_certificate_of_its_own_is_refused_until_it_is_an_authority") {
  world w;
  const auto own = authority::self_signed();
  w.use(own);
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words ==
        "the certificate of server.test is signed by itself: to trust it, name it in "
        "tls.authorities");
  world trusted;
  trusted.use(own);
  trusted.trusting.authorities = own.certificate;
  trusted.talk(echo, say_hello);
  CHECK_FALSE(trusted.client_failure);
}

TEST_CASE("a_certificate_of_an_unknown_authority_is_refused_by_its_name") {
  world w;
  authority stranger("stranger");
  w.use(stranger.issue());
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words.find("is signed by CN=stranger, whom nobody here trusts") !=
        std::string::npos);
}

TEST_CASE("a_client_s_certificate_does_not_make_a_server") {
  world w;
  w.use(w.trusted.issue({.for_clients = true}));
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words.find("is not for servers") != std::string::npos);
}

TEST_CASE("verification_is_left_out_only_where_that_is_said") {
  world w;
  w.use(authority::self_signed({.name = "whoever.test"}));
  w.how.name = {};
  w.talk(wait_for_the_end, say_hello);
  CHECK(w.client_failure == std::errc::invalid_argument);
  CHECK(w.client_words == "a name is needed that the peer's certificate must be for");
  world careless;
  careless.use(authority::self_signed({.name = "whoever.test"}));
  careless.how.name = {};
  careless.trusting.verify = tls::verification::none_insecure;
  careless.talk(echo, say_hello);
  CHECK_FALSE(careless.client_failure);
}

TEST_CASE("an_address_is_a_name_too") {
  world w;
  w.use(w.trusted.issue({.name = "10.0.0.1"}));
  w.how.name = "10.0.0.1";
  w.talk(echo, say_hello);
  CHECK_FALSE(w.client_failure);
}

TEST_CASE("a_server_asks_for_a_client_s_certificate") {
  world w;
  w.serving.ask = tls::client_certificates::required;
  w.serving.authorities = w.trusted.certificate();
  const auto own = w.trusted.issue({.name = "client.test", .for_clients = true});
  w.trusting.certificate = own.certificate;
  w.trusting.key = own.key;
  w.talk(
      [](tls::tls_stream& peer) -> task<> {
        CHECK(peer.peer_certificate()->subject == "CN=client.test");
        co_await echo(peer);
      },
      say_hello);
  CHECK_FALSE(w.client_failure);

  world none;
  none.serving.ask = tls::client_certificates::required;
  none.serving.authorities = none.trusted.certificate();
  none.talk(echo, wait_for_the_end);
  CHECK(none.server_failure == weir::error::untrusted);
  CHECK(none.server_words == "the client gave no certificate, and this server requires one");
  CHECK(none.client_failure == std::errc::protocol_error);  // its read hears the alert
}

TEST_CASE("a_context_without_what_it_needs_says_which_key_is_wrong") {
  CHECK_THROWS_WITH(tls::server_context(tls::context_options{}),
                    "tls.certificate: a server needs one, and its key");
  CHECK_THROWS_WITH(tls::server_context(tls::context_options{.certificate = "/no/such.pem"}),
                    "tls.certificate: cannot read /no/such.pem: No such file or directory");
  authority a;
  const auto one = a.issue(), other = a.issue();
  CHECK_THROWS_WITH(
      tls::server_context(tls::context_options{.certificate = one.certificate, .key = other.key}),
      "tls.key: it is not the key of the certificate");
}

TEST_CASE("a_certificate_of_tomorrow_is_refused_with_the_date") {
  world w;
  w.use(w.trusted.issue({.from_days = 2}));
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words.starts_with("the certificate of server.test is valid only from 20"));
}

TEST_CASE("a_chain_over_an_authority_between_is_followed") {
  world w;
  authority between("between", w.trusted);
  w.use(between.issue());
  w.talk(echo, say_hello);
  CHECK_FALSE(w.client_failure);
}

TEST_CASE("a_chain_that_is_too_long_is_refused") {
  world w;
  w.trusting.handshake_bytes = 1 << 20;
  std::vector<std::unique_ptr<authority>> chain;
  for (int i = 0; i < 12; ++i) {
    const auto& above = chain.empty() ? w.trusted : *chain.back();
    chain.push_back(std::make_unique<authority>("authority " + std::to_string(i), above));
  }
  w.use(chain.back()->issue());
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words.find("more than 8 certificates between") != std::string::npos);
}

TEST_CASE("a_common_name_alone_is_no_name") {  // RFC 9525 2
  world w;
  w.use(w.trusted.issue({.common_name_only = true}));
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words == "name mismatch: asked for server.test, the certificate is for nobody");
}

TEST_CASE("a_name_with_a_zero_byte_is_no_name") {
  for (const std::string good : {"10.0.0.1", "server.test"}) {
    world w;
    w.use(w.trusted.issue({.name = good}));
    const auto asked = good + std::string("\0.elsewhere.test", 16);
    w.how.name = asked;
    w.talk(echo, say_hello);
    CHECK(w.client_failure == std::errc::invalid_argument);
  }
}

TEST_CASE("a_name_may_end_with_its_dot") {
  world w;
  w.how.name = "server.test.";
  w.talk(echo, say_hello);
  CHECK_FALSE(w.client_failure);
}

TEST_CASE("an_unverified_peer_that_goes_is_truncated_and_not_untrusted") {
  world w;
  w.use(authority::self_signed());
  w.trusting.verify = tls::verification::none_insecure;
  w.talk([](tls::tls_stream&) -> task<> { co_return; }, wait_for_the_end);
  CHECK(w.client_failure == weir::error::truncated);
}

TEST_CASE("what_was_verified_by_other_authorities_is_not_resumed") {
  world w;
  authority other("other");
  auto server = [&](shard& s) -> task<> {
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    for (int i = 0; i < 2; ++i) {
      auto peer = co_await listener.accept();
      auto secure = co_await tls::accept(std::move(*peer), context).nothrow();
      if (secure) co_await echo(*secure);
    }
  };
  auto client = [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    {
      auto plain = co_await s.connect(w.where());
      auto secure = co_await tls::connect(std::move(plain), context, w.how);
      w.trusting.authorities = other.certificate();
      context.reload(w.trusting);
      co_await say_hello(secure);  // here its tickets come
    }
    auto plain = co_await s.connect(w.where());
    auto secure = co_await tls::connect(std::move(plain), context, w.how).nothrow();
    REQUIRE_FALSE(secure);
    CHECK(secure.error() == weir::error::untrusted);
  };
  w.net.start(w.server, server);
  w.net.start(w.client, client);
  w.net.run();
}

TEST_CASE("a_staple_is_believed_where_it_is_right_and_nothing_else_is") {
  CHECK(objection(false, 0).empty());
  CHECK(objection(true, 0).starts_with("the certificate of server.test was revoked on 20"));
  CHECK(
      objection(false, -3) ==
      "the OCSP staple for the certificate of server.test is not valid now: its server must get a "
      "new one");
  CHECK(objection(false, 0, true) ==
        "the OCSP staple for the certificate of server.test is not signed by its authority: its "
        "server must get a new one");
}

TEST_CASE("a_staple_about_another_certificate_says_nothing_for_this_one") {
  world w;
  temporary_file staple(w.trusted.staple(w.trusted.issue(), false));
  w.serving.staple = staple.path;
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::untrusted);
  CHECK(w.client_words ==
        "the OCSP staple for the certificate of server.test is about other certificates");
}

TEST_CASE("a_staple_that_is_none_is_refused_when_it_is_loaded") {
  world w;
  temporary_file nonsense("nonsense");
  w.serving.staple = nonsense.path;
  const auto words = "tls.staple: there is no successful OCSP response (DER) in " + nonsense.path;
  CHECK_THROWS_WITH(tls::server_context{w.serving}, words.c_str());
}

TEST_CASE("secrets_are_logged_where_that_is_asked_for_and_nowhere_else") {
  world w;
  temporary_file log("");
  w.trusting.key_log = log.path;
  w.talk(echo, say_hello);
  CHECK_FALSE(w.client_failure);
  const auto text = log.text();
  CHECK(text.find("CLIENT_TRAFFIC_SECRET_0 ") != std::string::npos);
  CHECK(text.find("SERVER_TRAFFIC_SECRET_0 ") != std::string::npos);
}
