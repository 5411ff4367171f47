// Files, without holding the shard up: on io_uring the ring carries the calls out, as far as the
// kernel has operations for them; every other call, and on Asio each, runs on the pool of
// offload(); in a simulation on a simulated disk in virtual time.
//
//   auto log = co_await weir::open_file("app.log", {.write = true, .create = true});
//   co_await log.append("started\n");
//   co_await log.sync();
//
// Every operation throws io_error, with std::errc's own words for what the system says;
// .nothrow() gives a result<T> or an error_code; .timeout(d) bounds the wait for a thread, or for
// the kernel to begin. An operation that runs is waited for, as with offload(); its buffers and
// paths are in use until then. resource_unavailable_try_again: offload.queue is full.
// operation_not_supported: a shard without files.
#pragma once

#include <cassert>
#include <cerrno>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "weir/detail/file_system.hpp"
#include "weir/detail/offloading.hpp"
#include "weir/error.hpp"
#include "weir/shard.hpp"
#include "weir/stack/result.hpp"
#include "weir/stream.hpp"

namespace weir {

class file;
struct send_file_options;

namespace detail {

/// Of runtime/files/calls.cpp: null where the shard has none.
file_system* files_of(shard& here) noexcept;

/// One call. `Call` has `value`, `name` and std::error_code operator()(file_system&, value&). Where
/// a driver may carry it out, it also has
///   std::optional<file_call::any> as_file_call(file_system&); nothing: this one it may not,
///   std::error_code gave(file_system&, std::int32_t result, value&) where that has a value, and
///   bool follows(std::int32_t result, file_call::any&) where one call may not be all.
template <class Call>
class [[nodiscard]] file_awaiter : public offload_operation {
 public:
  using arguments = Call;
  using value = typename Call::value;

  file_awaiter(Call&& call, duration limit)
      : offload_operation(&file_awaiter::carry_out,
                          &hook<&offload_operation::request_cancel, &file_awaiter::tell>),
        call_(std::move(call)) {
    set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] {
      files_ = files_of(owner());
      if (files_ == nullptr)
        return complete(std::make_error_code(std::errc::operation_not_supported));
      if constexpr (requires { call_.at_once(owner(), value_); })
        if (call_.at_once(owner(), value_)) return complete();
      if constexpr (requires { call_.as_file_call(*files_); })
        if (auto what = call_.as_file_call(*files_)) {
          const file_call call{*what, &file_awaiter::came};
          return begin(*this, &call);
        }
      begin(*this);
    });
  }
  value await_resume() {
    if (auto error = ended()) throw io_error(error, Call::name);
    return std::move(value_);
  }

 protected:
  result<value> outcome() {
    if (auto error = ended()) return error;
    return std::move(value_);
  }

 private:
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept {
    told(node, out);
    out.operation = Call::name;
  }
  static void carry_out(offload_operation& op) noexcept {
    auto& self = static_cast<file_awaiter&>(op);
    self.note([&] { return self.call_(*self.files_, self.value_); });
  }
  static bool came(offload_operation& op, std::int32_t result, file_call& call) noexcept {
    auto& self = static_cast<file_awaiter&>(op);
    if (result == -EINTR) return true;
    if (result < 0) self.failed_ = {-result, std::generic_category()};
    if constexpr (requires { self.call_.gave(*self.files_, result, self.value_); })
      if (result >= 0)
        self.note([&] { return self.call_.gave(*self.files_, result, self.value_); });
    if constexpr (requires { self.call_.follows(result, call.what); }) {
      const bool more = self.call_.follows(result, call.what);
      if (more) self.failed_.clear();
      return more;
    }
    return false;
  }
  template <class Step>
  void note(Step step) noexcept {
    try {
      failed_ = step();
    } catch (const std::bad_alloc&) {
      failed_ = std::make_error_code(std::errc::not_enough_memory);
    }
  }
  std::error_code ended() {
    end(*this);
    const auto error = final_error();
    return error ? error : failed_;
  }

