// The engine of a load on one shard: connects, waits for the other shards, asks (as often as the
// plan says, or as soon as it is answered), and writes down what happens. Written against weir's
// public headers alone, so that it runs on every back end, and in a simulation under virtual time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "load/arrivals.hpp"
#include "load/control.hpp"
#include "load/outcome.hpp"
#include "load/plan.hpp"
#include "load/recorder.hpp"
#include "load/rendering.hpp"
#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir::load {

/// What happens at the window's edges and while it is open, on shard 0.
struct hooks {
  std::function<void()> begins = [] {};
  std::function<void()> ends = [] {};
  /// Of each slice: shard 0's part of it, and what all shards have counted since they began.
  std::function<void(const slice& mine, std::uint64_t answers, std::uint64_t errors)> progress =
      [](const slice&, std::uint64_t, std::uint64_t) {};
  /// Where other machines load, too: asked from when this one is warm until it says when the window
  /// begins. Throws to call the run off. Unset: it begins at once.
  std::function<std::optional<std::int64_t>()> agreed_begin = {};
};

/// Of one run. Outlives the shards' tasks.
struct run_context {
  run_context(const plan& p, unsigned n) : of(p), requests(p), shards(n), shared(n) {}
  const plan& of;
  request_source requests;
  unsigned shards;
  control shared;
  load::hooks hooks;
};

/// A load on one shard; `into` gets its part.
task<> run_on_shard(run_context& run, shard& here, unsigned index, clocks& time, outcome& into);

class shard_load {
 public:
  shard_load(run_context& run, shard& here, unsigned index, clocks& time);
  virtual ~shard_load() = default;
  shard_load(const shard_load&) = delete;
  shard_load& operator=(const shard_load&) = delete;

  task<> run();
  outcome& seen() { return recorder_.seen(); }

 protected:
  static constexpr std::size_t most_waiting = 1 << 20;  // requests without a connection

  /// Starts what connects and asks.
  virtual void begin() = 0;
  /// Open loop: a request is due, or was when `due` says.
  virtual void assign(std::int64_t due) = 0;
  /// Requests that are not answered, or not even sent.
  virtual std::size_t owed() const = 0;
  /// At the end: names what is still owed.
  virtual void settle() = 0;

  std::int64_t now() { return time_.now().ns(); }
  bool over() {
    return now() >= control_.end.load(std::memory_order_relaxed) ||
           control_.abandon.load(std::memory_order_relaxed);
  }
  bool closed_loop() const { return plan_.mode == loop::closed; }
  /// Connections of this shard: index, index + shards, ...
  unsigned share() const {
    return plan_.connections / shards_ + (index_ < plan_.connections % shards_ ? 1 : 0);
  }
  /// Waits until requests may begin; false: they will not.
  task<bool> started();
  void one_is_ready();
  void give_up(std::string why);

  run_context& run_;
  const plan& plan_;
  control& control_;
  shard& shard_;
  unsigned index_, shards_;
  clocks& time_;
  recorder recorder_;
  scope work_;
  unsigned ready_ = 0;  // connections that stand

 private:
  task<> until(std::int64_t at);
  task<> pace();
  task<> watch_window();
  task<> drain();
  task<> direct();
  task<> warm_up();
  task<std::int64_t> agreed_begin();
  task<> stand_by();
  event all_ready_;
  event go_;
};

std::unique_ptr<shard_load> make_stream_load(run_context& run, shard& here, unsigned index,
                                             clocks& time);
std::unique_ptr<shard_load> make_datagram_load(run_context& run, shard& here, unsigned index,
                                               clocks& time);

}  // namespace weir::load
