// Where a transport's sockets come from: slabs that are never given back, so that a socket costs no
// allocation and does not move, and the one that was freed last, still in the cache, is the next to
// go out.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace weir::detail {

/// `Socket` has a pointer `next_free`, which is its own while it is out.
template <class Socket>
class socket_pool {
 public:
  socket_pool() = default;
  socket_pool(const socket_pool&) = delete;
  socket_pool& operator=(const socket_pool&) = delete;
  ~socket_pool() {
    for_each([](Socket& s) { s.~Socket(); });
  }

  /// One as new, made of `arguments`.
  template <class... Arguments>
  Socket& take(const Arguments&... arguments) {
    auto& s = take_as_left(arguments...);
    s.~Socket();
    return *::new (static_cast<void*>(&s)) Socket(arguments...);
  }
  /// One in the state in which it was given back.
  template <class... Arguments>
  Socket& take_as_left(const Arguments&... arguments) {
    if (free_ == nullptr) add_slab(arguments...);
    ++taken_;
    return *std::exchange(free_, free_->next_free);
  }
  void give_back(Socket& s) noexcept {
    s.next_free = std::exchange(free_, &s);
    --taken_;
  }
  std::size_t taken() const { return taken_; }
  /// Also those that are not out.
  template <class F>
  void for_each(F&& f) {
    for (auto& of : slabs_)
      for (std::size_t i = 0; i < slab_size; ++i) f(of->at(i));
  }

 private:
  static constexpr std::size_t slab_size = 64;
  struct slab {
    Socket& at(std::size_t i) {
      return *std::launder(reinterpret_cast<Socket*>(memory + i * sizeof(Socket)));
    }
    alignas(Socket) std::byte memory[slab_size * sizeof(Socket)];
  };

  template <class... Arguments>
  void add_slab(const Arguments&... arguments) {
    slabs_.push_back(std::make_unique_for_overwrite<slab>());
    for (std::size_t i = slab_size; i-- > 0;) {
      auto* s = ::new (slabs_.back()->memory + i * sizeof(Socket)) Socket(arguments...);
      s->next_free = std::exchange(free_, s);
    }
  }

  std::vector<std::unique_ptr<slab>> slabs_;
  Socket* free_ = nullptr;
  std::size_t taken_ = 0;
};

}  // namespace weir::detail
