// buffered_reader: reading by lines and lengths, which every text protocol needs. Its buffer is the
// caller's and is the bound: what does not fit is error::limit_exceeded, and nothing is lost. No
// allocation but one small coroutine frame, from the shard's pool, where bytes have to be waited
// for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "weir/stack/result.hpp"
#include "weir/stream.hpp"
#include "weir/task.hpp"

namespace weir {

class buffered_reader;

namespace detail {

enum class read_as { bytes, line };

/// read_until(), read_exactly() and read_line() of a buffered_reader. Takes .timeout(d), of the
/// whole, .nothrow() and .until_stop().
template <bool Throws, read_as As = read_as::bytes>
class [[nodiscard]] buffered_read {
 public:
  using bytes = std::span<const std::byte>;
  using line = std::optional<std::string_view>;

  buffered_read(buffered_reader& reader, std::string_view delimiter, std::size_t length,
                duration limit, bool heeds_stop)
      : reader_(&reader),
        delimiter_(delimiter),
        length_(length),
        limit_(limit),
        heeds_stop_(heeds_stop) {}

  buffered_read timeout(duration d) && {
    return {*reader_, delimiter_, length_, std::max(d, duration(0)), heeds_stop_};
  }
  buffered_read<false, As> nothrow() && {
    return {*reader_, delimiter_, length_, limit_, heeds_stop_};
  }
  buffered_read until_stop() && { return {*reader_, delimiter_, length_, limit_, true}; }

  bool await_ready() noexcept;
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    fill_ = start().release();
    fill_.promise().inherit(parent.promise());
    return run_child(fill_, parent);
  }
  /// In the reader's buffer: valid until its next call. The bytes, delimiter included; of a line
  /// without it.
  auto await_resume();

  buffered_read(buffered_read&& other) noexcept
      : reader_(other.reader_),
        delimiter_(other.delimiter_),
        length_(other.length_),
        limit_(other.limit_),
        heeds_stop_(other.heeds_stop_) {}
  ~buffered_read() {
    if (fill_) fill_.destroy();
  }

 private:
  task<std::error_code> start();

  buffered_reader* reader_;
  std::string_view delimiter_;  // empty: by length
  std::size_t length_;
  duration limit_;
  bool heeds_stop_;
  std::size_t found_ = 0;  // bytes to hand out
  std::coroutine_handle<task_promise<std::error_code>> fill_;
};

}  // namespace detail

/// Reads a stream through a buffer of fixed size. One read at a time; the stream and the storage
/// outlive the reader.
class buffered_reader {
 public:
  buffered_reader(any_stream& stream, std::span<std::byte> storage)
      : stream_(&stream), storage_(storage) {}

  /// The bytes up to and including `delimiter`. Errors: error::limit_exceeded (the storage is full
  /// and the delimiter has not come), error::end_of_stream (it never will), and those of
  /// read_some(). What was read stays buffered.
  detail::buffered_read<true> read_until(std::string_view delimiter) {
    return {*this, delimiter, 0, no_limit, false};
  }
  /// Exactly `length` bytes; none is had at once, as from a stream. Errors: error::limit_exceeded
  /// (more than the storage), error::end_of_stream, as above.
  detail::buffered_read<true> read_exactly(std::size_t length) {
    return {*this, {}, length, no_limit, false};
  }

  /// A line, without its LF or CR LF; empty once the stream has ended behind a whole line, so that
  /// `while (auto line = co_await in.read_line())` reads them all. Errors: as read_until();
  /// error::end_of_stream within a line.
  detail::buffered_read<true, detail::read_as::line> read_line() {
    return {*this, "\n", 0, no_limit, false};
  }

  /// What was read from the stream and not handed out yet; for reading on without the reader.
  std::span<const std::byte> buffered() const { return storage_.subspan(begin_, end_ - begin_); }
  /// Drops bytes from the front of buffered(), at most all.
  void consume(std::size_t n) { begin_ += std::min(n, end_ - begin_); }

 private:
  template <bool, detail::read_as>
  friend class detail::buffered_read;

  /// Bytes up to the end of the delimiter, or 0. Looks only at what it has not seen.
  std::size_t find(std::string_view delimiter, std::size_t length) noexcept;
  /// Whether what is there may be had at once: as any read, until the turn's part is used up.
  bool may_go_on() const noexcept {
    return !*stream_ || detail::spend_budget(stream_->owner(), detail::read_cost);
  }
  /// Lets others run; an error where that was cancelled.
  task<std::error_code> wait_a_turn();
  /// Reads until find() succeeds.
  task<std::error_code> fill(std::string_view delimiter, std::size_t length, duration limit,
                             bool heeds_stop);

  any_stream* stream_;
  std::span<std::byte> storage_;
  std::size_t begin_ = 0, end_ = 0;
  std::size_t searched_ = 0;  // of buffered(), for the present delimiter
};

namespace detail {

inline std::string_view without_line_end(std::span<const std::byte> bytes) noexcept {
  auto text = as_text(bytes);
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

template <bool Throws, read_as As>
bool buffered_read<Throws, As>::await_ready() noexcept {
  reader_->searched_ = 0;
  found_ = reader_->find(delimiter_, length_);
  return found_ != 0 && reader_->may_go_on();
}

template <bool Throws, read_as As>
task<std::error_code> buffered_read<Throws, As>::start() {
  if (found_ != 0) return reader_->wait_a_turn();
  return reader_->fill(delimiter_, length_, limit_, heeds_stop_);
}

template <bool Throws, read_as As>
auto buffered_read<Throws, As>::await_resume() {
  std::error_code error;
  if (fill_) {
    error = fill_.promise().take();
    if (!error) found_ = reader_->find(delimiter_, length_);
  }
  auto got = reader_->buffered().first(error ? 0 : found_);
  reader_->consume(got.size());
  constexpr bool lines = As == read_as::line;
  using value = std::conditional_t<lines, line, bytes>;
  value out;
  if constexpr (lines) {
    if (!error) out = without_line_end(got);
    if (error == error::end_of_stream && reader_->buffered().empty()) error.clear();
  } else {
    out = got;
  }
  if constexpr (Throws) {
    const char* what = lines ? "read_line" : delimiter_.empty() ? "read_exactly" : "read_until";
    if (error) throw io_error(error, what);
    return out;
  } else {
    return error ? result<value>(error) : result<value>(std::move(out));
  }
}

}  // namespace detail

}  // namespace weir
