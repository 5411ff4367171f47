// A load over streams: connections that are opened, asked and read, closed and opened anew. Each
// has a coroutine that lives as long as the run; while it is open, one that reads, which in a
// closed loop of small requests also writes, or else one more that writes.
#include <algorithm>
#include <vector>

#include "load/engine.hpp"
#include "load/in_flight.hpp"
#include "load/protocol.hpp"
#include "load/reach.hpp"
#include "weir/error.hpp"
#include "weir/timing.hpp"

namespace weir::load {
namespace {

constexpr std::size_t connects_at_once = 64;  // of a shard: stays below any backlog
constexpr auto before_the_next_try = std::chrono::milliseconds(100);

struct connection {
  unsigned number = 0;
  any_stream stream;
  std::unique_ptr<protocol> speaks;
  in_flight asked;
  std::uint64_t unwritten = 0;  // the first request whose bytes are still in `out`
  std::string out, going;
  event wake;  // there is something in `out`
  bool open = false;
  bool listed = false;          // it is among those that may be asked
  bool counted = false;         // it has stood once
  std::string ended;            // why; empty: in good order
  std::int64_t free_since = 0;  // closed loop: when the next request was due
};

class stream_load : public shard_load {
 public:
  stream_load(run_context& run, shard& here, unsigned index, clocks& time)
      : shard_load(run, here, index, time), way_(run.of), connects_(connects_at_once) {}

 protected:
  void begin() override {
    for (unsigned i = 0; i < share(); ++i) {
      auto& made = *all_.emplace_back(std::make_unique<connection>());
      made.number = index_ + i * shards_;
      made.speaks = make_protocol(plan_, run_.requests, made.number);
      by_writer_ = !closed_loop() || !plan_.writes_fit() || !made.speaks->answers() ||
                   std::any_of(plan_.requests.begin(), plan_.requests.end(),
                               [](const request& r) { return r.think > duration(); });
      work_.spawn(live(made));
    }
  }
  void assign(std::int64_t due) override {
    while (!free_.empty()) {
      connection& c = *free_.front();
      free_.pop_front();
      c.listed = false;
      if (!takes_more(c)) continue;
      recorder_.waiting(false, due);
      give(c, due, due);
      return list(c);
    }
    if (waiting_.size() < most_waiting)
      waiting_.push_back(due);
    else
      recorder_.failed(due, "never sent: too many waited for a connection", now());
  }
  std::size_t owed() const override {
    std::size_t sum = waiting_.size();
    for (const auto& c : all_) sum += c->asked.size();
    return sum;
  }
  void settle() override {
    for (const auto due : waiting_) recorder_.unfinished(due);
    for (const auto& c : all_)
      for (auto which = c->asked.oldest(); which < c->asked.next() && !closed_loop(); ++which)
        if (const auto* one = c->asked.find(which)) recorder_.unfinished(one->due);
  }

 private:
  bool takes_more(const connection& c) const {
    return c.open && c.asked.size() < plan_.depth && !used_up(c) && !c.speaks->last();
  }
  bool used_up(const connection& c) const {
    return plan_.requests_per_connection != 0 && c.asked.next() >= plan_.requests_per_connection;
  }
  void list(connection& c) {
    if (c.listed || !takes_more(c)) return;
    c.listed = true;
    free_.push_back(&c);
  }

  /// `could`: when there was both the request and a connection for it.
  void give(connection& c, std::int64_t due, std::int64_t could) {
    c.speaks->ask(c.out);
    c.asked.add({.due = due,
                 .could = could,
                 .written = 0,
                 .think = c.speaks->think().count(),
                 .open = true});
    if (by_writer_) c.wake.set();
  }
  /// A connection may be asked (again): by the loop that is closed, or by those that wait.
  void refill(connection& c, std::int64_t at) {
    if (closed_loop()) {
      while (takes_more(c)) give(c, c.free_since != 0 ? std::exchange(c.free_since, 0) : at, at);
      return;
    }
    while (!waiting_.empty() && takes_more(c)) {
      const auto due = waiting_.front();
      waiting_.pop_front();
      give(c, due, std::max(due, at));
    }
    if (waiting_.empty()) recorder_.waiting(false, at);
    list(c);
  }

