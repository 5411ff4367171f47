// The live page in a real browser: headless Chromium loads it from a running server, waits in real
// time for what it should draw, and what it has drawn is read from the DOM. Skipped where no
// Chromium, or no python3-websockets, is installed.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "observe/admin_client.hpp"

using namespace programs;
using namespace observe_test;

namespace {

constexpr const char* python = "/usr/bin/python3";

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
  if (::access(python, X_OK) != 0 || run({python, "-c", "import websockets"}).code != 0) {
    std::printf("SKIPPED: no python3-websockets is installed\n");
    return false;
  }
  return own_network() && usable(back_end);
}

/// What look.py prints of the page, which must not complain on its console.
std::string look(const observed& at, std::vector<std::string> how) {
  std::vector<std::string> command = {python, WEIR_LOOK, find_browser(),
                                      "http://" + at.address + "/"};
  command.insert(command.end(), how.begin(), how.end());
  auto done = run(std::move(command));
  INFO(done.err);
  REQUIRE(done.code == 0);
  return done.out;
}

/// The page's DOM once this holds; by then it has samples to draw lines from.
std::string dom_of(const observed& at, const std::string& until = "true") {
  return look(at, {"--until", "Number(document.body.dataset.samples) >= 2 && (" + until + ")"});
}

/// The start tag that contains this text, from `from` on.
std::string tag_with(const std::string& dom, std::string_view text, std::size_t from = 0) {
  const auto at = dom.find(text, from);
  INFO("no ", std::string(text));
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
  const auto at = dom.find(text);
  INFO("no ", std::string(text));
  REQUIRE(at != std::string::npos);
  return dom.substr(at);
}

}  // namespace

TEST_CASE("the_page_is_one_file_that_fits_and_loads_nothing_from_elsewhere") {
  if (!own_network() || !usable(kernel_backend)) return;
  observed server(backend_called(kernel_backend), services(), {"--echo", "127.0.0.1:7"});
  const auto page = server.get("/");
  REQUIRE(page.status == 200);
  CHECK(page.body.size() < std::size_t{256} * 1024);
  for (auto* loads : {" src=", "@import", "url(http", "<iframe", "rel=\"stylesheet\""}) {
    CAPTURE(loads);
    CHECK(page.body.find(loads) == std::string::npos);
  }
  for (auto* left : {"/*CSS*/", "/*JS*/", "/*CHART_JS*/", "/*TABLES_JS*/", "/*TURN_JS*/"})
    CHECK(page.body.find(left) == std::string::npos);
  CHECK(page.body.find("Permission is hereby granted, free of charge") != std::string::npos);
  CHECK(page.head.find("default-src 'none'") != std::string::npos);
}

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
  const auto dom = dom_of(server);
  CHECK(attribute(tag_with(dom, "<body"), "data-updates") > 1);
  CHECK(dom.find(">lazy_server</h1>") != std::string::npos);

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
  // The name that the program gave, and a line of the queue with its axis.
  CHECK(card.find("<b>lazy</b>") != std::string::npos);
  CHECK(card.find("aria-label=\"Queues of " + on.address + ":7, last ") != std::string::npos);
  CHECK(card.find("dygraph-axis-label-y") != std::string::npos);

  const auto other = place_of_text(dom, "data-listener=\"" + on.address + ":8\"");
  CHECK(attribute(tag_with(other, "data-queue=\"accept\""), "data-depth") == 0);
  CHECK(dom.find("id=\"verdict\" class=\"verdict ") != std::string::npos);
  clients.clear();
}

TEST_CASE("an_overflowing_queue_is_the_first_thing_that_the_page_says") {
  if (!ready("stack")) return;
  const auto on = backend_called("stack");
  observed server(on, lazy_server(), {"--lazy", on.address + ":7", "--listen.backlog", "1"});
  const auto flood = run({python, "-c",
                          "import socket\nheld = []\n"
                          "for i in range(40):\n"
                          "  s = socket.socket(); s.setblocking(False)\n"
                          "  s.connect_ex(('" +
                              on.address + "', 7)); held.append(s)\n"});
  REQUIRE(flood.code == 0);
  const auto seen =
      look(server, {"--until",
                    "Number(document.body.dataset.samples) >= 2 && "
                    "document.querySelector('.card.full') !== null",
                    "--print",
                    "document.querySelector('[data-tile=overflows] .note').textContent + '|' + "
                    "document.querySelector('.card.full .alarm').textContent"});
  CHECK(seen.find("connections that found the accept queue full|") != std::string::npos);
  CHECK(seen.find(" accept overflows") != std::string::npos);
}

