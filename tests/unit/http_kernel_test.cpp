// HTTP on the kernel's own sockets and files: what a simulated network does not have.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "runtime/process/file_stream.hpp"
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

off_t size_of(int fd) {
  struct stat about{};
  ::fstat(fd, &about);
  return about.st_size;
}

}  // namespace

TEST_CASE("a_file_that_is_taken_at_once_leaves_others_their_turn") {
  ::signal(SIGPIPE, SIG_IGN);  // or nothing is sent without a copy
  on_kernel_back_ends([](shard& s) -> task<> {
    constexpr off_t size = 16 * 1024 * 1024;
    auto content = temporary_file();
    REQUIRE(::ftruncate(content.get(), size) == 0);
    http::router site;
    site.get("/file", [&](http::request&) -> task<http::response> {
      http::response out;
      out.body(http::response::file_part{http::open_file(::dup(content.get())), 0, size});
      co_return out;
    });
    // A connection that takes whatever it is given: the request is read from a file, the answer is
    // written behind it.
    auto both = temporary_file();
    const std::string asked = "GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    REQUIRE(::write(both.get(), asked.data(), asked.size()) > 0);
    ::lseek(both.get(), 0, SEEK_SET);
    const unique_fd watched(::dup(both.get()));
    off_t largest_step = 0;
    bool over = false;
    const auto watch = [&]() -> task<> {
      auto before = size_of(watched.get());
      while (!over) {
        co_await weir::yield();
        const auto now = size_of(watched.get());
        largest_step = std::max(largest_step, now - before);
        before = now;
      }
    };
    const auto serve = [&]() -> task<> {
      http::server by(s, site);
      co_await by.session(weir::detail::file_stream::make(s, std::move(both)));
      over = true;
    };
    co_await weir::when_all(serve(), watch());
    CHECK(size_of(watched.get()) > size);
    CHECK(largest_step <= 2 * 1024 * 1024);
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
