// Both sides of a handover. One message with all descriptors: a first line, their names in their
// order, an empty line. Back comes "serving\n", and the end of the stream is the last word.
#include "weir/handover.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "runtime/backend/adopts_sockets.hpp"
#include "runtime/backend/local_transport.hpp"
#include "weir/reader.hpp"
#include "weir/timing.hpp"

namespace weir {
namespace {

constexpr std::string_view first_line = "weir handover 1\n";
constexpr std::string_view serving_line = "serving\n";
constexpr duration settling = std::chrono::seconds(15);  // of handshakes that had begun
constexpr duration between_looks = std::chrono::milliseconds(1);
constexpr duration patience = std::chrono::seconds(60);  // with a peer that says nothing

[[noreturn]] void fail(std::error_code why) { throw io_error(why, "handover"); }

}  // namespace

// --- The new program.

task<std::optional<inheritance>> take_over(unix_endpoint where) {
  auto asked = co_await connect(where).timeout(patience).nothrow();
  if (!asked) {
    const auto why = asked.error();
    if (why == std::errc::no_such_file_or_directory || why == std::errc::connection_refused)
      co_return std::nullopt;
    fail(why);
  }
  asked->expect_descriptors(handover::most_listeners);
  inheritance out(std::move(*asked));
  std::array<std::byte, 8192> storage;
  buffered_reader lines(out.from_, storage);
  auto line = co_await lines.read_until("\n").timeout(patience);
  if (as_text(line) != first_line) fail(std::make_error_code(std::errc::protocol_error));
  std::vector<std::string> names;
  for (;;) {
    line = co_await lines.read_until("\n").timeout(patience);
    if (line.size() == 1) break;
    names.emplace_back(as_text(line.first(line.size() - 1)));
  }
  auto came = out.from_.take_descriptors();
  if (came.size() != names.size()) fail(std::make_error_code(std::errc::protocol_error));
  for (std::size_t i = 0; i < came.size(); ++i)
    out.all_.push_back({std::move(names[i]), std::move(came[i])});
  co_return std::optional<inheritance>(std::move(out));
}

unique_fd inheritance::take(std::string_view name) {
  const auto found = std::ranges::find(all_, name, &one::name);
  if (found == all_.end()) return {};
  auto fd = std::move(found->fd);
  all_.erase(found);
  return fd;
}

task<> inheritance::serving() {
  co_await from_.write_all(serving_line).timeout(patience);
  std::array<std::byte, 1> end;
  (void)co_await from_.read_some(end).timeout(patience);
}

// --- The old program.

handover::handover(shard& here, const unix_endpoint& where)
    : listener_(here.listen(where, {.sharing = sharing::exclusive, .mode = {}})) {}

void handover::add(std::string name, tcp_listener& listener) {
  const bool by_itself = listener.successor_listens();
  add({std::move(name), by_itself ? -1 : listener.native_handle(), &listener, nullptr});
}
void handover::add(std::string name, unix_listener& listener) {
  add({std::move(name), listener.native_handle(), nullptr, &listener});
}
void handover::add(one what) {
  const bool wrong = what.name.empty() || what.name.find_first_of(" \n") != std::string::npos ||
                     std::ranges::find(all_, what.name, &one::name) != all_.end();
  if (wrong || all_.size() == most_listeners)
    fail(std::make_error_code(std::errc::invalid_argument));
  all_.push_back(std::move(what));
}

task<> handover::done() {
  for (;;) {
    auto successor = co_await listener_.accept();
    if (!successor) fail(canceled_error());  // stopping
    const auto who = successor->peer_credentials().uid;
    if (who != ::geteuid() && who != 0) continue;  // (root could take them anyway)
    bool served = false;
    try {
      served = co_await give_to(std::move(*successor));
    } catch (const io_error& error) {
      if (error.code() == std::errc::operation_canceled) throw;
    }
    if (served) co_return;
  }
}

/// True once the successor serves.
task<bool> handover::give_to(unix_stream successor) {
  std::string message(first_line);
  std::vector<int> descriptors;
  for (const auto& each : all_) {
    if (each.descriptor < 0) continue;  // the successor listens there itself
    message += each.name + "\n";
    descriptors.push_back(each.descriptor);
  }
  message += "\n";
  const auto bytes = std::as_bytes(std::span(message));
  if (descriptors.empty())
    co_await successor.write_all(bytes).timeout(patience);
  else
    co_await successor.write_with(bytes, descriptors).timeout(patience);
  std::array<std::byte, serving_line.size()> answer;
  co_await successor.read_exactly(answer).timeout(patience).until_stop();
  if (as_text(answer) != serving_line) co_return false;
  // What was taken in advance is served here; the rest waits for the successor.
  for (auto& each : all_) {
    if (each.local != nullptr) each.local->keep_path();
    if (each.tcp == nullptr) continue;
    for (auto looks = settling / between_looks; !each.tcp->leave_to_others() && looks > 0; --looks)
      co_await sleep_for(between_looks);
  }
  listener_.close();  // its name is the successor's now
  co_return true;
}

}  // namespace weir