TEST_CASE("the_page_draws_a_filled_buffer_and_the_worst_connection_first") {
  if (!ready("asio")) return;
  observed server(backend_called("asio"), services(),
                  {"--chargen", "127.0.0.1:19", "--echo", "127.0.0.1:7"});
  client stopped("127.0.0.1", 19), idle("127.0.0.1", 7);
  auto seen = server.wait_for([](const json& s) {
    for (auto& c : s["connections"])
      if (c["local"] == "127.0.0.1:19") return c["write_waits"] == true && c["send_queued"] > 65536;
    return false;
  });
  const auto dom = dom_of(server, "document.querySelector('#connections tr.stuck') !== null");
  const auto row = place_of_text(dom, "data-local=\"127.0.0.1:19\"");
  const auto send = tag_with(row, "data-queue=\"send\"");
  CHECK(attribute(send, "data-depth") > 65536);
  CHECK(attribute(send, "data-limit") > 0);
  CHECK(row.find("write waits") != std::string::npos);
  CHECK(row.find(">established<") != std::string::npos);
  CHECK(dom.find("data-local=\"127.0.0.1:19\"") < dom.find("data-local=\"127.0.0.1:7\""));
  // The kernel does not tell its SYN queue: no bar is drawn for it.
  const auto card = place_of_text(dom, "data-listener=\"127.0.0.1:7\"");
  CHECK(card.find("<div class=\"queue\" hidden=\"\">") < card.find("Accept queue</span>"));
  const auto echo = place_of_text(dom, "data-local=\"127.0.0.1:7\"");
  CHECK(attribute(tag_with(echo, "data-queue=\"send\""), "data-depth") == 0);
}

TEST_CASE("what_connections_are_looked_for_and_how_they_are_sorted_is_up_to_the_keyboard") {
  if (!ready("asio")) return;
  observed server(backend_called("asio"), services(),
                  {"--discard", "127.0.0.1:9", "--echo", "127.0.0.1:7"});
  std::vector<client> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back("127.0.0.1", 7);
  clients.emplace_back("127.0.0.1", 9);
  server.wait_for([](const json& s) { return s["connections"].size() == 4; });
  const auto rows = look(
      server, {"--until", "document.querySelectorAll('#connections tbody tr').length === 4", "--do",
               "(() => { const find = document.getElementById('find'); find.value = '127.0.0.1:9';"
               " find.dispatchEvent(new Event('input')); })()",
               "--print", "document.querySelectorAll('#connections tbody tr').length"});
  CHECK(rows == "1\n");
  // Every control is one that a keyboard reaches: buttons, inputs, links; sorting is told.
  const auto sorted = look(
      server, {"--until", "document.querySelectorAll('#connections tbody tr').length === 4", "--do",
               "(() => { const b = [...document.querySelectorAll('#connections th button')]"
               ".find(one => one.textContent === 'Peer'); b.focus(); b.click(); b.click(); })()",
               "--print",
               "document.activeElement.closest('th').getAttribute('aria-sort') + ' ' + "
               "[...document.querySelectorAll('#connections tbody tr')].every((row, i, all) => "
               "!i || all[i - 1].dataset.remote.localeCompare(row.dataset.remote, undefined, "
               "{numeric: true}) <= 0)"});
  CHECK(sorted == "ascending true\n");
}

TEST_CASE("the_page_fits_a_narrow_window_and_shows_the_tasks_by_place") {
  if (!ready("asio")) return;
  observed server(backend_called("asio"), services(), {"--echo", "127.0.0.1:7"});
  client idle("127.0.0.1", 7);
  for (auto* dark : {"", "--dark"}) {
    std::vector<std::string> how = {"--width",
                                    "400",
                                    "--until",
                                    "Number(document.body.dataset.samples) >= 2 && "
                                    "document.querySelector('#tasks tbody tr') !== null && "
                                    "document.querySelector('#connections tbody tr') !== null",
                                    "--print",
                                    "document.documentElement.scrollWidth + ' ' + "
                                    "document.getElementById('tasks').textContent"};
    if (*dark != '\0') how.emplace_back(dark);
    const auto seen = look(server, how);
    CHECK(seen.starts_with("400 "));
    CHECK(seen.find("services.cpp:") != std::string::npos);
  }
}

TEST_CASE("names_that_are_markup_are_shown_as_text") {
  if (!ready("asio")) return;
  observed server(backend_called("asio"), lazy_server(), {"--lazy", "127.0.0.1:7", "--hostile"});
  client peer("127.0.0.1", 7);
  const auto seen =
      look(server, {"--until",
                    "Number(document.body.dataset.samples) >= 2 && "
                    "!document.getElementById('own-section').hidden",
                    "--print",
                    "[window.hostile, document.querySelectorAll('main img, main script').length, "
                    "document.querySelector('#listeners b').textContent, "
                    "document.getElementById('own').textContent.includes('<script>'), "
                    "document.querySelector('#on option:last-child').textContent].join('|')"});
  CHECK(seen ==
        "|0|<img src=x onerror=\"window.hostile=1\">|true|"
        "<img src=x onerror=\"window.hostile=1\"> 127.0.0.1:7\n");
  // A page of the program's own may run no script, whatever it says.
  const auto own = server.get("/own/hostile");
  CHECK(own.status == 200);
  CHECK(own.head.find("Content-Security-Policy: sandbox;") != std::string::npos);
  CHECK(own.body.find("<script>") != std::string::npos);
  CHECK(server.get("/own/thrown").status == 500);
  CHECK(server.get("/own/not-there").status == 404);
  CHECK(server.get("/own/asked?a=b&c").body == "a=b&c");
}
