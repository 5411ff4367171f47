// A load over datagrams: each "connection" is a socket tied to the target. What is not answered in
// time is lost, and an error.
#include <algorithm>
#include <vector>

#include "load/engine.hpp"
#include "load/in_flight.hpp"
#include "load/protocol.hpp"
#include "load/reach.hpp"
#include "weir/error.hpp"
#include "weir/timing.hpp"
#include "weir/udp.hpp"

namespace weir::load {
namespace {

constexpr auto look_for_losses = std::chrono::milliseconds(10);

struct talk {
  unsigned number = 0;
  udp_socket socket;
  std::unique_ptr<datagram_protocol> speaks;
  in_flight asked;
  std::uint64_t unwritten = 0;
  std::string out;
  event wake;
  bool open = false;
};

class datagram_load : public shard_load {
 public:
  using shard_load::shard_load;

 protected:
  void begin() override {
    for (unsigned i = 0; i < share(); ++i) {
      auto& made = *all_.emplace_back(std::make_unique<talk>());
      made.number = index_ + i * shards_;
      made.speaks = make_datagrams(plan_, made.number);
      work_.spawn(live(made));
    }
    work_.spawn(watch_losses());
  }
  void assign(std::int64_t due) override {
    for (std::size_t tried = 0; tried < all_.size(); ++tried) {
      talk& t = *all_[turn_];
      turn_ = (turn_ + 1) % all_.size();
      if (!t.open || t.asked.size() >= plan_.depth) continue;
      recorder_.waiting(false, due);
      return give(t, due, due);
    }
    if (waiting_.size() < most_waiting)
      waiting_.push_back(due);
    else
      recorder_.failed(due, "never sent: too many waited", now());
  }
  std::size_t owed() const override {
    std::size_t sum = waiting_.size();
    for (const auto& t : all_) sum += t->asked.size();
    return sum;
  }
  void settle() override {
    for (const auto due : waiting_) recorder_.unfinished(due);
    for (const auto& t : all_)
      for (auto which = t->asked.oldest(); which < t->asked.next() && !closed_loop(); ++which)
        if (const auto* one = t->asked.find(which)) recorder_.unfinished(one->due);
  }

 private:
  void give(talk& t, std::int64_t due, std::int64_t could) {
    t.asked.add({.due = due, .could = could, .written = 0, .think = 0, .open = true});
    t.wake.set();
  }
  void refill(talk& t, std::int64_t at) {
    while (closed_loop() && t.asked.size() < plan_.depth) give(t, at, at);
    while (!waiting_.empty() && t.asked.size() < plan_.depth) {
      const auto due = waiting_.front();
      waiting_.pop_front();
      give(t, due, std::max(due, at));
    }
    if (!closed_loop() && waiting_.empty()) recorder_.waiting(false, at);
  }

  task<> live(talk& t) {
    try {
      const auto where = co_await address_of(plan_.to);
      t.socket = shard_.connect_udp(where);
    } catch (const io_error& error) {
      give_up(error.what());
      co_return;
    }
    recorder_.connected();
    one_is_ready();
    const bool go = co_await started();
    if (!go) co_return;
    t.open = true;
    scope pair(shard_);
    pair.spawn(write_on(t));
    refill(t, now());
    co_await read_on(t);
    pair.cancel();
    co_await pair.drain(duration());
  }

  task<> write_on(talk& t) {
    for (;;) {
      co_await t.wake.wait();
      t.wake.reset();
      while (t.unwritten < t.asked.next()) {
        const auto which = t.unwritten++;
        auto* one = t.asked.find(which);
        if (one == nullptr) continue;
        t.speaks->ask(which, t.out);
        recorder_.wrote(*one, t.out.size(), now());
        auto sent = co_await t.socket.send(std::as_bytes(std::span(t.out))).nothrow();
        if (sent.ec == std::errc::operation_canceled) co_return;
        // An earlier one met nobody: the read tells, and this one is asked again by its loss.
      }
    }
  }

  task<> read_on(talk& t) {
    std::vector<std::byte> buffer(udp_socket::max_payload);
    for (;;) {
      auto came = co_await t.socket.receive(buffer).nothrow();
      if (came.ec == std::errc::operation_canceled) co_return;
      const auto at = now();
      if (came.ec == std::errc::message_size) came.ec = {};
      if (came.ec) {
        fail_oldest(t, came.ec.message(), at);
        continue;
      }
      recorder_.received(came.n, at);
      const step got = t.speaks->feed(std::span(buffer).first(came.n), t.asked.oldest());
      auto* one = got.what == step::kind::more ? nullptr : t.asked.find(got.which);
      if (one == nullptr) continue;
      if (got.what == step::kind::answered)
        recorder_.answered(*one, at);
      else
        recorder_.failed(one->due, got.why, at);
      t.asked.close(got.which);
      refill(t, at);
    }
  }

  void fail_oldest(talk& t, const std::string& why, std::int64_t at) {
    auto* one = t.asked.find(t.asked.oldest());
    if (one == nullptr || one->written == 0) return;
    recorder_.failed(one->due, why, at);
    t.asked.close(t.asked.oldest());
    refill(t, at);
  }

  task<> watch_losses() {
    for (;;) {
      co_await sleep_for(look_for_losses);
      const auto at = now();
      for (auto& t : all_)
        for (;;) {
          const auto* one = t->asked.find(t->asked.oldest());
          if (one == nullptr || one->written == 0 || at - one->written <= plan_.timeout.count())
            break;
          fail_oldest(*t, "lost: no answer in time", at);
        }
    }
  }

  std::vector<std::unique_ptr<talk>> all_;
  std::deque<std::int64_t> waiting_;
  std::size_t turn_ = 0;
};

}  // namespace

std::unique_ptr<shard_load> make_datagram_load(run_context& run, shard& here, unsigned index,
                                               clocks& time) {
  return std::make_unique<datagram_load>(run, here, index, time);
}

}  // namespace weir::load
