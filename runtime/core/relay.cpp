// Two directions and, where there are limits, who watches them. The first that fails cancels the
// rest; the streams are reset when nobody uses them any more.
#include "weir/relay.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <system_error>
#include <utility>

#include "runtime/core/sockets/inside.hpp"
#include "runtime/core/two_ways.hpp"
#include "weir/timing.hpp"

namespace weir {
namespace detail {
namespace {

/// Of one shard: how many of its relays write from what was lent to them (`most_pieces` at most
/// each).
struct lent_to_relays {
  explicit lent_to_relays(shard&) {}
  unsigned count = 0;
};

/// What is written together: what waits behind the first piece goes along.
constexpr std::size_t most_pieces = 8;
constexpr std::size_t enough_bytes = std::size_t{256} * 1024;

}  // namespace

/// Its coroutine carries one way itself; the other, and who watches, are parts that it starts and
/// waits for. Everything that it awaits between begin() and join() ends with its parts.
class two_ways final : private completion, private ready_node {
 public:
  two_ways(any_stream one, any_stream other)
      : completion{&kind_of_end<&two_ways::part_ended, &two_ways::tell>},
        a(std::move(one)),
        b(std::move(other)),
        moved(a.owner().now()),
        lent(&a.owner().local<lent_to_relays>()) {}

  any_stream a, b;
  direction out{*this}, back{*this};
  instant moved;
  lent_to_relays* lent;
  std::error_code ended_by;

  class [[nodiscard]] beginning {
   public:
    explicit beginning(two_ways& of) : of_(&of) {}
    bool await_ready() const noexcept { return false; }
    template <weir_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
      of_->handle = self;
      of_->cancel_.attach(self.promise().cancel);
      self.promise().cancel = &of_->cancel_;
      return false;
    }
    void await_resume() const noexcept {}

   private:
    two_ways* of_;
  };
  class [[nodiscard]] joining {
   public:
    explicit joining(two_ways& of) : of_(&of) {}
    bool await_ready() const noexcept { return false; }
    template <weir_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> self) noexcept {
      self.promise().cancel = nullptr;  // parts hear of it themselves
      of_->joins_ = of_->running_ != 0;
      if (of_->joins_) note_waiting(self.promise());
      return of_->joins_;
    }
    void await_resume() const noexcept {}

   private:
    two_ways* of_;
  };

  beginning begin() { return beginning(*this); }
  joining join() { return joining(*this); }

  void start(task<> part) {
    auto frame = part.release();
    auto& promise = frame.promise();
    promise.owner = &a.owner();
    promise.cancel = &cancel_;
    promise.on_done = this;
    promise.turn.handle = frame;
    ++running_;
    make_ready(*promise.owner, promise.turn);
  }
  void over(std::error_code why) noexcept {
    if (!ended_by) ended_by = why;
    cancel_.request();
  }
  void direction_ended() noexcept {
    if (--directions_ == 0) cancel_.request();  // who watches goes too
  }
  /// What a part threw: where a frame or a copy could not be had, bad_alloc.
  void failed(const std::exception_ptr& why) noexcept {
    try {
      std::rethrow_exception(why);
    } catch (const std::bad_alloc&) {
      over(std::make_error_code(std::errc::not_enough_memory));
    } catch (const std::system_error& error) {
      over(error.code());
    } catch (...) {
      over(std::make_error_code(std::errc::io_error));
    }
  }

 private:
  static void part_ended(completion& c, promise_base& part) noexcept {
    auto& self = static_cast<two_ways&>(c);
    auto& promise = static_cast<task_promise<void>&>(part);
    const auto failure = std::move(promise.failure);
    std::coroutine_handle<task_promise<void>>::from_promise(promise).destroy();
    if (failure) self.failed(failure);
    if (--self.running_ == 0 && self.joins_) make_ready(self.a.owner(), self);
  }
  static void tell(const completion& c, belonging_told& out) noexcept {
    out.of = belonging_told::kind::join;
    out.parent = static_cast<const two_ways&>(c).handle;
  }

  cancel_state cancel_;
  std::uint8_t running_ = 0, directions_ = 2;
  bool joins_ = false;
};

any_stream& direction::from() const { return this == &of_->out ? of_->a : of_->b; }
any_stream& direction::to() const { return this == &of_->out ? of_->b : of_->a; }

