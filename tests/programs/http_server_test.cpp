// http_server, from outside: pages, files, pipelining, and every way in which a client can be
// wrong.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "programs/harness.hpp"

using namespace programs;

namespace {

struct server {
  explicit server(const backend& on, std::vector<std::string> more = {},
                  const start_options& options = {})
      : program(command_line(http_server(), on, with_listener(on, std::move(more))), options) {
    where = place_of(program.wait_line("listening http "));
  }
  static std::vector<std::string> with_listener(const backend& on, std::vector<std::string> more) {
    more.insert(more.begin(), {"--http", on.address + ":80"});
    return more;
  }
  client connect() { return client(where.address, where.port); }
  /// Sends all of it, ends the sending where asked, and gives everything that comes back until the
  /// server closes.
  std::string talk(std::string_view text, bool end = false) {
    auto c = connect();
    c.try_send(text);
    if (end) c.end_of_stream();
    return c.receive_all();
  }
  void expect_alive() {
    auto answer = talk("GET /plaintext HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(answer.ends_with("\r\n\r\nHello, World!"));
  }
  process program;
  place where;
};

struct folder {
  folder() {
    char name[] = "/tmp/weir-www-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
    write("index.html", "<p>front");
    write("big.bin", some_bytes(8u << 20));
    write("empty.txt", "");
    std::filesystem::create_directory(path + "/sub");
  }
  ~folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(path + "/" + name, std::ios::binary) << text;
  }
  std::string path;
};

std::string get(const std::string& target, const std::string& fields = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
}
std::string get_and_close(const std::string& target) {
  return get(target, "Connection: close\r\n");
}

std::string body_of(const std::string& answer) {
  auto end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "no answer" : answer.substr(end + 4);
}
std::string status_of(const std::string& answer) {
  return answer.size() < 12 ? answer : answer.substr(9, 3);
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Reads one answer, whose length its head tells, and leaves the connection open.
std::string receive_answer(client& c) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) head += c.receive(1);
  auto at = head.find("Content-Length: ");
  REQUIRE(at != std::string::npos);
  return head + c.receive(std::stoul(head.substr(at + 16)));
}

}  // namespace

ON_EVERY_BACKEND(pages_are_served) {
  server s(on);
  auto answer = s.talk(get_and_close("/plaintext"));
  CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(answer.find("\r\nDate: ") != std::string::npos);
  CHECK(answer.find("\r\nContent-Type: text/plain\r\n") != std::string::npos);
  CHECK(body_of(answer) == "Hello, World!");
  answer = s.talk(get_and_close("/json?x=1"));
  CHECK(answer.find("\r\nContent-Type: application/json\r\n") != std::string::npos);
  CHECK(body_of(answer) == "{\"message\":\"Hello, World!\"}");
  CHECK(body_of(s.talk(get_and_close("/"))).find("<h1>weir</h1>") != std::string::npos);
  CHECK(status_of(s.talk(get_and_close("/nowhere"))) == "404");
}

