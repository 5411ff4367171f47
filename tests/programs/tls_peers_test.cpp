// weir's TLS with other people's: curl and OpenSSL's own client and server, on each back end, the
// stack on its TUN device included.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "programs/harness.hpp"

using namespace programs;

namespace {

/// A folder with an authority, what it has issued for one address and for localhost, and a file.
struct folder {
  explicit folder(const std::string& address) {
    char name[] = "/tmp/weir-tls-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
    std::ofstream(path + "/big.bin", std::ios::binary) << some_bytes(3u << 20);
    std::ofstream(path + "/ext") << "subjectAltName=DNS:localhost,IP:" << address
                                 << "\nextendedKeyUsage=serverAuth\n";
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out "
        "ca.pem -subj /CN=authority -days 2");
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr "
        "-subj /CN=server");
    openssl(
        "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext "
        "-out own.pem");
  }
  ~folder() { std::filesystem::remove_all(path); }
  void openssl(const std::string& words) const {
    const auto done = run({"/bin/sh", "-c", "cd " + path + " && openssl " + words});
    REQUIRE_MESSAGE(done.code == 0, done.err);
  }
  std::string path;
};

finished curl(const folder& f, const std::string& url, std::vector<std::string> words = {}) {
  words.insert(words.begin(),
               {"/usr/bin/env", "curl", "-sS", "--max-time", "25", "--cacert", f.path + "/ca.pem"});
  words.push_back(url);
  return run(words);
}

finished fetch(const folder& f, const std::string& url) {
  return run(
      {WEIR_FETCH, "--backend", kernel_backend, "--tls.authorities", f.path + "/ca.pem", url});
}

std::string url_of(const place& where, const std::string& path) {
  return "https://" + where.address + ":" + std::to_string(where.port) + path;
}

std::vector<std::string> serving(const backend& on, const folder& f) {
  return command_line(http_server(), on,
                      {"--https", on.address + ":443", "--root", f.path, "--tls.certificate",
                       f.path + "/own.pem", "--tls.key", f.path + "/own.key"});
}

}  // namespace

ON_EVERY_BACKEND(curl_and_fetch_get_files_over_tls) {
  folder f(on.address);
  process server(serving(on, f));
  const auto where = place_of(server.wait_line("listening https "));
  const auto file = url_of(where, "/big.bin");
  for (const std::string version : {"1.2", "1.3"}) {
    const auto got = curl(f, file, {"--tlsv" + version, "--tls-max", version});
    CHECK_MESSAGE(got.code == 0, got.err);
    const bool same = got.out == some_bytes(3u << 20);
    CHECK(same);
  }
  // Two requests on one connection.
  const auto twice = curl(f, url_of(where, "/plaintext"),
                          {"-w", " %{num_connects} ", url_of(where, "/plaintext")});
  CHECK(twice.out == "Hello, World! 1 Hello, World! 0 ");
  const auto fetched = fetch(f, file);
  CHECK_MESSAGE(fetched.code == 0, fetched.err);
  const bool same = fetched.out == some_bytes(3u << 20);
  CHECK(same);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

#if WEIR_TEST_HTTP2
ON_EVERY_BACKEND(http_2_is_spoken_where_it_is_agreed_on_and_where_it_is_known_before) {
  folder f(on.address);
  auto words = serving(on, f);
  words.insert(words.end(), {"--http", on.address + ":80"});
  process server(words);
  const auto secured = place_of(server.wait_line("listening https "));
  const auto plain = "http://" + on.address + ":80";
  const std::vector<std::string> agreed = {"--http2", "-w", " %{http_version}"};
  CHECK(curl(f, url_of(secured, "/plaintext"), agreed).out == "Hello, World! 2");
  const auto known =
      curl(f, plain + "/plaintext", {"--http2-prior-knowledge", "-w", " %{http_version}"});
  CHECK(known.out == "Hello, World! 2");
  const auto got = curl(f, url_of(secured, "/big.bin"), {"--http2"});
  const bool same = got.out == some_bytes(3u << 20);
  CHECK(same);
  // More than the server takes: it says so, and hears it out.
  const auto sent = curl(f, url_of(secured, "/plaintext"),
                         {"--http2", "--data-binary", "@" + f.path + "/big.bin"});
  CHECK_MESSAGE(sent.out.starts_with("413 "), sent.err);
  if (::access("/usr/bin/h2load", X_OK) == 0) {
    const auto load =
        run({"/usr/bin/h2load", "-n", "300", "-c", "5", "-m", "20", url_of(secured, "/plaintext")});
    CHECK(load.out.find("300 succeeded, 0 failed, 0 errored") != std::string::npos);
  }
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}
#endif

TEST_CASE("who_does_not_trust_an_https_server_gets_nothing_of_it_and_is_told_why") {
  if (!own_network() || !usable(kernel_backend)) return;
  const auto on = backend_called(kernel_backend);
  folder f("192.0.2.7");
  folder other(on.address);
  process server(serving(on, f));
  const auto where = place_of(server.wait_line("listening https "));
  CHECK(curl(other, url_of(where, "/plaintext")).code == 60);  // an authority it does not know
  const auto misnamed = fetch(f, url_of(where, "/plaintext"));
  CHECK(misnamed.code == 1);
  CHECK(misnamed.out.empty());
  CHECK(misnamed.err.find("name mismatch: asked for " + on.address) != std::string::npos);
  const auto unknown = fetch(other, url_of(where, "/plaintext"));
  CHECK(unknown.code == 1);
  CHECK(unknown.err.find("whom nobody here trusts") != std::string::npos);
  const auto named = fetch(f, "https://localhost:" + std::to_string(where.port) + "/plaintext");
  CHECK_MESSAGE(named.out == "Hello, World!", named.err);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

TEST_CASE("fetch_gets_what_openssl_serves") {
  if (!own_network() || !usable(kernel_backend)) return;
  folder f("127.0.0.1");
  std::filesystem::current_path(f.path);
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    CAPTURE(version);
    process server({"/usr/bin/env", "openssl", "s_server", "-accept", "4433", version, "-cert",
                    "own.pem", "-key", "own.key", "-WWW"});
    server.wait_line("ACCEPT");
    const auto got = fetch(f, "https://127.0.0.1:4433/ext");
    CHECK_MESSAGE(got.code == 0, got.err);
    CHECK(got.out.find("subjectAltName=DNS:localhost,IP:127.0.0.1") != std::string::npos);
    server.signal(SIGTERM);
    server.wait();
  }
}
