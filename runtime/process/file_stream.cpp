// Two coroutines, one that reads and one that writes, each asleep until an operation waits.
#include "runtime/process/file_stream.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "stack/base/parts.hpp"
#include "weir/offload.hpp"

namespace weir::detail {

namespace {
/// Of a call to the kernel, made again where a signal interrupted it.
template <class Call>
ssize_t result_of(Call&& call, int& error) {
  ssize_t n = -1;
  do n = call();
  while (n < 0 && errno == EINTR);
  error = n < 0 ? errno : 0;
  return n;
}
}  // namespace

any_stream file_stream::make(shard& here, unique_fd fd) {
  auto* made = new file_stream(std::move(fd));
  made->set_owner(here);
  made->socket_.at = made;
  made->launch(made->read_on());
  made->launch(made->write_on());
  return any_stream(made->socket_);
}

void file_stream::launch(task<> pump) {
  ++pumps_;
  owner().start(std::move(pump), [this](std::exception_ptr) {
    --pumps_;
    go_if_over();
  });
}

void file_stream::go_if_over() noexcept {
  if (pumps_ == 0 && lending_.lent() == 0) delete this;
}

void file_stream::give_up(socket_base&, bool) noexcept {
  lending_.forget(socket_);
  given_up_ = true;
  in_.ring(owner());
  out_.ring(owner());
}

// --- Reading.

void file_stream::bring_in(socket_base&) {
  if (reading_ || socket_.waits_for_buffer) return;
  reading_ = true;
  in_.ring(owner());
}

task<> file_stream::read_on() {
  for (;;) {
    co_await in_;
    if (given_up_) break;
    auto& op = *socket_.reader;
    const auto room = op.lend ? lending_.take(socket_) : op.into().subspan(op.filled);
    if (room.empty()) {  // no buffer is left to lend
      reading_ = false;
      continue;
    }
    ssize_t n = -1;
    int error = ECANCELED;
    auto read = [&] {
      n = result_of([&] { return ::read(fd_.get(), room.data(), room.size()); }, error);
    };
    const auto refused = co_await offload(read).nothrow();
    reading_ = false;
    if (op.lend && n > 0)
      op.lent = {room.data(), static_cast<std::uint32_t>(n), 0, room.data()};
    else if (op.lend)
      lending_.give_back(room.data());
    if (n > 0) op.filled += static_cast<std::size_t>(n);
    if (refused)
      std::exchange(socket_.reader, nullptr)->complete(refused);  // the file is as it was
    else if (n > 0)
      bytes_came(socket_);
    else
      receiving_over(socket_, error == 0 ? std::error_code()
                                         : std::error_code(error, std::generic_category()));
  }
}

void file_stream::release(lent_bytes& lent) noexcept {
  lending_.give_back(lent.chunk);
  if (lending_.next_waiting() != nullptr) bytes_came(socket_);
  go_if_over();
}

// --- Writing.

void file_stream::take_out(socket_base&) {
  if (writing_) return;
  writing_ = true;
  out_.ring(owner());
}

task<> file_stream::write_on() {
  constexpr std::size_t parts_per_call = 64;
  stack::part_room<parts_per_call> parts;
  std::array<iovec, parts_per_call> vectors;
  for (;;) {
    co_await out_;
    if (given_up_) break;
    const auto some = gather(socket_, parts.from(0));
    for (std::size_t i = 0; i < some.parts; ++i)
      vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    ssize_t n = 0;
    int error = 0;
    auto write = [&] {
      const auto parts_of = static_cast<int>(some.parts);
      n = result_of([&] { return ::writev(fd_.get(), vectors.data(), parts_of); }, error);
    };
    const auto refused = co_await offload(write).nothrow();
    writing_ = false;
    if (refused)
      socket_.writers.pop_front()->complete(refused);
    else if (error != 0)
      sending_failed(socket_, {error, std::generic_category()});
    else
      sent(socket_, static_cast<std::size_t>(n));
    writes_released(socket_);
  }
}

}  // namespace weir::detail