  task<> live(connection& c) {
    while (!control_.abandon.load(std::memory_order_relaxed)) {
      const bool stands = co_await open(c);
      if (stands) {
        c.open = true;
        co_await use(c);
        c.open = false;
      }
      lose(c);
      if (!stands || !c.ended.empty()) co_await sleep_for(before_the_next_try);
    }
  }

  task<bool> open(connection& c) {
    co_await connects_.acquire();
    bool stands = false;
    std::string why;
    try {
      c.stream = co_await way_.open(shard_);
      c.speaks = make_protocol(plan_, run_.requests, c.number);
      stands = co_await greet(c);
      why = why_;
    } catch (const io_error& error) {
      why = error.what();
      if (error.code() == std::errc::operation_canceled) why.clear();
    }
    connects_.release();
    if (stands) {
      recorder_.connected();
    } else if (!why.empty()) {
      if (!c.counted) give_up(why);
      recorder_.failed(now(), why, now());
    }
    if (stands && !c.counted) {
      c.counted = true;
      one_is_ready();
    }
    co_return stands;
  }

  /// What a protocol says before its first request, and hears.
  task<bool> greet(connection& c) {
    const std::string greeting = c.speaks->greeting();
    if (greeting.empty()) co_return true;
    co_await c.stream.write_all(greeting);
    for (;;) {
      auto came = co_await c.stream.receive().timeout(plan_.connect_timeout);
      if (!came) {
        why_ = "ended while it was opened";
        co_return false;
      }
      auto bytes = came.bytes();
      const auto got = c.speaks->feed(bytes);
      if (got.what == step::kind::broken) {
        why_ = got.why;
        co_return false;
      }
      c.speaks->reply(c.out);
      if (got.what == step::kind::opened) co_return true;
    }
  }

  /// An open connection, until it ends.
  task<> use(connection& c) {
    c.ended.clear();
    c.unwritten = 0;
    const bool go = co_await started();
    if (!go) co_return;
    scope pair(shard_);
    if (by_writer_) pair.spawn(write_on(c));
    refill(c, now());
    try {
      if (!by_writer_) co_await write_out(c);
      co_await read_on(c);
    } catch (const io_error& error) {
      ended_as(c, error.code());
    }
    c.open = false;
    pair.cancel();
    co_await pair.drain(duration());
  }

  task<> write_out(connection& c) {
    if (c.out.empty()) co_return;
    c.going.clear();
    c.going.swap(c.out);
    const auto at = now();
    const auto bytes = c.going.size() / std::max<std::uint64_t>(1, c.asked.next() - c.unwritten);
    for (; c.unwritten < c.asked.next(); ++c.unwritten)
      if (auto* one = c.asked.find(c.unwritten)) recorder_.wrote(*one, bytes, at);
    co_await c.stream.write_all(c.going);
  }

  task<> write_on(connection& c) {
    try {
      for (;;) {
        co_await c.wake.wait();
        c.wake.reset();
        const auto first = c.asked.oldest();
        co_await write_out(c);
        if (c.speaks->answers()) continue;
        for (auto which = first; which < c.unwritten; ++which) answered(c, which, now());
      }
    } catch (const io_error& error) {
      if (error.code() != std::errc::operation_canceled) ended_as(c, error.code());
    }
  }

  task<> read_on(connection& c) {
    for (;;) {
      auto came = co_await c.stream.receive().timeout(time_left(c)).nothrow();
      if (!came) {
        if (came.error() == std::errc::timed_out && time_left(c) > duration()) continue;
        ended_as(c, came.error());
        co_return;
      }
      auto bytes = came->bytes();
      const auto at = now();
      recorder_.received(bytes.size(), at);
      const bool goes_on = take(c, bytes, bytes.empty(), at);
      if (!goes_on) co_return;
      c.speaks->reply(c.out);
      if (!c.out.empty() && by_writer_) c.wake.set();
      came->release();
      if (!by_writer_) co_await write_out(c);
    }
  }

