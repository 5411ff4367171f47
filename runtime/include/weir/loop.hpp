// A shard in an event loop that the program has already: a plain epoll loop, a library's, or an
// Asio io_context. The loop watches one descriptor and one deadline and calls turn(); an io_context
// does that by itself.
//
//   weir::embedded_shard here(settings);  // on the loop's thread
//   here.serve(serve);
//   while (!here.ended()) {
//     epoll_wait(loop, events, most, here.poll_timeout());  // watches here.descriptor()
//     here.turn();
//   }
//
// Signals, threads and the end of the program are the program's own: nothing here is run()'s.
#pragma once

#include <exception>
#include <functional>
#include <memory>

#include "weir/config.hpp"
#include "weir/shard.hpp"
#include "weir/task.hpp"

namespace weir {

/// Somebody's Asio io_context: weir::on(context), of weir/asio.hpp.
struct asio_context {
  void* io_context;
};

class embedded_shard {
 public:
  /// For a loop that watches a descriptor, on whose thread this is made, used and destroyed: back
  /// end uring, or stack where its device goes through io_uring. Elsewhere it throws io_error,
  /// operation_not_supported. Throws what make_shard() throws.
  explicit embedded_shard(config settings);
  /// On an io_context that outlives it, and that one thread runs, this one: back end asio (auto
  /// is asio here), else operation_not_supported. The io_context does all by itself, and run() does
  /// not return before the shard has ended.
  embedded_shard(asio_context where, config settings);
  /// Cancels what still runs here, and waits for its end. What waits in the io_context may run
  /// meanwhile.
  ~embedded_shard();
  embedded_shard(const embedded_shard&) = delete;
  embedded_shard& operator=(const embedded_shard&) = delete;

  /// Between turns the loop's own code speaks to the shard as any thread may: request_stop(),
  /// request_cancel(), post().
  weir::shard& shard();

  /// Starts `serve` on the shard; any number of times. Its end, or its exception, goes to `on_end`,
  /// from inside a turn; without one an exception is logged and cancels the rest.
  void serve(std::function<task<>(weir::shard&)> serve,
             std::function<void(std::exception_ptr)> on_end = {});
  /// Nothing runs here any more, and closed connections have delivered what they had, or had their
  /// time (stop.linger_ms).
  bool ended() const;
  /// An exception of a serve() without `on_end` came here.
  bool failed() const;

  // --- For the loop that watches a descriptor.

  /// Readable when turn() has something to do. Any kind of poll; stays the shard's.
  int descriptor() const;
  /// Does what there is to do, without waiting. Not only when the descriptor is readable: also at
  /// the deadline, and as often as one likes. Not from inside a coroutine.
  void turn();
  /// When turn() is due though the descriptor tells nothing; instant{}: now. To be asked after each
  /// turn: a turn leaves work for the next one, so that the loop's other work gets its share.
  instant next_deadline() const;
  /// The same for poll(2) and epoll_wait(2): milliseconds from now, rounded up, -1 for never.
  int poll_timeout() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir
