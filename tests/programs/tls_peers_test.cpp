// weir's TLS with other people's: curl and OpenSSL's own client and server, on each back end, the
// stack on its TUN device included.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
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

TEST_CASE("fetch_speaks_http_2_with_nghttpd_and_with_http_server") {
  if (!own_network() || !usable(kernel_backend)) return;
  const auto on = backend_called(kernel_backend);
  folder f("127.0.0.1");
  const auto get = [&](const std::string& url, std::vector<std::string> words = {}) {
    words.insert(words.begin(), {WEIR_FETCH, "--backend", kernel_backend, "--tls.authorities",
                                 f.path + "/ca.pem", "--include"});
    words.push_back(url);
    return run(words);
  };
  const auto check = [&](const finished& got) {
    CHECK_MESSAGE(got.code == 0, got.err);
    CHECK(got.out.starts_with("HTTP/2 200 OK\n"));
    CHECK(got.out.ends_with(some_bytes(3u << 20)));
  };
  if (::access("/usr/sbin/nghttpd", X_OK) == 0 || ::access("/usr/bin/nghttpd", X_OK) == 0) {
    const std::string program =
        ::access("/usr/sbin/nghttpd", X_OK) == 0 ? "/usr/sbin/nghttpd" : "/usr/bin/nghttpd";
    process secured({program, "-a", "127.0.0.1", "-d", f.path, "8443", f.path + "/own.key",
                     f.path + "/own.pem"});
    process plain({program, "-a", "127.0.0.1", "-d", f.path, "--no-tls", "8081"});
    for (const std::string url :
         {"https://127.0.0.1:8443/big.bin", "http://127.0.0.1:8081/big.bin"}) {
      finished got;
      for (int tries = 0; tries < 500; ++tries) {  // until it listens
        got = get(url, {"--http2", "always"});
        if (got.code == 0) break;
        ::usleep(20'000);
      }
      check(got);
    }
    secured.signal(SIGTERM);
    plain.signal(SIGTERM);
    (void)secured.wait();
    (void)plain.wait();
  } else {
    std::printf("SKIPPED: no nghttpd\n");
  }
  auto words = serving(on, f);
  words.insert(words.end(), {"--http", on.address + ":80"});
  process server(words);
  const auto where = place_of(server.wait_line("listening https "));
  check(get(url_of(where, "/big.bin")));
  check(get("http://" + on.address + "/big.bin", {"--http2", "always"}));
  const auto old = get(url_of(where, "/big.bin"), {"--http2", "never"});
  CHECK(old.out.starts_with("HTTP/1 200 OK\n"));
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

// python3-h2 keeps to the letter of the RFC and ends where a server does not; then it sends what it
// should not, with its own checks switched off.
ON_EVERY_BACKEND(pythons_h2_finds_no_fault_and_its_faults_are_found) {
  if (run({"/usr/bin/python3", "-c", "import h2"}).code != 0) {
    std::printf("SKIPPED: no h2 for python3\n");
    return;
  }
  folder f(on.address);
  process server(command_line(http_server(), on, {"--http", on.address + ":80", "--root", f.path}));
  const auto where = place_of(server.wait_line("listening http "));
  const std::string script = R"(
import socket, sys, h2.connection, h2.config, h2.events, h2.errors
address, port = sys.argv[1], int(sys.argv[2])
def open(**how):
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, **how))
    wire = socket.create_connection((address, port), 20)
    wire.settimeout(20)
    peer.initiate_connection()
    wire.sendall(peer.data_to_send())
    return peer, wire
def head(path, *more):
    return [(':method', 'GET'), (':scheme', 'http'), (':path', path), (':authority', address)] + list(more)
# Sixty requests at once, a file beyond every window, pings and priorities between them.
peer, wire = open()
bodies, ended, pongs = {}, set(), 0
wanted = [peer.get_next_available_stream_id() + 2 * i for i in range(61)]
for i, stream in enumerate(wanted):
    peer.send_headers(stream, head('/big.bin' if i == 60 else '/plaintext'), end_stream=True)
    peer.prioritize(stream, weight=16)
    if i % 10 == 0:
        peer.ping(b'%08d' % i)
wire.sendall(peer.data_to_send())
while len(ended) < len(wanted) or pongs < 7:
    got = wire.recv(65536)
    assert got, 'ended'
    for event in peer.receive_data(got):  # raises where the server breaks a rule
        if isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] = bodies.get(event.stream_id, b'') + event.data
            peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            ended.add(event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived):
            pongs += 1
        assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
    wire.sendall(peer.data_to_send())
