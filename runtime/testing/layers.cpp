// Layers that carry an inner stream's bytes as they are: one cuts them, one fails.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "runtime/core/sockets/layer_core.hpp"
#include "weir/testing.hpp"

namespace weir::testing {

namespace {

using detail::socket_base;

/// Both; a derived one says where a piece ends, and whether an operation fails.
class passing : public detail::layer_core {
 public:
  using layer_core::begin;
  using layer_core::layer_core;

  void settle(socket_base& s) noexcept final {
    if (s.rx_size == 0) show(s);
  }

 protected:
  /// How many of the next `size` bytes go together; `before` have gone in this direction.
  virtual std::size_t piece(std::size_t, std::size_t size) { return size; }
  virtual std::error_code next_operation() { return {}; }

 private:
  void bring_in(socket_base& s) final {
    if (s.rx_size != 0 || s.received_all) return bytes_came(s);
    if (std::exchange(asked_, true)) return;
    if (auto error = next_operation()) return fail(s, error);
    ask_in();
  }
  void came(lent_buffer chunk) final {
    asked_ = false;
    chunk_ = std::move(chunk);
    taken_ = 0;
    show(socket());
    bytes_came(socket());
  }
  void in_ended(std::error_code why) final {
    asked_ = false;
    if (why) return fail(socket(), why);
    receiving_over(socket());
  }
  void show(socket_base& s) noexcept {
    const auto left = chunk_.bytes().subspan(taken_);
    if (left.empty()) {
      taken_ = 0;
      return chunk_.release();
    }
    const auto n = piece(in_, left.size());
    s.rx_data = left.data();
    s.rx_size = static_cast<std::uint32_t>(n);
    taken_ += n;
    in_ += n;
  }

  void take_out(socket_base& s) final {
    if (writing_out()) return;
    if (auto error = next_operation()) return fail(s, error);
    std::array<std::span<const std::byte>, 1> part;
    gather(s, part);
    const auto n = std::min(piece(out_, part[0].size()), block_.size());
    std::memcpy(block_.data(), part[0].data(), n);
    out_ += n;
    ask_out(std::span(block_).first(n));
    sent(s, n);  // as a socket's buffer would take it
  }
  void gone(std::error_code why) final {
    auto& s = socket();
    if (why) return fail(s, why);
    if (!s.writers.empty()) return take_out(s);
    if (std::exchange(fin_, false)) (void)end_out();
  }
  std::error_code send_fin(socket_base&) noexcept final {
    if (!writing_out()) return end_out();
    fin_ = true;
    return {};
  }

  lent_buffer chunk_;
  std::size_t taken_ = 0;
  std::size_t in_ = 0, out_ = 0;  // bytes so far
  bool asked_ = false;
  bool fin_ = false;
  std::array<std::byte, 4096> block_;
};

class cutter final : public passing {
 public:
  cutter(any_stream inner, cut& at) : passing(std::move(inner)), at_(&at) {}

 private:
  std::size_t piece(std::size_t before, std::size_t size) override {
    if (at_->place == 0) return 1;
    if (before >= at_->place) {
      at_->reached = true;
      return size;
    }
    return std::min(size, at_->place - before);
  }
  cut* at_;
};

class failer final : public passing {
 public:
  failer(any_stream inner, fault& of) : passing(std::move(inner)), of_(&of) {}

 private:
  std::error_code next_operation() override {
    if (count_++ != of_->operation) return {};
    of_->reached = true;
    return of_->error;
  }
  fault* of_;
  std::size_t count_ = 0;
};

template <class Layer, class Steering>
any_stream layered(any_stream inner, Steering& by) {
  auto* made = new Layer(std::move(inner), by);
  made->begin();
  return any_stream(made->socket());
}

}  // namespace

any_stream cutting(any_stream inner, cut& at) { return layered<cutter>(std::move(inner), at); }
any_stream failing(any_stream inner, fault& of) { return layered<failer>(std::move(inner), of); }

}  // namespace weir::testing
