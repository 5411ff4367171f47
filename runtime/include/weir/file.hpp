// Files, without holding the shard up: on io_uring the ring reads, writes and syncs; every other
// call, and on Asio each, runs on the pool of offload(); in a simulation on a simulated disk in
// virtual time.
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

namespace detail {

/// Of runtime/files/calls.cpp: null where the shard has none.
file_system* files_of(shard& here) noexcept;

/// One call. `Call` has `value`, `name` and std::error_code operator()(file_system&, value&).
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
      if constexpr (requires { call_.as_file_call(); }) {
        auto call = call_.as_file_call();
        call.came = &file_awaiter::came;
        begin(*this, &call);
      } else {
        begin(*this);
      }
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
    try {
      self.failed_ = self.call_(*self.files_, self.value_);
    } catch (const std::bad_alloc&) {
      self.failed_ = std::make_error_code(std::errc::not_enough_memory);
    }
  }
  static bool came(offload_operation& op, std::int32_t result, file_call& call) noexcept {
    auto& self = static_cast<file_awaiter&>(op);
    if (result >= 0) return self.call_.came(result, self.value_, call);
    if (result == -EINTR) return true;
    self.failed_ = {-result, std::generic_category()};
    return false;
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

/// Some bytes were written; true: the rest is to be.
inline bool go_on(std::int32_t result, std::size_t& n, file_call& call) noexcept {
  const auto put = static_cast<std::size_t>(result);
  n += put;
  call.bytes += put;
  call.size -= put;
  call.offset += put;
  return call.size != 0 && put != 0;
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
  file_call as_file_call() const {
    return {file_call::kind::read, file->callable(), into.data(), into.size(), offset};
  }
  static bool came(std::int32_t result, value& n, file_call&) noexcept {
    n = static_cast<std::size_t>(result);
    return false;
  }
};
struct write_file_call {
  using value = std::size_t;
  static constexpr const char* name = "write_at";
  file_handle* file;
  std::span<const std::byte> bytes;
  std::uint64_t offset;
  std::error_code operator()(file_system&, value& n) { return file->write_at(bytes, offset, n); }
  file_call as_file_call() const {
    return {file_call::kind::write, file->callable(), const_cast<std::byte*>(bytes.data()),
            bytes.size(), offset};
  }
  static bool came(std::int32_t result, value& n, file_call& call) noexcept {
    return go_on(result, n, call);
  }
};
struct append_file_call {
  using value = std::size_t;
  static constexpr const char* name = "append";
  file_handle* file;
  std::span<const std::byte> bytes;
  std::error_code operator()(file_system&, value& n) { return file->append(bytes, n); }
  file_call as_file_call() const {
    return {file_call::kind::append, file->callable(), const_cast<std::byte*>(bytes.data()),
            bytes.size()};
  }
  static bool came(std::int32_t result, value& n, file_call& call) noexcept {
    return go_on(result, n, call);
  }
};
struct sync_file_call {
  using value = done;
  static constexpr const char* name = "sync";
  file_handle* file;
  std::error_code operator()(file_system&, value&) { return file->sync(); }
  file_call as_file_call() const { return {file_call::kind::sync, file->callable()}; }
  static bool came(std::int32_t, value&, file_call&) noexcept { return false; }
};
struct resize_file_call {
  using value = done;
  static constexpr const char* name = "resize";
  file_handle* file;
  std::uint64_t size;
  std::error_code operator()(file_system&, value&) { return file->resize(size); }
};
struct status_of_file_call {
  using value = file_status;
  static constexpr const char* name = "status";
  file_handle* file;
  std::error_code operator()(file_system&, value& out) { return file->status(out); }
};
struct open_file_call;
struct status_call {
  using value = file_status;
  static constexpr const char* name = "status_of";
  std::string path;
  std::error_code operator()(file_system& of, value& out) { return of.status(path, out); }
};
struct rename_call {
  using value = done;
  static constexpr const char* name = "rename_file";
  std::string from, to;
  std::error_code operator()(file_system& of, value&) { return of.rename(from, to); }
};
struct remove_call {
  using value = done;
  static constexpr const char* name = "remove_file";
  std::string path;
  std::error_code operator()(file_system& of, value&) { return of.remove(path); }
};
struct make_directory_call {
  using value = done;
  static constexpr const char* name = "make_directory";
  std::string path;
  std::error_code operator()(file_system& of, value&) { return of.make_directory(path); }
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

/// Writes `length` bytes of the file, from `offset` on, to a stream, as fast as the slower of the
/// two; fewer where the file ends before. Gives how many. Holds a buffer of 64 KiB meanwhile.
task<std::uint64_t> send_file(any_stream& to, file& from, std::uint64_t offset,
                              std::uint64_t length);

}  // namespace weir