assert all(bodies[s] == b'Hello, World!' for s in wanted[:-1])
assert len(bodies[wanted[-1]]) == 3 << 20
peer.close_connection()
wire.sendall(peer.data_to_send())
while wire.recv(65536):
    pass
# Heads that are none.
loose = dict(validate_outbound_headers=False, normalize_outbound_headers=False)
for fields in ([('Upper', 'x')], [('connection', 'close')], [('te', 'gzip')], [(':path', '/')], [('x', 'a\nb')],
               [('a', 'b'), (':late', 'x')]):
    peer, wire = open(**loose)
    peer.send_headers(1, head('/plaintext', *fields), end_stream=True)
    peer.send_headers(3, head('/plaintext'), end_stream=True)
    wire.sendall(peer.data_to_send())
    reset = done = False
    while not (reset and done):
        got = wire.recv(65536)
        assert got, fields
        for event in peer.receive_data(got):
            reset = reset or (isinstance(event, h2.events.StreamReset) and event.stream_id == 1)
            done = done or (isinstance(event, h2.events.StreamEnded) and event.stream_id == 3)
            assert not isinstance(event, h2.events.ResponseReceived) or event.stream_id == 3, fields
    wire.close()
print('done')
)";
  const auto done =
      run({"/usr/bin/python3", "-c", script, where.address, std::to_string(where.port)});
  CHECK_MESSAGE(done.out == "done\n", done.err);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}
#endif

