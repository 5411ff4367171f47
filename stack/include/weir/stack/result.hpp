// result<T>: a value or an error code, for calls that must not throw. C++20 has no std::expected;
// this holds just what weir needs. Errors are std::error_code, compared against std::errc whatever
// layer they come from.
#pragma once

#include <cassert>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace weir {

/// A value of type T, or the std::error_code that says why there is none.
template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : has_value_(true) { ::new (static_cast<void*>(&value_)) T(std::move(value)); }
  result(std::error_code error) : error_(error) {
    assert(error && "an error result needs an error");
  }
  result(std::errc error) : result(std::make_error_code(error)) {}
  result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : error_(other.error_), has_value_(other.has_value_) {
    if (has_value_) ::new (static_cast<void*>(&value_)) T(std::move(other.value_));
  }
  result(const result&) = delete;
  result& operator=(const result&) = delete;
  result& operator=(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      this->~result();
      ::new (static_cast<void*>(this)) result(std::move(other));
    }
    return *this;
  }
  ~result() {
    if (has_value_) value_.~T();
  }

  explicit operator bool() const { return has_value_; }
  bool has_value() const { return has_value_; }
  std::error_code error() const { return error_; }

  T& operator*() & {
    assert(has_value_);
    return value_;
  }
  const T& operator*() const& {
    assert(has_value_);
    return value_;
  }
  T&& operator*() && {
    assert(has_value_);
    return std::move(value_);
  }
  T* operator->() {
    assert(has_value_);
    return &value_;
  }
  const T* operator->() const {
    assert(has_value_);
    return &value_;
  }
  /// The value, or std::system_error.
  T& value() & {
    if (!has_value_) throw std::system_error(error_);
    return value_;
  }
  T&& value() && {
    if (!has_value_) throw std::system_error(error_);
    return std::move(value_);
  }

 private:
  std::error_code error_;
  bool has_value_ = false;
  union {
    T value_;
  };
};

}  // namespace weir