  Call call_;
  file_system* files_ = nullptr;
  value value_{};
  std::error_code failed_;
};

/// What a call without a result gives.
struct done {};

/// The call, where a driver may use that file.
template <class Call, class... Arguments>
std::optional<file_call::any> call_on(const file_handle& file, Arguments... arguments) {
  const int fd = file.callable();
  if (fd < 0) return {};
  return Call{fd, arguments...};
}
/// Some bytes were written: whether the rest is to be.
inline bool goes_on(std::int32_t result, std::span<const std::byte>& bytes) noexcept {
  if (result <= 0) return false;
  bytes = bytes.subspan(static_cast<std::size_t>(result));
  return !bytes.empty();
}

struct read_file_call {
  using value = std::size_t;
  static constexpr const char* name = "read_at";
  file_handle* file;
  std::span<std::byte> into;
  std::uint64_t offset;
  std::error_code operator()(file_system&, value& n) { return file->read_at(into, offset, n); }
  /// What lies in memory costs less to copy than to hand over.
  bool at_once(shard& here, value& n) {
    if (!file->read_now(into, offset, n)) return false;
    here.spend_budget_on(n);
    return true;
  }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return call_on<file_call::read>(*file, into, offset);
  }
  static std::error_code gave(file_system&, std::int32_t result, value& n) noexcept {
    n = static_cast<std::size_t>(result);
    return {};
  }
};
struct write_file_call {
  using value = std::size_t;
  static constexpr const char* name = "write_at";
  file_handle* file;
  std::span<const std::byte> bytes;
  std::uint64_t offset;
  std::error_code operator()(file_system&, value& n) { return file->write_at(bytes, offset, n); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return call_on<file_call::write>(*file, bytes, offset);
  }
  static std::error_code gave(file_system&, std::int32_t result, value& n) noexcept {
    n += static_cast<std::size_t>(result);
    return {};
  }
  static bool follows(std::int32_t result, file_call::any& call) noexcept {
    auto& rest = std::get<file_call::write>(call);
    if (!goes_on(result, rest.bytes)) return false;
    rest.offset += static_cast<std::uint64_t>(result);
    return true;
  }
};
struct append_file_call {
  using value = std::size_t;
  static constexpr const char* name = "append";
  file_handle* file;
  std::span<const std::byte> bytes;
  std::error_code operator()(file_system&, value& n) { return file->append(bytes, n); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return call_on<file_call::append>(*file, bytes);
  }
  static std::error_code gave(file_system&, std::int32_t result, value& n) noexcept {
    n += static_cast<std::size_t>(result);
    return {};
  }
  static bool follows(std::int32_t result, file_call::any& call) noexcept {
    return goes_on(result, std::get<file_call::append>(call).bytes);
  }
};
struct sync_file_call {
  using value = done;
  static constexpr const char* name = "sync";
  file_handle* file;
  std::error_code operator()(file_system&, value&) { return file->sync(); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return call_on<file_call::sync>(*file);
  }
};
struct resize_file_call {
  using value = done;
  static constexpr const char* name = "resize";
  file_handle* file;
  std::uint64_t size;
  std::error_code operator()(file_system&, value&) { return file->resize(size); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return call_on<file_call::resize>(*file, size);
  }
};
struct status_of_file_call {
  using value = file_status;
  static constexpr const char* name = "status";
  file_handle* file;
  status_memory said{};
  std::error_code operator()(file_system&, value& out) { return file->status(out); }
  std::optional<file_call::any> as_file_call(file_system&) {
    return call_on<file_call::status>(*file, &said);
  }
  std::error_code gave(file_system&, std::int32_t, value& out) const noexcept {
    out = status_from(said);
    return {};
  }
};
struct open_file_call;
struct status_call {
  using value = file_status;
  static constexpr const char* name = "status_of";
  std::string path;
  status_memory said{};
  std::error_code operator()(file_system& of, value& out) { return of.status(path, out); }
  std::optional<file_call::any> as_file_call(file_system&) {
    return file_call::status_of{path.c_str(), &said};
  }
  std::error_code gave(file_system&, std::int32_t, value& out) const noexcept {
    out = status_from(said);
    return {};
  }
};
struct rename_call {
  using value = done;
  static constexpr const char* name = "rename_file";
  std::string from, to;
  std::error_code operator()(file_system& of, value&) { return of.rename(from, to); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return file_call::rename{from.c_str(), to.c_str()};
  }
};
struct remove_call {
  using value = done;
  static constexpr const char* name = "remove_file";
  std::string path;
  std::error_code operator()(file_system& of, value&) { return of.remove(path); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return file_call::remove{path.c_str(), false};
  }
  static bool follows(std::int32_t result, file_call::any& call) noexcept {
    auto& removal = std::get<file_call::remove>(call);
    return result == -EISDIR && !std::exchange(removal.directory, true);
  }
};
struct make_directory_call {
  using value = done;
  static constexpr const char* name = "make_directory";
  std::string path;
  std::error_code operator()(file_system& of, value&) { return of.make_directory(path); }
  std::optional<file_call::any> as_file_call(file_system&) const {
    return file_call::make_directory{path.c_str(), mode_of_directories};
  }
};
struct list_call {
  using value = std::vector<directory_entry>;
  static constexpr const char* name = "list_directory";
  std::string path;
  std::size_t most;
  std::error_code operator()(file_system& of, value& out) { return of.list(path, most, out); }
};

}  // namespace detail