TEST_CASE("nginx_is_a_tls_client_to_http_server_and_a_tls_server_to_fetch_and_reverse_proxy") {
  if (!own_network() || !usable(kernel_backend)) return;
  if (::access("/usr/sbin/nginx", X_OK) != 0) {
    std::printf("SKIPPED: no nginx\n");
    return;
  }
  folder f("127.0.0.1");
  std::filesystem::permissions(f.path, std::filesystem::perms(0755));
  const std::vector<std::string> own = {"--tls.certificate", f.path + "/own.pem",
                                        "--tls.key",         f.path + "/own.key",
                                        "--tls.authorities", f.path + "/ca.pem"};
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"--backend", kernel_backend});
    words.insert(words.end(), own.begin(), own.end());
    return words;
  };
  process server(with({http_server(), "--https", "127.0.0.1:8089", "--root", f.path}));
  server.wait_line("listening https ");
  std::ofstream(f.path + "/nginx.conf")
      << "daemon off; master_process off; pid " << f.path
      << "/pid; events {} http { access_log off; "
      << "client_body_temp_path " << f.path << "; proxy_temp_path " << f.path
      << "; fastcgi_temp_path " << f.path << "; uwsgi_temp_path " << f.path << "; scgi_temp_path "
      << f.path << "; server { listen 127.0.0.1:8088 ssl http2; ssl_certificate " << f.path
      << "/own.pem; ssl_certificate_key " << f.path << "/own.key; root " << f.path
      << "; location /proxied/ { proxy_pass https://127.0.0.1:8089/; proxy_http_version 1.1; "
      << "proxy_set_header Connection \"\"; proxy_ssl_verify on; proxy_ssl_name localhost; "
      << "proxy_ssl_trusted_certificate " << f.path << "/ca.pem; } } }";
  process nginx({"/usr/sbin/nginx", "-p", f.path, "-c", f.path + "/nginx.conf", "-e", "stderr"});
  const auto expected = some_bytes(3u << 20);
  for (const std::string path : {"/big.bin", "/proxied/big.bin"}) {
    finished got;
    for (int tries = 0; tries < 500; ++tries) {  // until it listens
      got = fetch(f, "https://127.0.0.1:8088" + path);
      if (got.code == 0) break;
      ::usleep(20'000);
    }
    CHECK_MESSAGE(got.code == 0, got.err);
    const bool same = got.out == expected;
    CHECK(same);
  }
  process proxy(
      with({WEIR_REVERSE_PROXY, "--https", "127.0.0.1:8090", "--to", "https://127.0.0.1:8088"}));
  proxy.wait_line("listening https ");
  for (const std::string version : {"--http1.1", "--http2"}) {
    const auto got = curl(f, "https://127.0.0.1:8090/proxied/big.bin", {version});
    CHECK_MESSAGE(got.code == 0, got.err);
    const bool same = got.out == expected;
    CHECK(same);
  }
  proxy.signal(SIGTERM);
  CHECK(proxy.wait() == 0);
  nginx.signal(SIGTERM);
  (void)nginx.wait();
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

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

namespace {

bool no_gnutls() {
  if (::access("/usr/bin/gnutls-cli", X_OK) == 0 && ::access("/usr/bin/gnutls-serv", X_OK) == 0)
    return false;
  std::puts("SKIPPED: no gnutls-cli and gnutls-serv (apt-get install gnutls-bin)");
  return true;
}
std::string only_version(const std::string& version) {
  return "NORMAL:-VERS-ALL:+VERS-TLS" + version;
}

}  // namespace

ON_EVERY_BACKEND(gnutls_gets_a_page_resumes_its_session_and_changes_its_keys) {
  if (no_gnutls()) return;
  folder f(on.address);
  process server(serving(on, f));
  const auto where = place_of(server.wait_line("listening https "));
  const auto get = [&](const std::string& before, const std::string& words) {
    return run({"/bin/sh", "-c",
                "printf '" + before + "GET /plaintext HTTP/1.1\\r\\nHost: localhost\\r\\n" +
                    "Connection: close\\r\\n\\r\\n' | timeout 25 gnutls-cli --x509cafile " +
                    f.path + "/ca.pem -p " + std::to_string(where.port) + " " + words + " " +
                    where.address});
  };
  for (const std::string version : {"1.2", "1.3"}) {
    CAPTURE(version);
    const auto got = get("", "--resume --alpn http/1.1 --priority " + only_version(version));
    CHECK_MESSAGE(got.code == 0, got.out);
    CHECK(got.out.find("- Status: The certificate is trusted.") != std::string::npos);
    CHECK(got.out.find("*** This is a resumed session") != std::string::npos);
    CHECK(got.out.find("- Application protocol: http/1.1") != std::string::npos);
    CHECK(got.out.find("Hello, World!") != std::string::npos);
  }
  const auto changed = get("^rekey^\\n", "--inline-commands --priority " + only_version("1.3"));
  CHECK_MESSAGE(changed.code == 0, changed.out);
  CHECK(changed.out.find("- Rekey was completed") != std::string::npos);
  CHECK(changed.out.find("Hello, World!") != std::string::npos);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

TEST_CASE("fetch_gets_what_gnutls_serves") {
  if (!own_network() || !usable(kernel_backend) || no_gnutls()) return;
  folder f("127.0.0.1");
  for (const std::string version : {"1.2", "1.3"}) {
    CAPTURE(version);
    process server({"/usr/bin/gnutls-serv", "--http", "--port", "5556", "--x509certfile",
                    f.path + "/own.pem", "--x509keyfile", f.path + "/own.key", "--priority",
                    only_version(version)});
    finished got;
    for (int tries = 0; tries < 500; ++tries) {  // until it listens
      got = fetch(f, "https://127.0.0.1:5556/");
      if (got.code == 0) break;
      ::usleep(20'000);
    }
    CHECK_MESSAGE(got.code == 0, got.err);
    CHECK(got.out.find("<TD>TLS" + version + "</TD>") != std::string::npos);
    server.signal(SIGTERM);
    (void)server.wait();
  }
}

#if WEIR_TEST_HTTP2
namespace {

/// go_peer.go, built once; empty where there is no Go.
class go_peer {
 public:
  go_peer() {
    if (::access("/usr/bin/go", X_OK) != 0) return;
    const auto made = run(
        {"/bin/sh", "-c", "cd " + there_.path + " && exec go build -o go_peer '" WEIR_GO_PEER "'"},
        {.environment = {"HOME=" + there_.path, "GOCACHE=" + there_.path + "/go",
                         "GO111MODULE=off"}});
    REQUIRE_MESSAGE(made.code == 0, made.err);
    program_ = there_.path + "/go_peer";
  }
  const std::string& program() const { return program_; }

 private:
  folder there_{"127.0.0.1"};
  std::string program_;
};

const std::string& go_program() {
  static const go_peer once;
  if (once.program().empty()) std::puts("SKIPPED: no Go (apt-get install golang-go)");
  return once.program();
}

}  // namespace

ON_EVERY_BACKEND(gos_client_speaks_both_versions_many_times_at_once_and_resumes) {
  if (go_program().empty()) return;
  folder f(on.address);
  process server(serving(on, f));
  const auto where = place_of(server.wait_line("listening https "));
  const auto done = run({go_program(), "get", f.path + "/ca.pem", url_of(where, "")});
  CHECK_MESSAGE(done.out == "done\n", done.err);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

TEST_CASE("fetch_gets_what_go_serves_in_both_versions") {
  if (!own_network() || !usable(kernel_backend) || go_program().empty()) return;
  folder f("127.0.0.1");
  process server(
      {go_program(), "serve", f.path + "/own.pem", f.path + "/own.key", "127.0.0.1:8443", f.path});
  for (const std::string when : {"never", "agreed"}) {
    CAPTURE(when);
    finished got;
    for (int tries = 0; tries < 500; ++tries) {  // until it listens
      got = run({WEIR_FETCH, "--backend", kernel_backend, "--tls.authorities", f.path + "/ca.pem",
                 "--include", "--http2", when, "https://127.0.0.1:8443/big.bin"});
      if (got.code == 0) break;
      ::usleep(20'000);
    }
    CHECK_MESSAGE(got.code == 0, got.err);
    CHECK(got.out.starts_with(when == "never" ? "HTTP/1 200 OK\n" : "HTTP/2 200 OK\n"));
    const bool same = got.out.ends_with(some_bytes(3u << 20));
    CHECK(same);
  }
  server.signal(SIGTERM);
  (void)server.wait();
}
#endif

#ifdef WEIR_CHAT
namespace {

std::string find_browser() {
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  for (auto* name : {"chromium", "chromium-browser", "google-chrome"})
    for (std::size_t from = 0; from <= path.size();) {
      const auto end = std::min(path.find(':', from), path.size());
      const auto file = path.substr(from, end - from) + "/" + name;
      if (::access(file.c_str(), X_OK) == 0) return file;
      from = end + 1;
    }
  return "";
}

}  // namespace

TEST_CASE("chromium_loads_a_page_over_http_2_and_talks_through_a_websocket_behind_tls") {
  if (find_browser().empty()) {
    std::puts("SKIPPED: no Chromium is installed (apt-get install chromium)");
    return;
  }
  if (!own_network() || !usable(kernel_backend)) return;
  folder f("127.0.0.1");
  process server({WEIR_CHAT, "--backend", kernel_backend, "--https", "127.0.0.1:0",
                  "--tls.certificate", f.path + "/own.pem", "--tls.key", f.path + "/own.key"});
  const auto where = place_of(server.wait_line("listening https "));
  f.openssl(
      "x509 -in own.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 "
      "-binary | base64 > key");
  std::string key;
  std::ifstream(f.path + "/key") >> key;
  // Only this test's key is trusted beside whom the browser knows.
  const auto shown = run(
      {find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
       "--disable-background-networking", "--disable-component-update", "--no-first-run",
       "--disable-sync", "--user-data-dir=" + f.path + "/profile",
       "--ignore-certificate-errors-spki-list=" + key, "--virtual-time-budget=5000", "--dump-dom",
       url_of(where, "/#said%20by%20chromium")},
      {.environment = {"HOME=" + f.path, "XDG_CONFIG_HOME=" + f.path, "XDG_CACHE_HOME=" + f.path}});
  INFO(shown.err);
  REQUIRE(shown.code == 0);
  CAPTURE(shown.out);
#ifdef WEIR_TEST_HTTP2
  CHECK(shown.out.find("<li>the page came by h2</li>") != std::string::npos);
#else
  CHECK(shown.out.find("<li>the page came by http/1.1</li>") != std::string::npos);
#endif
  CHECK(shown.out.find("<li>said by chromium</li>") != std::string::npos);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}
#endif
