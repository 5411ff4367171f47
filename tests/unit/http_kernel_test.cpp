// HTTP on the kernel's own sockets and files: what a simulated network does not have.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <string>

#include "runtime/observe/take_snapshot.hpp"
#include "unit/back_ends.hpp"
#include "weir/http.hpp"

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::shard;
using weir::task;
using weir::unique_fd;
namespace http = weir::http;

namespace {

unique_fd temporary_file() {
  char name[] = "/tmp/weir-http-XXXXXX";
  unique_fd fd(::mkostemp(name, O_CLOEXEC));
  ::unlink(name);
  REQUIRE(fd);
  return fd;
}

}  // namespace

TEST_CASE("a_large_file_goes_to_the_connection_without_a_copy_behind_its_head") {
  ::signal(SIGPIPE, SIG_IGN);  // or nothing is sent without a copy
  on_kernel_back_ends([](shard& s) -> task<> {
    constexpr std::size_t size = 16 * 1024 * 1024;
    auto content = temporary_file();
    std::string text;
    for (unsigned i = 0; text.size() < size; ++i) text += std::to_string(i) + ' ';
    text.resize(size);
    REQUIRE(::write(content.get(), text.data(), size) == static_cast<ssize_t>(size));
    http::router site;
    site.get("/file", [&](http::request&) -> task<http::response> {
      http::response out;
      out.body(http::response::file_part{http::open_file(::dup(content.get())), 0, size});
      co_return out;
    });
    std::uint64_t said = 0;
    http::server by(s, site);
    by.on_access([&](const http::access_entry& of) { said = of.bytes; });
    auto listener = s.listen({"127.0.0.1", 0});
    const auto serve = [&]() -> task<> {
      auto peer = co_await listener.accept();
      co_await by.session(std::move(*peer));
    };
    std::string came;
    const auto ask = [&]() -> task<> {
      auto to = co_await weir::connect(listener.local_endpoint());
      co_await to.write_all("GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      std::array<std::byte, 65536> buffer;
      for (;;) {
        const auto n = co_await to.read_some(buffer);
        if (n == 0) break;
        came += weir::as_text(std::span(buffer).first(n));
      }
    };
    co_await weir::when_all(serve(), ask());
    REQUIRE(came.size() > size);
    CHECK(came.ends_with(text));
    CHECK(said == size);
    std::uint64_t uncopied = 0;
    for (const auto& one : weir::detail::take_snapshot(s, {}).counts)
      if (one.name == "file_bytes_sent") uncopied += one.value;
    CHECK(uncopied >= 64 * 1024);  // there was room for that
  });
}

TEST_CASE("localhost_is_either_loopback_address") {
  on_kernel_back_ends([](shard& s) -> task<> {
    for (const auto& address : {weir::ip_address::loopback_v4(), weir::ip_address::loopback_v6()}) {
      CAPTURE(address.to_string());
      auto listener = s.listen({address, 0});
      const auto serve = [&]() -> task<> {
        http::server by(s, [](http::request& r) -> task<http::response> {
          co_return http::text(std::string(r.host()));
        });
        auto peer = co_await listener.accept();
        co_await by.session(std::move(*peer));
      };
      std::string said;
      const auto port = std::to_string(listener.local_endpoint().port);
      const auto ask = [&]() -> task<> {
        http::client web(s);
        auto got = co_await web.get("http://localhost:" + port + "/");
        said = co_await got.body().read_all();
      };
      co_await weir::when_all(serve(), ask());
      CHECK(said == "localhost:" + port);
    }
  });
}
