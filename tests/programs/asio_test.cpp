// What is written for Asio on weir's sockets: ssl::stream of standalone Asio and Beast's WebSocket,
// with other people's clients, on each back end.
#include <doctest/doctest.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "programs/harness.hpp"
#include "unit/doc_blocks.hpp"

using namespace programs;

namespace {

/// Whether a client in Python can do with this module; says why not.
[[maybe_unused]] bool python_has(const std::string& module) {
  if (run({"/usr/bin/python3", "-c", "import " + module}).code == 0) return true;
  std::printf("SKIPPED: no /usr/bin/python3 with %s\n", module.c_str());
  return false;
}

}  // namespace

TEST_CASE("the_page_on_asio_shows_parts_of_the_examples") {
  const std::string root = WEIR_SOURCE_DIR;
  const auto code =
      doc_blocks::without_space(doc_blocks::read_file(root + "/examples/asio_tls_echo.cpp") +
                                doc_blocks::read_file(root + "/examples/beast_echo.cpp"));
  const auto blocks = doc_blocks::cpp_blocks(doc_blocks::read_file(root + "/docs/asio.md"));
  CHECK(blocks.size() == 2);
  for (const auto& block : blocks) {
    const bool there = code.find(doc_blocks::without_space(block)) != std::string::npos;
    CHECK_MESSAGE(there, block);
  }
}

#ifdef WEIR_ASIO_TLS_ECHO
ON_EVERY_BACKEND(asios_tls_echoes_every_byte_and_says_goodbye) {
  if (!python_has("ssl")) return;
  char name[] = "/tmp/weir-asio-XXXXXX";
  REQUIRE(mkdtemp(name) != nullptr);
  const std::string folder = name;
  const auto made = run({"/usr/bin/env", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                         "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder + "/own.key",
                         "-out", folder + "/own.pem", "-subj", "/CN=server", "-days", "2"});
  REQUIRE_MESSAGE(made.code == 0, made.err);
  process server(command_line(WEIR_ASIO_TLS_ECHO, on,
                              {"--echo", on.address + ":7443", "--certificate", folder + "/own.pem",
                               "--key", folder + "/own.key"}));
  const auto where = place_of(server.wait_line("listening echo "));
  // Writes while it reads: both directions of Asio's stream are under way at once. From one thread:
  // Python's TLS sockets bear no second one.
  const std::string script = R"(
import select, socket, ssl, sys
trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
trust.check_hostname = False
trust.load_verify_locations(sys.argv[3])
waits = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
for size in (1, 300000):
    with trust.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2])))) as peer:
        peer.setblocking(False)
        sent = bytes(i % 251 for i in range(size))
        at, got = 0, b""
        while len(got) < size:
            try: at += peer.send(sent[at:at + 65536]) if at < size else 0
            except waits: pass
            try:
                piece = peer.recv(65536)
                assert piece, len(got)
                got += piece
            except waits: select.select([peer], [peer] if at < size else [], [], 30)
        assert got == sent
        peer.settimeout(30)
        peer.unwrap()
stranger = socket.create_connection((sys.argv[1], int(sys.argv[2])))
stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
while stranger.recv(100): pass
print("done")
)";
  const auto done = run({"/usr/bin/python3", "-c", script, where.address,
                         std::to_string(where.port), folder + "/own.pem"});
  CHECK_MESSAGE(done.out == "done\n", done.err);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
  std::filesystem::remove_all(folder);
}
#endif

#ifdef WEIR_BEAST_ECHO
ON_EVERY_BACKEND(beasts_websocket_echoes_messages_and_closes) {
  if (!python_has("websockets")) return;
  process server(command_line(WEIR_BEAST_ECHO, on, {"--echo", on.address + ":7080"}));
  const auto where = place_of(server.wait_line("listening echo "));
  const std::string script = R"(
import asyncio, sys, websockets
async def main(url):
    async with websockets.connect(url, max_size=None) as peer:
        for message in ("hello", "x" * 200000, b"\xff" * 10, b"y" * 1000000, ""):
            await peer.send(message)
            assert await peer.recv() == message
        await (await peer.ping())
    assert peer.close_code == 1000, peer.close_code
    big = await websockets.connect(url, max_size=None)
    try:
        await big.send(b"z" * (17 << 20))
        await big.recv()
        assert False
    except websockets.ConnectionClosed:
        pass
    others = [await websockets.connect(url) for _ in range(20)]
    for i, peer in enumerate(others):
        await peer.send(str(i))
    for i, peer in enumerate(others):
        assert await peer.recv() == str(i)
        await peer.close()
    print("done")
asyncio.run(main(sys.argv[1]))
)";
  const auto done = run({"/usr/bin/python3", "-c", script,
                         "ws://" + where.address + ":" + std::to_string(where.port) + "/"});
  CHECK_MESSAGE(done.out == "done\n", done.err);
  server.signal(SIGTERM);
  CHECK(server.wait() == 0);
}
#else
TEST_CASE("beasts_websocket_echoes_messages_and_closes") {
  std::printf("SKIPPED: no libboost-dev, or a preset that leaves this large unit out\n");
}
#endif