  /// For the oldest request, else for nothing in particular.
  duration time_left(connection& c) {
    const auto* oldest = c.asked.find(c.asked.oldest());
    if (oldest == nullptr || oldest->written == 0 || !c.speaks->answers()) return plan_.timeout;
    return plan_.timeout - duration(now() - oldest->written);
  }

  /// False: the connection is over.
  bool take(connection& c, std::span<const std::byte> bytes, bool ended, std::int64_t at) {
    for (;;) {
      const step got = ended ? c.speaks->end() : c.speaks->feed(bytes);
      switch (got.what) {
        case step::kind::opened: continue;
        case step::kind::more:
          if (!ended) return true;
          if (c.asked.size() != 0) ended_as(c, "the server closed it");
          return false;
        case step::kind::broken: ended_as(c, got.why); return false;
        case step::kind::answered:
          if (c.speaks->asks())
            answered(c, got.which, at);
          else
            recorder_.piece(at);
          break;
        case step::kind::refused:
          if (auto* one = c.asked.find(got.which)) {
            recorder_.failed(one->due, got.why, at);
            done(c, got.which, at);
          }
          break;
      }
      if (ended || (c.asked.size() == 0 && (used_up(c) || c.speaks->last()))) return false;
    }
  }

  void answered(connection& c, std::uint64_t which, std::int64_t at) {
    const auto* one = c.asked.find(which);
    if (one == nullptr) return;
    recorder_.answered(*one, at);
    done(c, which, at);
  }
  void done(connection& c, std::uint64_t which, std::int64_t at) {
    const auto think = c.asked.find(which)->think;
    c.asked.close(which);
    c.free_since = closed_loop() && think == 0 ? at : 0;
    if (closed_loop() && think > 0) {
      work_.spawn(after(c, duration(think)));
      return;
    }
    refill(c, at);
    c.free_since = closed_loop() ? at : 0;  // where it has to be opened anew first
  }
  task<> after(connection& c, duration think) {
    co_await sleep_for(think);
    refill(c, now());
  }

  /// The first reason counts.
  static void ended_as(connection& c, std::string_view why) {
    if (c.ended.empty()) c.ended = why;
  }
  static void ended_as(connection& c, std::error_code why) {
    ended_as(c, why == std::errc::timed_out ? "timed out" : why.message());
  }

  /// What was asked and is not answered has failed, and the connection goes.
  void lose(connection& c) {
    const auto at = now();
    const auto& why = c.ended;
    const bool at_the_end = over();
    for (auto which = c.asked.oldest(); which < c.asked.next(); ++which)
      if (const auto* one = c.asked.find(which); one != nullptr && !at_the_end) {
        recorder_.failed(one->due, why.empty() ? "the server closed it" : why, at);
        c.free_since = closed_loop() ? at : 0;
      }
    if (c.asked.size() == 0 && !why.empty() && !at_the_end) recorder_.failed(at, why, at);
    if (!at_the_end) c.asked.clear();
    c.out.clear();
    if (c.stream) {
      if (!why.empty() && !at_the_end) c.stream.abort();
      c.stream.close();
    }
  }

  way_there way_;
  semaphore connects_;
  bool by_writer_ = false;
  std::string why_;
  std::vector<std::unique_ptr<connection>> all_;
  std::deque<connection*> free_;
  std::deque<std::int64_t> waiting_;  // open loop: when each was due
};

}  // namespace

std::unique_ptr<shard_load> make_stream_load(run_context& run, shard& here, unsigned index,
                                             clocks& time) {
  return std::make_unique<stream_load>(run, here, index, time);
}

}  // namespace weir::load
