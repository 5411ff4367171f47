// The HTTP server's files: paths are taken apart without leaving the folder, whatever they look
// like.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "http/wire/target.hpp"
#include "http_server/files.hpp"

using namespace http;
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
  open_file file;
  auto what = root.open(*apart, file);
  if (what == found::folder) return "folder " + apart->normal();
  if (what == found::nothing) return "nothing";
  if (what == found::exhausted) return "exhausted";
  std::array<std::byte, 64> content{};
  auto n = file.read_at(0, content);
  CHECK(n == file.size());
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
  request_path path{{"a b", "c?d", "\xc3\xa4"}, false};
  CHECK(path.normal() == "/a%20b/c%3Fd/%C3%A4");
}

TEST_CASE("a_content_type_follows_the_name") {
  CHECK(content_type_of("x.html") == "text/html; charset=utf-8");
  CHECK(content_type_of("x.unknown") == "application/octet-stream");
}