ON_EVERY_BACKEND(head_gets_no_body) {
  server s(on);
  auto answer = s.talk("HEAD /plaintext HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK(answer.find("Content-Length: 13\r\n") != std::string::npos);
  CHECK(body_of(answer).empty());
}

ON_EVERY_BACKEND(a_connection_is_kept_for_many_requests) {
  server s(on);
  auto c = s.connect();
  for (int i = 0; i < 100; ++i) {
    c.send(get(i % 2 == 0 ? "/plaintext" : "/json"));
    CHECK(body_of(receive_answer(c)).find("Hello, World!") != std::string::npos);
  }
}

ON_EVERY_BACKEND(pipelined_requests_are_answered_in_order) {
  server s(on);
  std::string requests, expected;
  for (int i = 0; i < 1000; ++i)
    requests += get(i % 3 == 0 ? "/plaintext" : i % 3 == 1 ? "/json" : "/none");
  requests += get_and_close("/plaintext");
  auto c = s.connect();
  std::thread sender([&] { c.try_send(requests); });
  auto answers = c.receive_all();
  sender.join();
  CHECK(count(answers, "HTTP/1.1 ") == 1001);
  CHECK(count(answers, "\r\n\r\nHello, World!HTTP/1.1 200 OK") == 334);
  CHECK(count(answers, "HTTP/1.1 404") == 333);
  CHECK(answers.ends_with("\r\n\r\nHello, World!"));
}

// ab -k waits for ever for an end that it was not told would not come.
ON_EVERY_BACKEND(an_http_1_0_client_is_told_that_its_connection_is_kept) {
  server s(on);
  auto c = s.connect();
  c.send("GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(receive_answer(c).find("\r\nConnection: keep-alive\r\n") != std::string::npos);
  c.send("GET HTTP://x/plaintext HTTP/1.2\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK(status_of(c.receive_all()) == "200");
  const auto answer = s.talk("GET /plaintext HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
  CHECK(status_of(answer) == "200");
}

ON_EVERY_BACKEND(a_request_in_small_pieces_is_a_request) {
  server s(on);
  auto c = s.connect();
  for (char byte : get("/plaintext")) c.send({&byte, 1});
  CHECK(status_of(receive_answer(c)) == "200");
}

ON_EVERY_BACKEND(files_are_served_whole) {
  folder f;
  server s(on, {"--root", f.path});
  auto answer = s.talk(get_and_close("/big.bin"));
  CHECK(answer.find("Content-Length: 8388608\r\n") != std::string::npos);
  auto same = body_of(answer) == some_bytes(8u << 20);
  CHECK(same);
  CHECK(body_of(s.talk(get_and_close("/"))) == "<p>front");
  CHECK(body_of(s.talk(get_and_close("/empty.txt"))).empty());
  CHECK(s.talk(get_and_close("/sub")).find("\r\nLocation: /sub/\r\n") != std::string::npos);
  CHECK(s.talk(get_and_close("/sub?a=b&c")).find("\r\nLocation: /sub/?a=b&c\r\n") !=
        std::string::npos);
  CHECK(status_of(s.talk(get_and_close("/sub/"))) == "404");
  // A file between two pages on one connection.
  auto answers = s.talk(get("/plaintext") + get("/big.bin") + get_and_close("/json"));
  CHECK(count(answers, "HTTP/1.1 200 OK\r\n") == 3);
  CHECK(answers.ends_with("{\"message\":\"Hello, World!\"}"));
}

// A close with unread bytes is a reset, which takes what the client has not read yet.
ON_EVERY_BACKEND(a_good_answer_arrives_whole_though_the_client_sends_more) {
  folder f;
  server s(on, {"--root", f.path});
  for (std::string late : {std::string("\n"), get("/plaintext"), std::string(3u << 20, 'x')}) {
    auto c = s.connect();
    c.send(get_and_close("/big.bin"));
    auto answer =
        c.receive(1000);  // the answer is on its way, and more of it than any buffer takes
    std::thread sender([&] { c.try_send(late); });
    answer += c.receive_all();
    sender.join();
    auto same = body_of(answer) == some_bytes(8u << 20);
    CHECK(same);
  }
}

ON_EVERY_BACKEND(a_file_is_503_and_not_404_while_descriptors_are_lacking) {
  if (on.name == "stack") return;  // its connections take none
  folder f;
  start_options few{{}, [] {
                      const rlimit limit{64, 64};
                      ::setrlimit(RLIMIT_NOFILE, &limit);
                    }};
  server s(on, {"--root", f.path}, few);
  auto first = s.connect();
  std::vector<client> idle;
  std::string status;
  while (status != "503") {
    REQUIRE(idle.size() < 100);
    idle.push_back(s.connect());
    first.send(get("/index.html"));
    status = status_of(receive_answer(first));
    if (status != "503") REQUIRE(status == "200");
  }
  idle.clear();
  first.send(get("/plaintext"));
  CHECK(status_of(receive_answer(first)) == "200");
  s.program.signal(SIGTERM);
  first.end_of_stream();
  CHECK(s.program.wait() == 0);
  CHECK(s.program.err().find(" requests got 503: out of descriptors\n") != std::string::npos);
}

ON_EVERY_BACKEND(curl_gets_files_parts_and_not_modified) {
  folder f;
  server s(on, {"--root", f.path, "--access-log"});
  const auto curl = [&](std::vector<std::string> words, const std::string& path) {
    words.insert(words.begin(), {"/usr/bin/env", "curl", "-sS", "--max-time", "25"});
    words.push_back("http://" + s.where.address + ":" + std::to_string(s.where.port) + path);
    const auto done = run(words);
    CHECK_MESSAGE(done.code == 0, done.err);
    return done.out;
  };
  auto same = curl({}, "/big.bin") == some_bytes(8u << 20);
  CHECK(same);
  CHECK(curl({"-r", "3-7"}, "/index.html") == "front");
  CHECK(curl({"-r", "-2"}, "/index.html") == "nt");
  CHECK(status_of(curl({"-I"}, "/index.html")) == "200");
  CHECK(curl({"-L"}, "/sub").starts_with("404"));
  const std::string code = "%{http_code}";
  CHECK(curl({"-w", code, "-r", "100-"}, "/index.html").ends_with("416"));
  CHECK(curl({"-w", code, "-z", f.path + "/index.html"}, "/index.html") == "304");
  const auto head = curl({"-I"}, "/index.html");
  const auto at = head.find("ETag: ") + 6;
  const auto tag = head.substr(at, head.find('\r', at) - at);
  CHECK(curl({"-w", code, "-H", "If-None-Match: " + tag}, "/index.html") == "304");
  CHECK(curl({"-d", std::string(100'000, 'x'), "-w", code}, "/index.html").ends_with("405"));
  CHECK(curl({"-0", "-H", "Connection: keep-alive"}, "/index.html") == "<p>front");
  s.program.signal(SIGTERM);
  CHECK(s.program.wait() == 0);
  CHECK(s.program.out().find("\"GET /big.bin HTTP/1.1\" 200 8388608\n") != std::string::npos);
}

ON_EVERY_BACKEND(nothing_outside_the_root_is_served) {
  folder f;
  server s(on, {"--root", f.path});
  for (auto* target : {"/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
                       "/sub/../../etc/passwd"}) {
    CAPTURE(target);
    CHECK(status_of(s.talk(get_and_close(target))) == "404");
  }
}

ON_EVERY_BACKEND(wrong_requests_get_the_status_that_says_why) {
  server s(on, {"--http.max_head", "1024", "--http.max_body", "100"});
  struct wrong {
    std::string request, status;
  };
  for (auto& w : {
           wrong{"garbage\r\n\r\n", "400"},
           wrong{"\x16\x03\x01\x02\x05\x01", "400"},
           wrong{"GET / HTTP/1.1\r\n\r\n", "400"},
           wrong{"GET / HTTP/1.1\r\nHost: x\r\nbad field: y\r\n\r\n", "400"},
           wrong{"GET /" + std::string(5000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", "414"},
           wrong{"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(5000, 'a') + "\r\n\r\n", "431"},
           wrong{
               "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'a'),
               "413"},
           wrong{
               "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
               "405"},
           wrong{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                 "405"},
           wrong{"GET / HTTP/1.1\r\nHost: x\r\n\rX" + get("/plaintext"), "400"},
           wrong{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
           wrong{"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400"},
           wrong{"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "501"},
           wrong{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"},
       }) {
    CAPTURE(w.request.substr(0, 60));
    // The whole answer arrives though the server has not read everything: it lingers before it
    // closes.
    auto answer = s.talk(w.request, true);
    CHECK(status_of(answer) == w.status);
    CHECK(answer.find("\r\nConnection: close\r\n") != std::string::npos);
    CHECK(body_of(answer).starts_with(w.status));
  }
  s.expect_alive();
}

ON_EVERY_BACKEND(what_came_before_a_wrong_request_is_answered_first) {
  server s(on);
  auto answers = s.talk(get("/plaintext") + "garbage\r\n\r\n", true);
  CHECK(answers.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(answers.find("Hello, World!HTTP/1.1 400 ") != std::string::npos);
}

ON_EVERY_BACKEND(half_a_request_and_its_end_is_400) {
  server s(on);
  CHECK(status_of(s.talk("GET /plaintext HTTP/1.1\r\nHo", true)) == "400");
  CHECK(s.talk("", true).empty());
  s.expect_alive();
}

ON_EVERY_BACKEND(half_a_request_and_silence_is_408) {
  server s(on, {"--http.head_timeout_ms", "100", "--http.body_timeout_ms", "100"});
  CHECK(status_of(s.talk("GET /plaintext HTTP/1.1\r\nHo")) == "408");
  // A body that nobody wants is answered at once, and not waited for without end.
  CHECK(status_of(s.talk("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")) == "405");
  s.expect_alive();
}

ON_EVERY_BACKEND(a_request_that_drips_is_408_however_busy_it_looks) {
  server s(on, {"--http.head_timeout_ms", "300", "--http.body_timeout_ms", "300"});
  auto c = s.connect();
  c.send("GET / HTTP/1.1\r\nHost: x\r\n");
  // Each byte comes in time; the whole does not. Who goes on after the answer is listened to for
  // 30 s (http_options::linger), which this does not wait for.
  for (int i = 0; i < 40 && c.try_send("X: y\r\n"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(status_of(receive_answer(c)) == "408");
  s.expect_alive();
}

ON_EVERY_BACKEND(silence_is_closed_without_a_word) {
  server s(on, {"--http.idle_timeout_ms", "100"});
  CHECK(s.talk("").empty());
  auto c = s.connect();
  c.send(get("/plaintext"));
  CHECK(status_of(receive_answer(c)) == "200");
  CHECK(c.receive_all().empty());
  s.expect_alive();
}

ON_EVERY_BACKEND(clients_that_disappear_in_the_middle_do_no_harm) {
  folder f;
  server s(on, {"--root", f.path});
  for (int i = 0; i < 30; ++i) {
    auto c = s.connect();
    if (i % 3 == 0) c.send("GET /pla");
    if (i % 3 == 1) {
      c.send(get("/big.bin"));
      (void)c.receive(1000);
    }
    c.vanish();
  }
  s.expect_alive();
}

ON_EVERY_BACKEND(a_client_that_does_not_read_is_let_go) {
  folder f;
  server s(on, {"--root", f.path, "--http.write_timeout_ms", "300"});
  auto c = s.connect();
  std::string many;
  for (int i = 0; i < 20; ++i) many += get("/big.bin");  // more than any buffer takes
  c.send(many);
  s.expect_alive();
  // What was on its way still comes, and then it ends long before 160 MiB.
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  CHECK(c.receive_all().size() < (100u << 20));
  s.expect_alive();
}

ON_EVERY_BACKEND(one_connection_too_many_is_closed) {
  server s(on, {"--http.max_connections", "1"});
  auto first = s.connect();
  first.send(get("/plaintext"));
  CHECK(status_of(receive_answer(first)) == "200");
  CHECK(s.talk("").empty());
  first.send(get_and_close("/plaintext"));
  CHECK(status_of(first.receive_all()) == "200");
}

ON_EVERY_BACKEND(a_request_under_way_is_answered_after_the_first_signal) {
  server s(on, {"--http.drain_ms", "0"});
  auto c = s.connect();
  c.send("GET /plaintext HTTP/1.1\r\n");
  auto other = s.connect();
  other.send(get("/plaintext"));
  CHECK(status_of(receive_answer(other)) == "200");  // so the first one has been accepted too
  s.program.signal(SIGTERM);
  s.program.wait_error_line("weir: SIGTERM");
  c.send("Host: x\r\n\r\n");
  auto answer = c.receive_all();
  CHECK(status_of(answer) == "200");
  CHECK(answer.find("\r\nConnection: close\r\n") != std::string::npos);
  other.end_of_stream();
  CHECK(s.program.wait() == 0);
}

// The drain has no limit: only a server that does not wait for idle clients ends.
ON_EVERY_BACKEND(idle_clients_do_not_hold_up_the_end) {
  server s(on, {"--http.drain_ms", "0"});
  auto one = s.connect(), other = s.connect();
  for (auto* c : {&one, &other}) {
    c->send(get("/plaintext"));
    CHECK(status_of(receive_answer(*c)) == "200");
  }
  s.program.signal(SIGTERM);
  CHECK(one.receive_all().empty());
  CHECK(other.receive_all().empty());
  CHECK(s.program.wait() == 0);
}

TEST_CASE("a_root_that_is_no_folder_is_a_clear_error") {
  auto f = run({http_server(), "--http", "127.0.0.1:80", "--root", "/nowhere"});
  CHECK(f.code == 2);
  CHECK(f.err == "http_server: command line: root = '/nowhere': No such file or directory\n");
}

TEST_CASE("no_listener_prints_the_help") {
  auto f = run({http_server()});
  CHECK(f.code == 2);
  CHECK(f.err.find("--http ADDR:PORT") != std::string::npos);
}