bool direction::passed(const transfer& done) noexcept {
  carried_ += done.n;
  of_->moved = of_->a.owner().now();
  if (done.ec) of_->over(done.ec);
  return !done.ec;
}

void direction::ended() noexcept {
  std::error_code gone;  // which its own direction says
  to().shutdown_send(gone);
  of_->direction_ended();
}

namespace {

/// Writes what was lent, with what is there already behind it.
task<bool> pass_on_lent(direction& way, lent_buffer first) {
  auto& lent = *way.of().lent;
  std::array<lent_buffer, most_pieces> held;
  std::array<std::span<const std::byte>, most_pieces> bytes;
  std::size_t count = 1, size = first.size();
  bytes[0] = first.bytes();
  held[0] = std::move(first);
  ++lent.count;
  while (count < most_pieces && size < enough_bytes && inside::of(way.from()).rx_size != 0) {
    auto more = co_await way.from().receive().nothrow();
    if (!more || !*more) break;  // the next read is told again
    bytes[count] = more->bytes();
    size += more->size();
    held[count++] = std::move(*more);
  }
  auto wrote = co_await way.to()
                   .write_all(std::span<const std::span<const std::byte>>(bytes.data(), count))
                   .nothrow();
  --lent.count;
  co_return way.passed(wrote);
}

/// Gives what was lent back at once, and writes a copy: too much is lent already.
task<bool> pass_on_copied(direction& way, lent_buffer got) {
  const auto size = got.size();
  auto copy = std::make_unique_for_overwrite<std::byte[]>(size);
  std::memcpy(copy.get(), got.bytes().data(), size);
  got.release();
  auto wrote = co_await way.to().write_all(owned_buffer(std::move(copy), size)).nothrow();
  co_return way.passed(wrote);
}

/// Waits for what a stream brings. Gives the task that passes it on; none: there was nothing.
class [[nodiscard]] next_piece : public receive_awaiter {
 public:
  explicit next_piece(direction& way)
      : receive_awaiter({&inside::of(way.from())}, no_limit), way_(&way) {}

  task<bool> await_resume() {
    auto got = outcome();
    if (!got) {
      way_->of().over(got.error());
      return {};
    }
    if (!*got) {
      way_->ended();
      return {};
    }
    return way_->of().lent->count < relay_lent ? pass_on_lent(*way_, std::move(*got))
                                               : pass_on_copied(*way_, std::move(*got));
  }

 private:
  direction* way_;
};

task<> watch(two_ways& of, relay_limits limits) {
  auto& here = of.a.owner();
  const auto last = here.now() + std::max(limits.total, duration(0));
  for (;;) {
    const auto due = std::min(of.moved + std::max(limits.idle, duration(0)), last);
    if (due <= here.now()) co_return of.over(timeout_error());
    const auto slept = co_await sleep_for(due - here.now()).nothrow();
    if (slept) co_return;  // the relay is over
  }
}

}  // namespace

task<> carry_one_way(direction& way) {
  for (;;) {
    auto piece = co_await next_piece(way);
    if (!piece) break;
    const bool more = co_await std::move(piece);
    if (!more) break;
  }
}

task<> carry_both_ways(any_stream a, any_stream b, relay_limits limits, relay_told& told,
                       void* note) {
  two_ways of(std::move(a), std::move(b));
  co_await of.begin();
  try {
    of.start(carry_one_way(of.back));
    if (limits.idle != no_limit || limits.total != no_limit) of.start(watch(of, limits));
    for (;;) {  // carry_one_way(of.out), without a frame of its own
      auto piece = co_await next_piece(of.out);
      if (!piece) break;
      const bool more = co_await std::move(piece);
      if (!more) break;
    }
  } catch (...) {  // the other way goes on in `of`
    of.failed(std::current_exception());
  }
  co_await of.join();
  told.relay_over({of.out.carried(), of.back.carried(), of.ended_by}, note);
  if (of.ended_by) {
    of.a.abort();
    of.b.abort();
  }
}

}  // namespace detail

task<relay_result> relay(any_stream a, any_stream b, relay_limits limits) {
  struct keeper final : detail::relay_told {
    void relay_over(const relay_result& what, void*) noexcept override { result = what; }
    relay_result result;
  } told;
  co_await detail::carry_both_ways(std::move(a), std::move(b), limits, told, nullptr);
  co_return told.result;
}

}  // namespace weir
