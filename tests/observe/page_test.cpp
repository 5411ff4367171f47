// The live page in a real browser: headless Chromium loads it from a running server, and what it
// has drawn is read from the DOM. Skipped where no Chromium is installed.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "observe/admin_client.hpp"

using namespace programs;
using namespace observe_test;

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

/// A network of its own and a browser; prints "SKIPPED: why" when one is missing.
bool ready(const std::string& back_end) {
  if (find_browser().empty()) {
    std::printf("SKIPPED: no Chromium is installed (apt-get install chromium)\n");
    return false;
  }
  return own_network() && usable(back_end);
}

struct folder {
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-page-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

/// The page's DOM after two seconds of its own time.
std::string dom_of(const std::string& url) {
  folder profile;
  // Its home is the profile: nothing of the user's is read or written.
  auto browser =
      run({find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
           "--disable-background-networking", "--disable-component-update", "--no-first-run",
           "--disable-sync", "--user-data-dir=" + profile.path, "--virtual-time-budget=2000",
           "--dump-dom", url},
          {.environment = {"HOME=" + profile.path, "XDG_CONFIG_HOME=" + profile.path,
                           "XDG_CACHE_HOME=" + profile.path}});
  INFO(browser.err);
  REQUIRE(browser.code == 0);
  return browser.out;
}

/// The start tag that contains this text, from `from` on.
std::string tag_with(const std::string& dom, std::string_view text, std::size_t from = 0) {
  const auto at = dom.find(text, from);
  INFO("no ", std::string(text), " in\n", dom);
  REQUIRE(at != std::string::npos);
  const auto begin = dom.rfind('<', at), end = dom.find('>', at);
  return dom.substr(begin, end - begin + 1);
}

long attribute(const std::string& tag, const std::string& name) {
  const auto at = tag.find(" " + name + "=\"");
  INFO("no ", name, " in ", tag);
  REQUIRE(at != std::string::npos);
  return std::stol(tag.substr(at + name.size() + 3));
}

std::string place_of_text(const std::string& dom, std::string_view text) {
  return dom.substr(dom.find(text));
}

}  // namespace

TEST_CASE("the_page_draws_listeners_and_both_their_queues") {
  if (!ready("stack")) return;
  const auto on = backend_called("stack");
  observed server(on, lazy_server(),
                  {"--lazy", on.address + ":7", "--lazy", on.address + ":8", "--listen.backlog",
                   "4", "--listen.syn_backlog", "32"});
  std::vector<client> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(on.address, 7);
  server.wait_for([](const json& s) {
    return s["listeners"][0]["accept_queue"] == 3 || s["listeners"][1]["accept_queue"] == 3;
  });
  const auto dom = dom_of("http://" + server.address + "/");
  CHECK(attribute(tag_with(dom, "<body"), "data-updates") > 1);
  CHECK(dom.find(">lazy_server, pid ") != std::string::npos);

  const auto card = place_of_text(dom, "data-listener=\"" + on.address + ":7\"");
  const auto accept = tag_with(card, "data-queue=\"accept\"");
  CHECK(attribute(accept, "data-depth") == 3);
  CHECK(attribute(accept, "data-limit") == 4);
  CHECK(attribute(accept, "aria-valuenow") == 3);
  CHECK(attribute(accept, "aria-valuemax") == 4);
  CHECK(accept.find("role=\"meter\"") != std::string::npos);
  CHECK(accept.find("class=\"bar accept busy\"") != std::string::npos);
  CHECK(card.find("style=\"width: 75%") < card.find("data-queue=\"ahead\""));
  const auto syn = tag_with(card, "data-queue=\"syn\"");
  CHECK(attribute(syn, "data-depth") == 0);
  CHECK(attribute(syn, "data-limit") == 32);
  CHECK(card.find(">3 / 4<") != std::string::npos);
  CHECK(card.find("<polyline points=\"") != std::string::npos);

  const auto other = place_of_text(dom, "data-listener=\"" + on.address + ":8\"");
  CHECK(attribute(tag_with(other, "data-queue=\"accept\""), "data-depth") == 0);
  clients.clear();
}

TEST_CASE("the_page_draws_a_filled_buffer") {
  if (!ready("asio")) return;
  observed server(backend_called("asio"), services(),
                  {"--chargen", "127.0.0.1:19", "--echo", "127.0.0.1:7"});
  client stopped("127.0.0.1", 19), idle("127.0.0.1", 7);
  auto seen = server.wait_for([](const json& s) {
    for (auto& c : s["connections"])
      if (c["local"] == "127.0.0.1:19") return c["write_waits"] == true && c["send_queued"] > 65536;
    return false;
  });
  const auto dom = dom_of("http://" + server.address + "/");
  const auto row = place_of_text(dom, "data-local=\"127.0.0.1:19\"");
  const auto send = tag_with(row, "data-queue=\"send\"");
  CHECK(attribute(send, "data-depth") > 65536);
  CHECK(attribute(send, "data-limit") > 0);
  CHECK(row.find("write waits") != std::string::npos);
  CHECK(row.find(">established<") != std::string::npos);
  // The kernel does not tell its SYN queue: no bar is drawn for it.
  const auto card = place_of_text(dom, "data-listener=\"127.0.0.1:7\"");
  CHECK(card.find("<div class=\"queue\" hidden=\"\"><span>SYN queue</span>") <
        card.find("<span>Accept queue</span>"));
  const auto echo = place_of_text(dom, "data-local=\"127.0.0.1:7\"");
  CHECK(attribute(tag_with(echo, "data-queue=\"send\""), "data-depth") == 0);
}
