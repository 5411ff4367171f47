// Files as answers: paths are taken apart without leaving the folder, whatever they look like;
// conditions and ranges.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/http/wire/target.hpp"
#include "weir/http/files.hpp"
#include "weir/shard.hpp"

using namespace weir::http;
using found = file_root::found;

namespace {

struct folder {
  folder() {
    char name[] = "/tmp/weir-http-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    top = name;
    path = top + "/root";
    std::filesystem::create_directories(path + "/sub/deep");
    write("root/index.html", "front");
    write("root/a b.txt", "spaced");
    write("root/sub/page.html", "page");
    write("root/.hidden", "hidden");
    write("secret", "secret");
    std::filesystem::create_symlink(top + "/secret", path + "/link");
    std::filesystem::create_directory_symlink(top, path + "/up");
    REQUIRE(mkfifo((path + "/pipe").c_str(), 0600) == 0);
  }
  ~folder() { std::filesystem::remove_all(top); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(top + "/" + name) << text;
  }

  std::string top, path;
};

/// The content of what a target names, or why there is none.
std::string fetch(const file_root& root, std::string_view target) {
  auto parts = weir::http::wire::parse_target(target, weir::http::method::get);
  if (!parts) return "no path";
  auto apart = take_apart(parts->path);
  if (!apart) return "refused";
  file_root::opened file;
  auto what = root.open(*apart, file);
  if (what == found::folder) return "folder " + apart->normal();
  if (what == found::nothing) return "nothing";
  if (what == found::exhausted) return "exhausted";
  std::array<std::byte, 64> content{};
  std::size_t n = 0;
  CHECK_FALSE(file.file.handle().read_at(content, 0, n));
  CHECK(n == file.size);
  return {reinterpret_cast<const char*>(content.data()), n};
}

}  // namespace

TEST_CASE("files_are_found_by_their_path") {
  folder f;
  file_root root(f.path);
  CHECK(fetch(root, "/") == "front");
  CHECK(fetch(root, "/index.html?x=1#y") == "front");
  CHECK(fetch(root, "/a%20b.txt") == "spaced");
  CHECK(fetch(root, "//sub///page.html") == "page");
  CHECK(fetch(root, "http://host:80/sub/page.html") == "page");
  CHECK(fetch(root, "http://host") == "front");
}

TEST_CASE("nothing_outside_the_folder_is_reached") {
  folder f;
  file_root root(f.path);
  for (auto* target : {"/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret",
                       "/%2e%2e%2fsecret", "/./index.html", "/sub/..", "/.hidden", "/%00",
                       "/index.html%00.txt", "/a%2fb", "/%", "/%4", "/%zz", "/\x01"}) {
    CAPTURE(target);
    CHECK(fetch(root, target) == "refused");
  }
  for (auto* target : {"/link", "/up/secret", "/up/root/index.html", "/up/", "/missing",
                       "/index.html/", "/index.html/x"}) {
    CAPTURE(target);
    CHECK(fetch(root, target) == "nothing");
  }
  CHECK(fetch(root, "*") == "no path");
  CHECK(fetch(root, "secret") == "no path");
}

TEST_CASE("a_pipe_is_no_file_and_does_not_block") {
  folder f;
  CHECK(fetch(file_root(f.path), "/pipe") == "nothing");
}

