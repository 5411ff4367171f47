// Per-connection settings, shared: the thousands of connections that one listener accepted hold one
// copy between them. A host is one thread, so the count is a plain number.
#pragma once

#include <cstdint>
#include <utility>

#include "weir/stack/tcp_options.hpp"

namespace weir::stack::tcp {

class options_ref {
 public:
  options_ref() = default;
  explicit options_ref(const tcp_options& value) : shared_(new shared{value, 1}) {}
  options_ref(const options_ref& other) : shared_(other.shared_) {
    if (shared_ != nullptr) ++shared_->references;
  }
  options_ref(options_ref&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {}
  options_ref& operator=(options_ref other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }
  ~options_ref() {
    if (shared_ != nullptr && --shared_->references == 0) delete shared_;
  }

  const tcp_options& operator*() const { return shared_->value; }
  const tcp_options* operator->() const { return &shared_->value; }

 private:
  struct shared {
    tcp_options value;
    std::uint32_t references;
  };
  shared* shared_ = nullptr;
};

}  // namespace weir::stack::tcp