/// An open file. Move-only; closes when it goes (no operation may be pending then, as everywhere).
/// Operations may overlap. May be opened on one shard and used on another.
class file {
 public:
  file() = default;
  explicit file(std::shared_ptr<detail::file_handle> handle) : handle_(std::move(handle)) {}
  file(file&&) noexcept = default;
  file& operator=(file&&) noexcept = default;

  explicit operator bool() const { return handle_ != nullptr; }

  /// Some bytes from there on, as many as the system gives at once. 0 at the end. What the system
  /// has in memory comes without the pool.
  detail::request<detail::file_awaiter<detail::read_file_call>> read_at(std::span<std::byte> into,
                                                                        std::uint64_t offset) {
    return detail::request<detail::file_awaiter<detail::read_file_call>>({&here(), into, offset});
  }
  /// Writes all, growing the file where needed; gives how much that was.
  detail::request<detail::file_awaiter<detail::write_file_call>> write_at(
      std::span<const std::byte> bytes, std::uint64_t offset) {
    return detail::request<detail::file_awaiter<detail::write_file_call>>({&here(), bytes, offset});
  }
  detail::request<detail::file_awaiter<detail::write_file_call>> write_at(std::string_view text,
                                                                          std::uint64_t offset) {
    return write_at(std::as_bytes(std::span(text)), offset);
  }
  /// Writes all at the end, wherever that is by then.
  detail::request<detail::file_awaiter<detail::append_file_call>> append(
      std::span<const std::byte> bytes) {
    return detail::request<detail::file_awaiter<detail::append_file_call>>({&here(), bytes});
  }
  detail::request<detail::file_awaiter<detail::append_file_call>> append(std::string_view text) {
    return append(std::as_bytes(std::span(text)));
  }
  /// Returns when what was written would survive a loss of power.
  detail::request<detail::file_awaiter<detail::sync_file_call>> sync() {
    return detail::request<detail::file_awaiter<detail::sync_file_call>>({&here()});
  }
  /// Cuts it short, or fills it up with zeros.
  detail::request<detail::file_awaiter<detail::resize_file_call>> resize(std::uint64_t size) {
    return detail::request<detail::file_awaiter<detail::resize_file_call>>({&here(), size});
  }
  detail::request<detail::file_awaiter<detail::status_of_file_call>> status() {
    return detail::request<detail::file_awaiter<detail::status_of_file_call>>({&here()});
  }
  void close() { handle_.reset(); }
  /// Throws operation_not_supported (in a simulation).
  int native_handle() const;

 private:
  friend task<std::uint64_t> send_file(any_stream& to, file& from, std::uint64_t offset,
                                       std::uint64_t length, send_file_options how);

