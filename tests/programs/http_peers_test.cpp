// weir's HTTP with other people's: curl, nginx as a server and as a proxy, Python's WebSocket
// client.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "programs/harness.hpp"

using namespace programs;

namespace {

std::string curl_at(const std::string& url, std::vector<std::string> words = {}) {
  words.insert(words.begin(), {"/usr/bin/env", "curl", "-sS", "--max-time", "25"});
  words.push_back(url);
  const auto done = run(words);
  CHECK_MESSAGE(done.code == 0, done.err);
  return done.out;
}

std::string url_of(const place& where, const std::string& path) {
  return "http://" + where.address + ":" + std::to_string(where.port) + path;
}

finished fetch(const std::string& url, std::vector<std::string> words = {}) {
  words.insert(words.begin(), {WEIR_FETCH, "--backend", kernel_backend});
  words.push_back(url);
  return run(words);
}

bool there(const char* program) {
  if (::access(program, X_OK) == 0) return true;
  std::printf("SKIPPED: no %s\n", program);
  return false;
}

struct folder {
  folder() {
    char name[] = "/tmp/weir-peers-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
    std::filesystem::permissions(path, std::filesystem::perms(0755));
    std::ofstream(path + "/big.bin", std::ios::binary) << some_bytes(3u << 20);
  }
  ~folder() { std::filesystem::remove_all(path); }
  std::string path;
};

/// nginx with this server's inside, on 127.0.0.1:8088.
struct nginx {
  nginx(const folder& in, const std::string& inside)
      : program({"/usr/sbin/nginx", "-p", in.path, "-c", configured(in, inside), "-e", "stderr"}) {
    // It listens when a connection succeeds.
    for (int tries = 0; tries < 500; ++tries) {
      if (run({"/usr/bin/env", "curl", "-s", "--max-time", "5", "http://127.0.0.1:8088/"}).code ==
          0)
        return;
      ::usleep(20'000);
    }
    FAIL("nginx does not serve");
  }
  static std::string configured(const folder& in, const std::string& inside) {
    const auto file = in.path + "/nginx.conf";
    std::ofstream(file) << "daemon off; master_process off; pid " + in.path +
                               "/pid; events {} http {" + "access_log off; client_body_temp_path " +
                               in.path + "; proxy_temp_path " + in.path + "; fastcgi_temp_path " +
                               in.path + "; uwsgi_temp_path " + in.path + "; scgi_temp_path " +
                               in.path + "; server { listen 127.0.0.1:8088; " + inside + " } }";
    return file;
  }
  process program;
};

}  // namespace

ON_EVERY_BACKEND(fetch_gets_what_http_server_gives) {
  folder f;
  process server(command_line(http_server(), on, {"--http", on.address + ":80", "--root", f.path}));
  const auto where = place_of(server.wait_line("listening http "));
  const auto got = fetch(url_of(where, "/big.bin"));
  CHECK(got.code == 0);
  const bool same = got.out == some_bytes(3u << 20);
  CHECK(same);
  CHECK(fetch(url_of(where, "/none")).code == 22);
  const auto head = fetch(url_of(where, "/big.bin"), {"--head"});
  CHECK(head.out.starts_with("HTTP/1 200 OK\n"));
  CHECK(head.out.find("Content-Length: 3145728\n") != std::string::npos);
  CHECK(fetch("http://" + where.address + ":1/").code == 1);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

#ifdef WEIR_TEST_CODINGS
ON_EVERY_BACKEND(files_go_compressed_to_curl_and_fetch) {
  folder f;
  std::string text;
  while (text.size() < 500'000) text += std::to_string(text.size()) + " is a number\n";
  std::ofstream(f.path + "/long.txt", std::ios::binary) << text;
  process server(command_line(http_server(), on,
                              {"--http", on.address + ":80", "--root", f.path, "--http.compress"}));
  const auto where = place_of(server.wait_line("listening http "));
  const auto url = url_of(where, "/long.txt");
  bool same = curl_at(url, {"--compressed"}) == text;
  CHECK(same);
  same = curl_at(url, {"--compressed", "--http2-prior-knowledge"}) == text;
  CHECK(same);
  same = curl_at(url) == text;
  CHECK(same);
  const auto on_the_wire = curl_at(url, {"-H", "Accept-Encoding: gzip"});
  CHECK(on_the_wire.size() < text.size() / 3);
  CHECK(curl_at(url, {"-I", "-H", "Accept-Encoding: zstd"}).find("Content-Encoding: zstd") !=
        std::string::npos);
  const auto got = fetch(url, {"--compressed"});
  CHECK(got.code == 0);
  same = got.out == text;
  CHECK(same);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}
#endif

ON_EVERY_BACKEND(a_long_file_reaches_a_slow_reader_whole) {
  folder f;
  const auto content = some_bytes(24u << 20);
  std::ofstream(f.path + "/long.bin", std::ios::binary) << content;
  process server(command_line(http_server(), on, {"--http", on.address + ":80", "--root", f.path}));
  const auto where = place_of(server.wait_line("listening http "));
  // Beyond what sockets hold; the second one leaves in the middle.
  const bool same = curl_at(url_of(where, "/long.bin"), {"--limit-rate", "40M"}) == content;
  CHECK(same);
  const auto left = run({"/usr/bin/env", "curl", "-s", "--limit-rate", "20M", "--max-time", "0.3",
                         url_of(where, "/long.bin")});
  CHECK(left.code != 0);
  CHECK(curl_at(url_of(where, "/plaintext")) == "Hello, World!");
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

TEST_CASE("hello_takes_what_curl_sends_in_every_way") {
  if (!own_network() || !usable(kernel_backend)) return;
  folder f;
  process server({WEIR_HELLO, "--backend", kernel_backend});
  const std::string base = "http://127.0.0.1:8080";
  for (int tries = 0; tries < 500; ++tries) {
    if (run({"/usr/bin/env", "curl", "-s", "--max-time", "5", base + "/"}).code == 0) break;
    ::usleep(20'000);
  }
  CHECK(curl_at(base + "/hello/a%22b") == "{\"hello\":\"a\\\"b\"}");
  const auto file = "@" + f.path + "/nginx.none";
  std::ofstream(f.path + "/nginx.none") << std::string(500'000, 'x');
  CHECK(curl_at(base + "/upload", {"--data-binary", file}) == "500000 bytes\n");
  CHECK(curl_at(base + "/upload", {"--data-binary", file, "-H", "Expect: 100-continue"}) ==
        "500000 bytes\n");
  CHECK(curl_at(base + "/upload", {"--data-binary", file, "-H", "Transfer-Encoding: chunked"}) ==
        "500000 bytes\n");
  CHECK(curl_at(base + "/upload", {"-d", "", "-0"}) == "0 bytes\n");
  CHECK(curl_at(base + "/upload", {"-w", "%{http_code}"}).ends_with("405"));
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

#ifdef WEIR_TEST_CODINGS
TEST_CASE("fetch_decompresses_what_nginx_has_compressed") {
  if (!own_network() || !usable(kernel_backend) || !there("/usr/sbin/nginx")) return;
  folder f;
  std::string text;
  while (text.size() < 300'000) text += std::to_string(text.size()) + " is a number\n";
  std::ofstream(f.path + "/long.txt", std::ios::binary) << text;
  nginx peer(f, "root " + f.path + "; gzip on; gzip_types *; location = / { return 204; }");
  const auto got = fetch("http://127.0.0.1:8088/long.txt", {"--compressed", "--include"});
  CHECK(got.code == 0);
  CHECK(got.out.find("Content-Encoding: gzip") != std::string::npos);
  const bool same = got.out.ends_with(text);
  CHECK(same);
}
#endif

TEST_CASE("nginx_is_a_server_to_fetch_and_a_proxy_to_http_server") {
  if (!own_network() || !usable(kernel_backend) || !there("/usr/sbin/nginx")) return;
  folder f;
  process server(
      {http_server(), "--backend", kernel_backend, "--http", "127.0.0.1:8089", "--root", f.path});
  server.wait_line("listening http ");
  nginx peer(f, "root " + f.path +
                    "; location /proxied/ { proxy_pass http://127.0.0.1:8089/; }"
                    "location /kept/ { proxy_http_version 1.1; proxy_set_header Connection \"\";"
                    " proxy_pass http://127.0.0.1:8089/; } location = / { return 204; }"
                    "location /chunked { chunked_transfer_encoding on; return 302 /big.bin; }");
  const auto expected = some_bytes(3u << 20);
  for (auto* path : {"/big.bin", "/proxied/big.bin", "/kept/big.bin", "/chunked"}) {
    CAPTURE(std::string(path));
    const auto got = fetch(std::string("http://127.0.0.1:8088") + path);
    CHECK(got.code == 0);
    const bool same = got.out == expected;
    CHECK(same);
  }
  const bool same = curl_at("http://127.0.0.1:8088/kept/big.bin") == expected;
  CHECK(same);
  CHECK(curl_at("http://127.0.0.1:8088/kept/plaintext") == "Hello, World!");
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

ON_EVERY_BACKEND(reverse_proxy_passes_bodies_and_statuses_on) {
  folder f;
  process server(
      {http_server(), "--backend", kernel_backend, "--http", "127.0.0.1:8089", "--root", f.path});
  server.wait_line("listening http ");
  // The stack's shard reaches nobody on loopback: there the proxy itself runs on kernel sockets.
  const bool on_stack = on.name == "stack";
  const auto base = on_stack ? backend_called(kernel_backend) : on;
  process proxy(command_line(WEIR_REVERSE_PROXY, base,
                             {"--http", base.address + ":8090", "--to", "http://127.0.0.1:8089"}));
  const auto where = place_of(proxy.wait_line("listening http "));
  for (int i = 0; i < 3; ++i) {
    const bool same = curl_at(url_of(where, "/big.bin")) == some_bytes(3u << 20);
    CHECK(same);
  }
  CHECK(curl_at(url_of(where, "/big.bin"), {"-r", "0-3"}) == some_bytes(4));
  CHECK(curl_at(url_of(where, "/none"), {"-w", "%{http_code}"}).ends_with("404"));
  CHECK(curl_at(url_of(where, "/"), {"-d", std::string(100'000, 'x'), "-w", "%{http_code}"})
            .ends_with("405"));
  CHECK(curl_at(url_of(where, "/plaintext"), {"-I"}).find("Content-Length: 13\r\n") !=
        std::string::npos);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
  CHECK(curl_at(url_of(where, "/plaintext"), {"-w", "%{http_code}"}).ends_with("502"));
  proxy.signal(SIGTERM);
  CHECK(proxy.wait() == 0);
}

#ifdef WEIR_CHAT
ON_EVERY_BACKEND(pythons_websockets_talk_through_chat) {
  if (!there("/usr/bin/python3")) return;
  if (run({"/usr/bin/python3", "-c", "import websockets"}).code != 0) {
    std::printf("SKIPPED: no websockets for python3\n");
    return;
  }
  process server(command_line(WEIR_CHAT, on, {"--http", on.address + ":80"}));
  const auto where = place_of(server.wait_line("listening http "));
  const std::string script = R"(
import asyncio, sys, websockets
async def main(url, squeezed):
    how = {} if squeezed else {"compression": None}
    async with websockets.connect(url, max_size=None, **how) as one, websockets.connect(url, max_size=None) as two:
        for text in ("hello", "\u00e4\u20ac\U0001f600", "x" * 200000, ""):
            await one.send(text)
            for peer in (one, two):
                assert await peer.recv() == text
        await one.ping()
    assert one.close_code == 1000 and two.close_code == 1000, (one.close_code, two.close_code)
    raw = await websockets.connect(url)
    await raw.send(b"\xff" * 10)
    await raw.send("after bytes")
    assert await raw.recv() == "after bytes"
    await raw.close(4000, "mine")
    big = await websockets.connect(url, max_size=None)
    await big.send("y" * 2000000)
    try:
        await big.recv()
        assert False
    except websockets.ConnectionClosed:
        assert big.close_code == 1009, big.close_code
    print("done")
asyncio.run(main(sys.argv[1], True))
asyncio.run(main(sys.argv[1], False))
)";
  const auto url = "ws" + url_of(where, "/chat").substr(4);
  const auto done = run({"/usr/bin/python3", "-c", script, url});
  CHECK_MESSAGE(done.out == "done\ndone\n", done.err);
  CHECK(curl_at(url_of(where, "/")).find("new WebSocket") != std::string::npos);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}

ON_EVERY_BACKEND(chat_spans_shards) {
  if (run({"/usr/bin/python3", "-c", "import websockets"}).code != 0) {
    std::printf("SKIPPED: no websockets for python3\n");
    return;
  }
  process server(command_line(WEIR_CHAT, on, {"--http", on.address + ":81", "--shards", "3"}));
  const auto where = place_of(server.wait_line("listening http "));
  // They are spread over the shards by a hash: all forty on one is once in 10^18 times.
  const std::string script = R"(
import asyncio, sys, websockets
async def main(url):
    peers = [await websockets.connect(url) for _ in range(40)]
    for i, peer in enumerate(peers):  # each is in when it hears itself
        await peer.send("here %d" % i)
        while await peer.recv() != "here %d" % i:
            pass
    await peers[7].send("done")
    for peer in peers:
        while await peer.recv() != "done":
            pass
    await asyncio.gather(*(peer.close() for peer in peers))
    print("all heard")
asyncio.run(main(sys.argv[1]))
)";
  const auto done =
      run({"/usr/bin/python3", "-c", script, "ws" + url_of(where, "/chat").substr(4)});
  CHECK_MESSAGE(done.out == "all heard\n", done.err);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}
#endif
