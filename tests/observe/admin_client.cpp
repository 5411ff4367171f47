// See admin_client.hpp.
#include "observe/admin_client.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "weir/stack/address.hpp"

namespace observe_test {

using namespace programs;

std::string lazy_server() { return WEIR_LAZY_SERVER; }
std::string weir_ss() { return WEIR_SS; }

namespace {

std::vector<std::string> with_endpoint(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--observe.listen", "127.0.0.1:0"});
  return arguments;
}

/// "weir: observing on http://127.0.0.1:4711/ (/metrics, /sockets)"
place place_in(const std::string& line) {
  const auto from = line.find("http://") + 7;
  const auto where = weir::endpoint::parse(line.substr(from, line.find('/', from) - from));
  INFO(line);
  REQUIRE(where.has_value());
  return {where->address.to_string(), where->port};
}

}  // namespace

reply parse_reply(const std::string& bytes) {
  reply out;
  const auto end = bytes.find("\r\n\r\n");
  INFO(bytes.substr(0, 500));
  REQUIRE(bytes.starts_with("HTTP/1.1 "));
  REQUIRE(end != std::string::npos);
  out.status = std::stoi(bytes.substr(9, 3));
  out.head = bytes.substr(0, end + 2);
  out.body = bytes.substr(end + 4);
  return out;
}

observed::observed(const backend& on, const std::string& name, std::vector<std::string> arguments,
                   const start_options& options)
    : program(command_line(name, on, with_endpoint(std::move(arguments))), options),
      endpoint(place_in(program.wait_error_line("weir: observing on "))),
      where(place_of(program.wait_line("listening "))),
      address(endpoint.address + ":" + std::to_string(endpoint.port)) {}

std::string observed::raw(std::string_view bytes) {
  client c(endpoint.address, endpoint.port);
  c.try_send(bytes);
  return c.receive_all();
}

reply observed::get(const std::string& target) {
  return parse_reply(
      raw("GET " + target + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: close\r\n\r\n"));
}

json observed::sockets(const std::string& target) {
  auto got = get(target);
  REQUIRE(got.status == 200);
  return json::parse(got.body);
}

std::string observed::metrics() {
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  auto got = get("/metrics");
  REQUIRE(got.status == 200);
  return got.body;
}

finished observed::ss(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), weir_ss());
  arguments.push_back(address);
  return run(std::move(arguments));
}

double value_of(const std::string& metrics, const std::string& series) {
  const auto at = ("\n" + metrics).find("\n" + series + " ");
  INFO("no ", series, " in\n", metrics);
  REQUIRE(at != std::string::npos);
  return std::stod(metrics.substr(at + series.size() + 1));
}

bool has_series(const std::string& metrics, std::string_view beginning) {
  return ("\n" + metrics).find("\n" + std::string(beginning)) != std::string::npos;
}

}  // namespace observe_test