  detail::file_handle& here() const {
    assert(handle_ != nullptr && "the file was moved from or closed");
    return *handle_;
  }
  std::shared_ptr<detail::file_handle> handle_;
};

namespace detail {
struct open_file_call {
  using value = file;
  static constexpr const char* name = "open_file";
  std::string path;
  open_options how;
  std::error_code operator()(file_system& of, value& out) {
    std::shared_ptr<file_handle> handle;
    const auto error = of.open(path, how, handle);
    out = file(std::move(handle));
    return error;
  }
  std::optional<file_call::any> as_file_call(file_system& of) const {
    const auto flags = of.open_flags(how);
    if (!flags) return {};
    return file_call::open{path.c_str(), *flags, how.mode};
  }
  static std::error_code gave(file_system& of, std::int32_t result, value& out) {
    std::shared_ptr<file_handle> handle;
    const auto error = of.opened(result, handle);
    out = file(std::move(handle));
    return error;
  }
};
}  // namespace detail

inline detail::request<detail::file_awaiter<detail::open_file_call>> open_file(
    std::string_view path, const open_options& how = {}) {
  return detail::request<detail::file_awaiter<detail::open_file_call>>({std::string(path), how});
}
/// Of what a symbolic link points at.
inline detail::request<detail::file_awaiter<detail::status_call>> status_of(std::string_view path) {
  return detail::request<detail::file_awaiter<detail::status_call>>({std::string(path)});
}
/// Replaces `to`, at once: whoever opens it gets the one or the other.
inline detail::request<detail::file_awaiter<detail::rename_call>> rename_file(std::string_view from,
                                                                              std::string_view to) {
  return detail::request<detail::file_awaiter<detail::rename_call>>(
      {std::string(from), std::string(to)});
}
/// A file, or a directory that is empty.
inline detail::request<detail::file_awaiter<detail::remove_call>> remove_file(
    std::string_view path) {
  return detail::request<detail::file_awaiter<detail::remove_call>>({std::string(path)});
}
inline detail::request<detail::file_awaiter<detail::make_directory_call>> make_directory(
    std::string_view path) {
  return detail::request<detail::file_awaiter<detail::make_directory_call>>({std::string(path)});
}
/// Its entries by name, without "." and "..". error::limit_exceeded where there are more than
/// `most`.
inline detail::request<detail::file_awaiter<detail::list_call>> list_directory(
    std::string_view path, std::size_t most = 10'000) {
  return detail::request<detail::file_awaiter<detail::list_call>>({std::string(path), most});
}

struct send_file_options {
  duration write_timeout = no_limit;  ///< for a piece of 64 KiB: so long the peer may not read
  std::uint64_t* sent = nullptr;      ///< grows by what the stream has taken, also when it fails
};

/// Sends `length` bytes of the file, from `offset` on, to a stream, as fast as the slower of the
/// two; fewer where the file ends before. Gives how many. What lies in memory goes to TCP and Unix
/// sockets of the kernel without a copy, up to 256 KiB at once (sendfile(2); from 64 KiB on, and
/// where SIGPIPE would not end the program, as in run()); the rest, and to every other stream all,
/// is read into a buffer of up to 64 KiB and written. It waits in turn where offload.queue is full.
/// Other writes to the stream may come between its pieces. Throws what reading and writing do. To
/// cancel it ends it at a piece: what the stream has taken, it has.
task<std::uint64_t> send_file(any_stream& to, file& from, std::uint64_t offset,
                              std::uint64_t length, send_file_options how = {});

namespace detail {

bool sends_files(const any_stream& to) noexcept;
/// The same from an open file that is nobody's weir::file.
task<std::uint64_t> send_file(any_stream& to, file_handle& from, std::uint64_t offset,
                              std::uint64_t length, send_file_options how);
/// As file::read_at(), but waits in turn where offload.queue is full.
task<std::size_t> read_piece(file_handle& from, std::span<std::byte> into, std::uint64_t offset);

}  // namespace detail
}  // namespace weir
