// What an idle connection of the stack keeps, summed over every layer: a million of them are to fit
// a gigabyte, so that what one of the types grows by shows here. What the operating system makes of
// it, `weir-bench idle --at-most 1024` measures.
#include <doctest/doctest.h>
#include <malloc.h>

#include <array>
#include <cstddef>

#include "runtime/core/two_ways.hpp"
#include "runtime/transport/stack/stack_transport.hpp"
#include "services/services.hpp"
#include "stack/host/impl.hpp"
#if WEIR_WITH_URING
#include "runtime/transport/uring/uring_socket.hpp"
#endif

namespace weir::detail {
struct stack_transport_probe {
  static constexpr std::size_t socket_bytes = sizeof(stack_transport::stream);
};
}  // namespace weir::detail

namespace {

constexpr std::size_t kilobyte = 1024;
/// Of the table in which segments find their flows: at most a quarter of its slots is taken right
/// after it has grown.
constexpr std::size_t table_bytes = 4 * 8;
/// Beside each block that the allocator hands out.
constexpr std::size_t allocator_bytes = 8;
constexpr std::size_t connection_bytes = weir::stack::slab<weir::stack::tcp_socket>::bytes_each;
constexpr std::size_t socket_bytes = weir::detail::stack_transport_probe::socket_bytes;
#if WEIR_WITH_URING
constexpr std::size_t kernel_socket_bytes = sizeof(weir::detail::uring_stream);
#else
constexpr std::size_t kernel_socket_bytes = 0;
#endif

/// Of a coroutine that has not begun.
template <class T>
std::size_t frame_bytes_of(weir::task<T> coroutine) {
  auto frame = coroutine.release();
  const auto bytes = ::malloc_usable_size(frame.address());
  frame.destroy();
  return bytes;
}

struct deaf final : weir::detail::relay_told {
  void relay_over(const weir::relay_result&, void*) noexcept override {}
};

// How a frame is laid out is the compiler's affair: without optimization, and under a sanitizer, it
// keeps more.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(undefined_behavior_sanitizer)
#define WEIR_FRAMES_VARY 1
#endif
#endif
#else
#define WEIR_FRAMES_VARY 1
#endif

}  // namespace

TEST_CASE("idle echo session on the stack fits a kilobyte, its coroutine frame included") {
  const auto frame_bytes = frame_bytes_of(services::echo(weir::tcp_stream(), {}));
  CAPTURE(frame_bytes);
  CAPTURE(connection_bytes);
  CAPTURE(socket_bytes);
#if !defined(WEIR_FRAMES_VARY)
  CHECK(connection_bytes + socket_bytes + frame_bytes + allocator_bytes + table_bytes <= kilobyte);
#else
  CHECK(connection_bytes + socket_bytes + allocator_bytes + table_bytes <= kilobyte * 2 / 3);
#endif
}

TEST_CASE("idle flow of a gateway fits two kilobytes: a stream on each side, and their relay") {
  using weir::detail::direction;
  alignas(direction) std::array<std::byte, sizeof(direction)> nothing;  // it is not looked at yet
  deaf told;
  const auto relay = frame_bytes_of(
      weir::detail::carry_both_ways(weir::any_stream(), weir::any_stream(), {}, told, nullptr));
  const auto other_way =
      frame_bytes_of(weir::detail::carry_one_way(reinterpret_cast<direction&>(nothing)));
  CAPTURE(relay);
  CAPTURE(other_way);
  CAPTURE(connection_bytes);
  CAPTURE(socket_bytes);
  CAPTURE(kernel_socket_bytes);
#if !defined(WEIR_FRAMES_VARY)
  CHECK(relay + other_way <= 960);
  CHECK(connection_bytes + socket_bytes + kernel_socket_bytes + relay + other_way +
            4 * allocator_bytes + table_bytes <=
        2 * kilobyte - 64);
#endif
}

TEST_CASE(
    "operation that waits keeps one copy of itself, and no scratch space that reads do not use") {
  CHECK(sizeof(weir::detail::receive_awaiter) <= 152);
  CHECK(sizeof(weir::detail::promise_base) <= 64);
  CHECK(sizeof(weir::tcp_stream(std::declval<weir::tcp_stream>()).receive()) <= 16);
}
