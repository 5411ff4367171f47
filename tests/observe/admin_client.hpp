// What the tests of the admin endpoint share: a program that is observed, and requests to its
// endpoint as they stand on the wire.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <doctest/doctest.h>

#include "programs/harness.hpp"

namespace observe_test {

using nlohmann::json;

std::string lazy_server();
std::string weir_ss();

struct reply {
  int status = 0;
  std::string head, body;
};
/// Of one answer after which the connection ends.
reply parse_reply(const std::string& bytes);

/// A program with --observe.listen 127.0.0.1:0, ready to be asked.
class observed {
 public:
  observed(const programs::backend& on, const std::string& program,
           std::vector<std::string> arguments, const programs::start_options& options = {});

  /// Sends these bytes on a connection of its own and reads to the end.
  std::string raw(std::string_view bytes);
  /// GET with Connection: close; "Host: " is the endpoint's own.
  reply get(const std::string& target);
  json sockets(const std::string& target = "/sockets");
  /// Of now: what was written for somebody else is given again for 50 ms.
  std::string metrics();
  /// Asks until `found` says so of /sockets, which it returns; fails the test after a long time.
  template <class Found>
  json wait_for(Found found) {
    const auto until = std::chrono::steady_clock::now() + programs::patience;
    for (;;) {
      auto got = sockets();
      if (found(got)) return got;
      INFO(got.dump(1));
      REQUIRE_MESSAGE(std::chrono::steady_clock::now() < until, "never came to be");
    }
  }
  /// weir-ss at this endpoint.
  programs::finished ss(std::vector<std::string> arguments);

  programs::process program;
  programs::place endpoint;  ///< of the endpoint
  programs::place where;     ///< of the program's first listener
  std::string address;       ///< of the endpoint, ADDR:PORT
};

/// The value of a series in an exposition; fails the test where it is missing.
double value_of(const std::string& metrics, const std::string& series);
bool has_series(const std::string& metrics, std::string_view beginning);

}  // namespace observe_test
