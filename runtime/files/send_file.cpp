// A file's way to a stream: from memory without a copy where the stream can, else read and written.
// Bytes never pass each other: what goes without a copy goes only while no write waits.
#include <algorithm>
#include <chrono>
#include <memory>

#include "runtime/core/sockets/inside.hpp"
#include "weir/file.hpp"
#include "weir/timing.hpp"

namespace weir {
namespace {

constexpr std::size_t piece = 64 * 1024;  // less is not worth two ways
// Where the rest needs no copy, so much is written to wait for room.
constexpr std::size_t small_piece = piece / 4;

/// home::send_from_file(), as an operation: it heeds cancellation, and when the turn has carried
/// enough, others run first.
class from_memory : public detail::operation {
 public:
  from_memory(any_stream& to, const detail::file_range& range)
      : operation(&hook<&from_memory::never_waits>),
        socket_(&detail::inside::of(to)),
        range_(range) {}

  bool await_ready() const noexcept { return false; }
  template <detail::weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] {
      sent_ = socket_->at->send_from_file(*socket_, range_);
      complete();
    });
  }
  std::size_t await_resume() const {
    if (auto error = final_error()) throw io_error(error, "send_file");
    return sent_;
  }

 private:
  static void never_waits(operation&) noexcept {}

  detail::socket_base* socket_;
  detail::file_range range_;
  std::size_t sent_ = 0;
};

}  // namespace

bool detail::sends_files(const any_stream& to) noexcept {
  const auto& socket = inside::of(to);
  return socket.at->sends_files(socket);
}

task<std::size_t> detail::read_piece(file_handle& from, std::span<std::byte> into,
                                     std::uint64_t offset) {
  using read = request<file_awaiter<read_file_call>>;
  auto got = co_await read({&from, into, offset}).nothrow();
  while (!got && got.error() == std::errc::resource_unavailable_try_again) {
    co_await sleep_for(std::chrono::milliseconds(5));  // many files at once: in turn
    got = co_await read({&from, into, offset}).nothrow();
  }
  if (!got) throw io_error(got.error(), "send_file");
  co_return *got;
}

task<std::uint64_t> detail::send_file(any_stream& to, file_handle& from, std::uint64_t offset,
                                      std::uint64_t length, send_file_options how) {
  std::uint64_t own_count = 0;
  auto& count = how.sent != nullptr ? *how.sent : own_count;
  const auto before = count;
  const int fd = length > piece && sends_files(to) ? from.callable() : -1;
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(fd < 0 ? piece : small_piece, length));
  std::unique_ptr<std::byte[]> memory;
  for (std::uint64_t sent = 0; sent < length; sent = count - before) {
    const auto left = length - sent;
    if (fd >= 0 && left > size) {
      const auto n = co_await from_memory(to, {fd, offset + sent, left});
      count += n;
      if (n != 0) {
        co_await yield();  // whoever wants little does not wait for all that a turn may carry
        continue;
      }
      // Nothing went: what is written now is waited for, and then there is room again.
    }
    if (memory == nullptr) memory = std::make_unique_for_overwrite<std::byte[]>(size);
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(size, left));
    const auto n = co_await read_piece(from, {memory.get(), want}, offset + sent);
    if (n == 0) break;
    const std::span<const std::byte> bytes(memory.get(), n);
    const auto put = co_await to.write_all(bytes).timeout(how.write_timeout).nothrow();
    count += put.n;
    if (put.ec) throw io_error(put.ec, "send_file");
  }
  co_return count - before;
}

task<std::uint64_t> send_file(any_stream& to, file& from, std::uint64_t offset,
                              std::uint64_t length, send_file_options how) {
  return detail::send_file(to, from.here(), offset, length, how);
}

}  // namespace weir