TEST_CASE("a_file_that_cannot_be_opened_for_want_of_descriptors_is_not_missing") {
  folder f;
  file_root root(f.path);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int free = ::dup(0);
  ::close(free);
  // No descriptor is left, or only the one that the first step of a path takes.
  for (int left = 0; left < 2; ++left) {
    const rlimit few{static_cast<rlim_t>(free + left), before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    const auto at_the_top = fetch(root, "/index.html"), below = fetch(root, "/sub/page.html");
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(at_the_top == "exhausted");
    CHECK(below == "exhausted");
  }
  CHECK(fetch(root, "/index.html") == "front");
}

TEST_CASE("a_folder_without_its_slash_is_told_apart") {
  folder f;
  file_root root(f.path);
  CHECK(fetch(root, "/sub") == "folder /sub");
  CHECK(fetch(root, "//sub") == "folder /sub");  // never "//sub", which names another host
  CHECK(fetch(root, "/sub/") == "nothing");      // no index.html
}

TEST_CASE("long_paths_are_refused") {
  folder f;
  file_root root(f.path);
  std::string deep;
  for (int i = 0; i < 33; ++i) deep += "/a";
  CHECK(fetch(root, deep) == "refused");
  CHECK(fetch(root, "/" + std::string(256, 'a')) == "refused");
}

TEST_CASE("a_root_that_is_no_folder_is_an_error") {
  CHECK_THROWS_AS(file_root("/nowhere/at/all"), std::system_error);
  CHECK_THROWS_AS(file_root("/etc/passwd"), std::system_error);
}

TEST_CASE("paths_are_encoded_again_without_what_could_be_misread") {
  file_path path{{"a b", "c?d", "\xc3\xa4"}, false};
  CHECK(path.normal() == "/a%20b/c%3Fd/%C3%A4");
}

TEST_CASE("a_content_type_follows_the_name") {
  CHECK(content_type_of("x.html") == "text/html; charset=utf-8");
  CHECK(content_type_of("x.unknown") == "application/octet-stream");
}

namespace {

/// What a file's answer says to a request with these fields: "206 [page] bytes 0-3/4".
struct asker {
  folder f;
  file_root root{f.path, {.precompressed = true}};

  std::string ask(std::vector<field> fields, std::string_view path = "/sub/page.html",
                  method how = method::get) {
    weir::http::detail::request_parts parts;
    parts.method = how;
    parts.path = path;
    parts.fields = fields;
    nobody none;
    const request asked(no_shard(), {}, parts, body_reader(none));
    auto made = root.answer(asked);
    const auto now = root.answer_now(asked);  // what was just read is in memory
    if (now) {
      ++answered_now;
      CHECK(now->status() == made.status());
      CHECK(std::ranges::equal(now->fields(), made.fields()));
    }
    std::string out = std::to_string(made.status());
    if (auto* part = std::get_if<response::file_part>(&made.body())) {
      std::array<std::byte, 64> content{};
      std::size_t n = 0;
      CHECK_FALSE(
          part->file.handle().read_at(std::span(content).first(part->length), part->offset, n));
      out += " [" + std::string(reinterpret_cast<const char*>(content.data()), n) + "]";
    }
    last = std::move(made);
    const auto range = value_of("Content-Range");
    return range.empty() ? out : out + " " + range;
  }
  std::string value_of(std::string_view name) {
    for (auto& [key, value] : last.fields())
      if (key == name) return value;
    return "";
  }

  response last;
  int answered_now = 0;

 private:
  struct nobody final : weir::http::detail::body_source {
    weir::task<std::span<const std::byte>> read_body() override {
      co_return std::span<const std::byte>();
    }
    std::span<const field> body_trailers() const override { return {}; }
  };
  // A request refers to its shard, which no file asks.
  static weir::shard& no_shard() {
    alignas(weir::shard) static std::byte place[sizeof(weir::shard)];
    return reinterpret_cast<weir::shard&>(place);
  }
};

}  // namespace

TEST_CASE("a_range_is_a_part_of_a_file") {
  asker a;
  CHECK(a.ask({}) == "200 [page]");
  CHECK(a.value_of("Accept-Ranges") == "bytes");
  CHECK(a.ask({{"Range", "bytes=0-0"}}) == "206 [p] bytes 0-0/4");
  CHECK(a.ask({{"Range", "bytes=1-"}}) == "206 [age] bytes 1-3/4");
  CHECK(a.ask({{"Range", "bytes=-2"}}) == "206 [ge] bytes 2-3/4");
  CHECK(a.ask({{"Range", "bytes=2-100"}}) == "206 [ge] bytes 2-3/4");
  CHECK(a.ask({{"Range", "bytes=-100"}}) == "206 [page] bytes 0-3/4");
  CHECK(a.ask({{"Range", "bytes=4-"}}) == "416 bytes */4");
  CHECK(a.ask({{"Range", "bytes=-0"}}) == "416 bytes */4");
  for (auto* whole : {"bytes=0-0,2-3", "bytes=3-2", "bytes=", "bytes=-", "bytes=a-b", "items=0-1",
                      "bytes=99999999999999999999-", "0-1"}) {
    CAPTURE(std::string(whole));
    CHECK(a.ask({{"Range", whole}}) == "200 [page]");
  }
  CHECK(a.ask({{"Range", "bytes=0-0"}}, "/sub/page.html", method::head) == "200 [page]");
  CHECK(read_range("bytes=0-", 0).what == byte_range::kind::unsatisfiable);
}

TEST_CASE("conditions_are_judged_in_the_rfcs_order") {  // RFC 9110 13.2.2
  asker a;
  REQUIRE(a.ask({}) == "200 [page]");
  const auto tag = a.value_of("ETag"), date = a.value_of("Last-Modified");
  const std::string old = "Sun, 06 Nov 1994 08:49:37 GMT", later = "Fri, 06 Nov 2093 08:49:37 GMT";
  const auto weak = "W/" + tag;
  const std::string list = "\"a,b\", " + weak;
  CHECK(a.ask({{"If-None-Match", tag}}) == "304");
  CHECK(a.value_of("ETag") == tag);
  CHECK(a.ask({{"If-None-Match", list}}) == "304");
  CHECK(a.ask({{"If-None-Match", "*"}}) == "304");
  CHECK(a.ask({{"If-None-Match", "\"other\""}, {"If-Modified-Since", date}}) == "200 [page]");
  CHECK(a.ask({{"If-Modified-Since", date}}) == "304");
  CHECK(a.ask({{"If-Modified-Since", later}}) == "304");
  CHECK(a.ask({{"If-Modified-Since", old}}) == "200 [page]");
  CHECK(a.ask({{"If-Modified-Since", "yesterday"}}) == "200 [page]");
  CHECK(a.ask({{"If-Match", tag}}) == "200 [page]");
  CHECK(a.ask({{"If-Match", "*"}}) == "200 [page]");
  CHECK(a.ask({{"If-Match", weak}}) == "412");  // a strong comparison
  CHECK(a.ask({{"If-Match", "\"other\""}}) == "412");
  CHECK(a.ask({{"If-Match", tag}, {"If-Unmodified-Since", old}}) == "200 [page]");
  CHECK(a.ask({{"If-Unmodified-Since", old}}) == "412");
  CHECK(a.ask({{"If-Unmodified-Since", later}}) == "200 [page]");
  CHECK(a.ask({{"Range", "bytes=0-0"}, {"If-Range", tag}}) == "206 [p] bytes 0-0/4");
  CHECK(a.ask({{"Range", "bytes=0-0"}, {"If-Range", weak}}) == "200 [page]");
  CHECK(a.ask({{"Range", "bytes=0-0"}, {"If-Range", date}}) == "206 [p] bytes 0-0/4");
  CHECK(a.ask({{"Range", "bytes=0-0"}, {"If-Range", later}}) == "200 [page]");
}

TEST_CASE("a_compressed_sibling_is_given_to_whom_takes_it") {
  asker a;
  a.f.write("root/sub/page.html.gz", "zipped");
  CHECK(a.ask({{"Accept-Encoding", "br, gzip;q=0.5"}}) == "200 [zipped]");
  CHECK(a.value_of("Content-Encoding") == "gzip");
  CHECK(a.value_of("Content-Type") == "text/html; charset=utf-8");
  CHECK(a.value_of("Vary") == "Accept-Encoding");
  for (auto* no : {"", "br", "gzip;q=0", "gzip;q=0.000", "gzip;Q=0", "xgzip"}) {
    CAPTURE(std::string(no));
    CHECK(a.ask({{"Accept-Encoding", no}}) == "200 [page]");
    CHECK(a.value_of("Content-Encoding").empty());
    CHECK(a.value_of("Vary") == "Accept-Encoding");
  }
}

TEST_CASE("what_is_no_file_gets_the_status_that_says_so") {
  asker a;
  CHECK(a.ask({}, "/none") == "404");
  CHECK(a.ask({}, "/sub") == "301");
  CHECK(a.value_of("Location") == "/sub/");
  CHECK(a.ask({}, "/sub/page.html", method::post) == "405");
  CHECK(a.value_of("Allow") == "GET, HEAD");
}

TEST_CASE("what_is_in_memory_is_answered_without_waiting_as_it_is_otherwise") {
  asker a;
  a.f.write("root/sub/page.html.gz", "zipped");
  for (auto* path : {"/", "/sub/page.html", "/sub/", "/sub", "/sub/none", "/none/x", "/link",
                     "/up/secret", "/pipe", "/.hidden", "/sub/page.html/", "/a%20b.txt"}) {
    CAPTURE(std::string(path));
    for (auto* coding : {"identity", "gzip"}) (void)a.ask({{"accept-encoding", coding}}, path);
  }
  if (a.answered_now == 0) MESSAGE("this kernel, or this file system, answers nothing at once");
}

TEST_CASE("a_date_is_read_as_it_is_written") {
  for (std::int64_t when : {std::int64_t(0), std::int64_t(784111777), std::int64_t(4102444800)})
    CHECK(read_http_date(http_date(when)) == when);
  for (auto* bad : {"", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
                    "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 ovD 1994 08:49:37 GMT",
                    "Sun, -6 Nov 1994 08:49:37 GMT"})
    CHECK_FALSE(read_http_date(bad));
}
