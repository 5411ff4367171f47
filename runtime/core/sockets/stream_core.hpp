// What every transport does alike with a connected stream: one read waits, writes queue and are
// carried out whole and in order, a half-close follows what was written, and the end of a
// connection is said by each later use, not only by the first. A transport derives from it and
// keeps what its kernel or stack makes different: bringing bytes in, taking bytes out, lending,
// closing.
//
// Never resumes a coroutine; makes no system call; allocates nothing.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <system_error>

#include "weir/detail/home.hpp"

namespace weir::detail {

class stream_core : public home {
 public:
  void start_read(read_operation& op) final;
  void cancel_read(read_operation& op) noexcept final;
  void start_write(write_operation& op) final;
  void cancel_write(write_operation& op) noexcept final;
  void start_peer_end(peer_end_operation& op) override;
  void cancel_peer_end(peer_end_operation& op) noexcept override;
  std::error_code shutdown_send(socket_base& s) noexcept final;
  std::error_code shutdown_receive(socket_base& s) noexcept final;
  std::size_t send_from_file(socket_base& s, const file_range& range) noexcept final;
  void close(socket_base& s) noexcept final { give_up(s, false); }
  void abort(socket_base& s) noexcept final { give_up(s, true); }

 protected:
  // --- The transport's part.

  /// A read waits and rx_data is empty: bytes shall come. Asked again whenever the read goes on
  /// waiting, so it may find that they are coming already. bytes_came() or receiving_over()
  /// follows, from inside or later.
  virtual void bring_in(socket_base& s) = 0;
  /// Whether somebody else (the kernel) may still write to the waiting read's memory. Then
  /// bytes_came() follows when they have let go; `end_early` asks to hurry.
  virtual bool reading_elsewhere(socket_base&, [[maybe_unused]] bool end_early) noexcept {
    return false;
  }
  /// Lends the head of rx_data, or a copy of it. False: no buffer is left now; the transport
  /// remembers who waits and says bytes_came() when there is one.
  virtual bool lend(socket_base& s, lent_bytes& lent) = 0;
  /// The waiting read has gone, or will want no buffer.
  virtual void forget_lending(socket_base&) noexcept {}

  /// Writes wait, and none of them is elsewhere: bytes shall go, from the first on. sent() and
  /// writes_released() follow, from inside or later.
  virtual void take_out(socket_base& s) = 0;
  /// Whether this write is in somebody else's hands; then writes_released() follows; it hurries.
  virtual bool writing_elsewhere(socket_base&, const write_operation&) noexcept { return false; }
  /// No write waits, and more may be sent: send_from_file().
  virtual std::size_t take_from_file(socket_base&, const file_range&) noexcept { return 0; }
  /// No write waits: the sending direction ends now.
  virtual std::error_code send_fin(socket_base& s) noexcept = 0;

  /// What still comes is nobody's. What rx_data shows is dropped after it.
  virtual std::error_code stop_receiving(socket_base&) noexcept {
    return std::make_error_code(std::errc::operation_not_supported);
  }

  /// Nothing while the peer may send; else why the connection broke, or no error. Of what is
  /// beyond rx_data and unread.
  virtual std::optional<std::error_code> peer_end(const socket_base&) const noexcept {
    return std::nullopt;
  }
  /// Somebody waits for it: look_for_end() follows when it may be there, until unwatch_end().
  virtual std::error_code watch_end(socket_base&) {
    return std::make_error_code(std::errc::operation_not_supported);
  }
  virtual void unwatch_end(socket_base&) noexcept {}

  /// The handle is gone, no operation waits.
  virtual void give_up(socket_base& s, bool reset) noexcept = 0;

  // --- What the transport says.

  /// rx_data holds something, the waiting read was given bytes directly, or a buffer to lend.
  void bytes_came(socket_base& s);
  /// Nothing more will come after rx_data: the peer's end, or the connection's. For settle(), which
  /// leaves it to its caller to look.
  static void note_end(socket_base& s, std::error_code why = {}) noexcept;
  void receiving_over(socket_base& s, std::error_code why = {}) {
    note_end(s, why);
    look_for_end(s);
    bytes_came(s);
  }
  void look_for_end(socket_base& s) {
    if (s.end_awaited) tell_end(s);
  }

  /// `n` bytes of the first writes have gone.
  void sent(socket_base& s, std::size_t n);
  /// No write is elsewhere any more. The first one may go on.
  void writes_released(socket_base& s);
  /// The connection takes no more, for a reason that ends it or for broken_pipe.
  void sending_failed(socket_base& s, std::error_code why);
  /// The connection is over for whoever waits, and later.
  void fail(socket_base& s, std::error_code why);

  /// Of the waiting writes, the parts to send next; none behind or together with one that reports
  /// what the first call took, or passes descriptors. Only what it gives is written to `into`.
  struct gathered {
    std::size_t parts = 0;
    std::size_t bytes = 0;
    std::uint32_t writes = 0;
    bool more = false;  ///< follows the last of them at once
  };
  static gathered gather(const socket_base& s, std::span<std::span<const std::byte>> into);

  /// What ended the connection, as each later use says it.
  static std::error_code failure_of(const socket_base& s);
  /// One connection is in two sockets' hands, one after the other: which bytes are unread, what has
  /// ended of it, and how, goes along. The memory of these bytes is the caller's to pass.
  static void pass_on(socket_base& from, socket_base& to) noexcept;

 private:
  std::optional<std::error_code> known_end(const socket_base& s) const noexcept;
  void tell_end(socket_base& s);
  static void note_failure(socket_base& s, std::error_code why) noexcept;
  bool finish_read(socket_base& s);
  void drop_received(socket_base& s);
  void pop_writer(socket_base& s, std::error_code outcome) noexcept;
  void after_writes(socket_base& s) noexcept;

  stack::intrusive_queue<peer_end_operation> end_waiters_;
};

}  // namespace weir::detail
