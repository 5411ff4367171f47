// Published ports: what is listened on, and slirp4netns's API socket, by which they come and go.
#include <string_view>
#include <utility>

#include "runtime/tools/gate/gateway.hpp"
#include "weir/unix.hpp"

namespace weir::gate {
namespace {

constexpr std::size_t most_ports = 1024;
constexpr std::size_t most_api_callers = 8;
constexpr duration api_patience = std::chrono::seconds(10);

}  // namespace

/// Throws io_error.
std::uint64_t gateway::open_port(const published& how) {
  if (ports_.size() >= most_ports)
    throw io_error(make_error_code(error::limit_exceeded), "published ports");
  auto made = std::make_unique<open_one>(here_, how);
  if (how.udp)
    made->tasks.spawn(publish_udp(here_.bind_udp(how.outside, {.allow_wildcard = true}), how));
  else
    made->tasks.spawn(publish_tcp(here_.listen(how.outside, {.allow_wildcard = true}), how));
  ports_.emplace(++last_port_, std::move(made));
  return last_port_;
}

result<std::uint64_t> gateway::add(const published& how) {
  try {
    return open_port(how);
  } catch (const io_error& error) {
    return error.code();
  }
}

bool gateway::remove(std::uint64_t id) {
  const auto found = ports_.find(id);
  if (found == ports_.end()) return false;
  found->second->tasks.cancel();
  ending_.push_back(std::move(found->second));
  ports_.erase(found);
  return true;
}

std::vector<published_ports::entry> gateway::list() const {
  std::vector<entry> out;
  for (const auto& [id, one] : ports_) out.push_back({id, one->how});
  return out;
}

/// Until those that were taken back are free.
task<> gateway::join_ending_ports() {
  while (!ending_.empty()) {
    const auto one = std::move(ending_.back());
    ending_.pop_back();
    co_await one->tasks.join();
  }
}

task<> gateway::close_ports() {
  while (!ports_.empty()) remove(ports_.begin()->first);
  co_await join_ending_ports();
}

task<> gateway::serve_api(unix_listener listener) {
  scope callers(here_, {.max = most_api_callers});
  for (;;) {
    auto caller = co_await listener.accept().nothrow();
    if (!caller || !*caller) break;
    callers.spawn(answer_api(std::move(**caller)));  // one too many is hung up on
  }
  callers.cancel();
  co_await callers.join();
}

// The end of the request is the end of the caller's stream, or of the object.
task<> gateway::answer_api(unix_stream caller) {
  std::string request(longest_api_request, '\0');
  std::size_t size = 0;
  while (size < request.size()) {
    const auto room = std::as_writable_bytes(std::span(request)).subspan(size);
    auto got = co_await caller.read_some(room).timeout(api_patience).nothrow();
    if (got.ec) co_return;
    if (got.n == 0) break;
    size += got.n;
    if (is_whole_api_request(std::string_view(request).substr(0, size))) break;
  }
  const auto answer = answer_api_request(std::string_view(request).substr(0, size), *this);
  co_await join_ending_ports();
  const auto bytes = std::as_bytes(std::span(answer));
  (void)co_await caller.write_all(bytes).timeout(api_patience).nothrow();
}

}  // namespace weir::gate
