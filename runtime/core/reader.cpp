// The buffered reader's search and its refilling. See weir/reader.hpp.
#include "weir/reader.hpp"

#include <algorithm>
#include <cstring>

namespace weir {

std::size_t buffered_reader::find(std::string_view delimiter, std::size_t length) noexcept {
  auto have = buffered();
  if (delimiter.empty()) return have.size() >= length ? length : 0;
  auto text = as_text(have);
  // A delimiter may have begun in what was searched before.
  auto from = searched_ >= delimiter.size() ? searched_ - delimiter.size() + 1 : 0;
  auto at = text.find(delimiter, from);
  searched_ = have.size();
  return at == std::string_view::npos ? 0 : at + delimiter.size();
}

task<std::error_code> buffered_reader::wait_a_turn() {
  searched_ = 0;  // the caller looks once more
  const auto nothing = co_await stream_->read_some({}).nothrow();
  // The stream's end is behind what is there.
  co_return nothing.ec == std::errc::operation_canceled ? nothing.ec : std::error_code();
}

task<std::error_code> buffered_reader::fill(std::string_view delimiter, std::size_t length,
                                            duration limit, bool heeds_stop) {
  auto& owner = stream_->owner();
  const auto deadline = limit == no_limit ? instant::never() : owner.now() + limit;
  if (length > storage_.size()) co_return make_error_code(error::limit_exceeded);
  if (delimiter.empty() && length == 0) {  // the stream's own rule for nothing
    auto nothing = co_await stream_->read_some({}).nothrow();
    co_return nothing.ec;
  }
  for (;;) {
    if (begin_ > 0) {
      std::memmove(storage_.data(), storage_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ == storage_.size()) co_return make_error_code(error::limit_exceeded);
    auto room = storage_.subspan(end_);
    const auto left = deadline.is_never() ? no_limit : deadline - owner.now();
    transfer got;
    if (heeds_stop)
      got = co_await stream_->read_some(room).timeout(left).nothrow().until_stop();
    else
      got = co_await stream_->read_some(room).timeout(left).nothrow();
    if (got.ec) co_return got.ec;
    if (got.n == 0) co_return make_error_code(error::end_of_stream);
    end_ += got.n;
    auto seen = searched_;
    if (find(delimiter, length) != 0) {
      searched_ = seen;  // for the caller, who looks once more
      co_return std::error_code();
    }
  }
}

}  // namespace weir
