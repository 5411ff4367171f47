// A stream whose peer is a script. No coroutine: every step is done when a read or a write reaches
// it.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "runtime/core/sockets/stream_core.hpp"
#include "weir/testing.hpp"

namespace weir::testing {

using detail::lent_bytes;
using detail::socket_base;

class script::impl final : public detail::stream_core {
 public:
  impl(shard& owner, std::vector<step> steps) : steps_(std::move(steps)) {
    set_owner(owner);
    socket_.at = this;
    std::erase_if(steps_, [](const step& s) {
      return s.bytes.empty() && (s.what == step::kind::gives || s.what == step::kind::expects);
    });
    show();
  }

  /// The script has gone. Its stream may still be held, by a layer above it that is ending.
  void leave() noexcept {
    left_ = true;
    if (!opened_ || closed_) delete this;
  }

  socket_base& open() {
    assert(!opened_ && "a script is one connection");
    opened_ = true;
    return socket_;
  }
  std::string complaint() const;
  bool closed() const { return closed_; }
  bool aborted() const { return aborted_; }
  bool send_ended() const { return send_ended_; }

  void settle(socket_base&) noexcept override { show(); }
  void release(lent_bytes& lent) noexcept override { delete[] static_cast<std::byte*>(lent.chunk); }

 private:
  void bring_in(socket_base& s) override {
    if (show()) bytes_came(s);
  }
  bool lend(socket_base& s, lent_bytes& lent) override;
  void take_out(socket_base& s) override;
  std::error_code send_fin(socket_base&) noexcept override {
    send_ended_ = true;
    return {};
  }
  void give_up(socket_base&, bool reset) noexcept override {
    aborted_ = reset;
    closed_ = true;
    if (left_) delete this;
  }

  bool show() noexcept;
  void complain(std::size_t at, std::string_view written);

  std::vector<step> steps_;
  socket_base socket_;
  std::size_t in_ = 0;       // the first step that reads have not passed
  bool showing_ = false;     // it is what rx_data shows
  std::size_t out_ = 0;      // the first step that writes have not passed
  std::size_t matched_ = 0;  // of that one's bytes
  std::string complaint_;
  bool opened_ = false, closed_ = false, aborted_ = false, send_ended_ = false;
  bool left_ = false;
};

/// Shows what comes next, when it is its time. True: there is something, or an end.
bool script::impl::show() noexcept {
  auto& s = socket_;
  if (s.rx_size != 0 || s.received_all) return true;
  if (showing_) ++in_;
  for (showing_ = false; in_ < steps_.size(); ++in_) {
    const auto& next = steps_[in_];
    switch (next.what) {
      case step::kind::expects:
        if (out_ <= in_) return false;
        continue;
      case step::kind::gives:
        s.rx_data = reinterpret_cast<const std::byte*>(next.bytes.data());
        s.rx_size = static_cast<std::uint32_t>(next.bytes.size());
        showing_ = true;
        return true;
      case step::kind::ends: note_end(s); return true;
      case step::kind::fails: note_end(s, next.error); return true;
    }
  }
  return false;
}

bool script::impl::lend(socket_base& s, lent_bytes& lent) {
  auto* copy = new std::byte[s.rx_size];
  std::memcpy(copy, s.rx_data, s.rx_size);
  lent = {copy, s.rx_size, 0, copy};
  s.rx_size = 0;
  show();
  return true;
}

void script::impl::take_out(socket_base& s) {
  while (!s.writers.empty()) {
    while (out_ < steps_.size() &&
           (steps_[out_].what == step::kind::gives || steps_[out_].what == step::kind::ends))
      ++out_;
    std::array<std::span<const std::byte>, 1> part;
    gather(s, part);
    const std::string_view written(reinterpret_cast<const char*>(part[0].data()), part[0].size());
    if (out_ == steps_.size()) {
      complain(out_, written);
      return fail(s, std::make_error_code(std::errc::protocol_error));
    }
    const auto& next = steps_[out_];
    if (next.what == step::kind::fails) return fail(s, next.error);
    const auto n = std::min(written.size(), next.bytes.size() - matched_);
    if (next.bytes.compare(matched_, n, written.substr(0, n)) != 0) {
      complain(out_, written);
      return fail(s, std::make_error_code(std::errc::protocol_error));
    }
    matched_ += n;
    if (matched_ == next.bytes.size()) {
      ++out_;
      matched_ = 0;
    }
    sent(s, n);
    if (s.reader != nullptr && show()) bytes_came(s);
  }
}

void script::impl::complain(std::size_t at, std::string_view written) {
  if (!complaint_.empty()) return;
  complaint_ = "step " + std::to_string(at + 1) + ": ";
  if (at == steps_.size())
    complaint_ += "the script is over";
  else
    complaint_ += "expected \"" + steps_[at].bytes.substr(matched_) + '"';
  complaint_ += ", written \"" + std::string(written) + '"';
}

std::string script::impl::complaint() const {
  if (!complaint_.empty()) return complaint_;
  for (auto i = out_; i < steps_.size(); ++i) {
    if (steps_[i].what != step::kind::expects) continue;
    return "step " + std::to_string(i + 1) + ": expected \"" +
           steps_[i].bytes.substr(i == out_ ? matched_ : 0) + "\", nothing was written";
  }
  return {};
}

script::script(shard& owner, std::vector<step> steps) : impl_(new impl(owner, std::move(steps))) {}
script::~script() { impl_->leave(); }
any_stream script::stream() { return any_stream(impl_->open()); }
std::string script::complaint() const { return impl_->complaint(); }
bool script::closed() const { return impl_->closed(); }
bool script::aborted() const { return impl_->aborted(); }
bool script::send_ended() const { return impl_->send_ended(); }

}  // namespace weir::testing
