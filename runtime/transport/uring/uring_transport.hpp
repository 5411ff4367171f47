// Kernel sockets through io_uring. Connections come from a multishot accept; bytes from a multishot
// receive into a shared pool of buffers, or, where that pool is dry or the reads are large,
// straight into the reader's memory, so that a reader that waits never depends on what other
// connections hold. One send per socket is in the kernel's hands at a time; what is written
// meanwhile goes out together in the next.
//
// Never resumes a coroutine, never blocks, allocates nothing per operation. A socket that was given
// up stays here until the last completion of its requests has come.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/backend/adopts_sockets.hpp"
#include "runtime/backend/moves_streams.hpp"
#include "runtime/backend/transport.hpp"
#include "runtime/core/sockets/socket_pool.hpp"
#include "runtime/driver/uring/buffer_pool.hpp"
#include "runtime/observe/snapshot.hpp"
#include "runtime/transport/kernel/end_watch.hpp"
#include "runtime/transport/kernel/kernel_info.hpp"
#include "runtime/transport/kernel/listener_groups.hpp"
#include "runtime/transport/kernel/resident_bytes.hpp"
#include "runtime/transport/uring/uring_datagrams.hpp"
#include "runtime/transport/uring/uring_socket.hpp"
#include "weir/config.hpp"

namespace weir {
class shard_family;
}

namespace weir::detail {

struct uring_transport_counters : kernel::tcp_counters {
  std::uint64_t accept_refused =
      0;  ///< arrived while the queue of unclaimed connections was full: reset
  std::uint64_t no_buffers = 0;       ///< the kernel found the ring of buffers empty
  std::uint64_t withdrawn = 0;        ///< receives that were stopped because the reader was behind
  std::uint64_t stashed = 0;          ///< times unread bytes were copied out of scarce buffers
  std::uint64_t direct_receives = 0;  ///< into the reader's own memory
  std::uint64_t sends = 0;
  std::uint64_t coalesced_sends = 0;  ///< that carried more than one write
  std::uint64_t prompt_sends = 0;     ///< by send(2), for a writer that came right back
};

class uring_transport final : public transport,
                              public adopts_sockets,
                              public moves_streams,
                              public observable,
                              private end_watch::client {
 public:
  struct limits {
    buffer_pool::shape buffers{.least_in_ring = 16};
    unsigned chunks_per_stream = 4;  ///< received and unread, before its receive is withdrawn
    unsigned accept_queue = 64;      ///< accepted by the kernel and unclaimed, per listener
  };

  uring_transport(uring_driver& driver, const config& settings, const limits& wanted,
                  std::shared_ptr<shard_family> family = nullptr);
  ~uring_transport() override;

  void attach(weir::shard& owner) override {
    transport::attach(owner);
    datagrams_.attach(owner);
  }
  bool on_kernel() const noexcept override { return true; }
  std::string_view name() const override { return "uring"; }

  result<listener_socket*> listen(const endpoint& local, const listen_options& options) override;
  void start_connect(connect_operation& op) override;
  void cancel_connect(connect_operation& op) noexcept override;
  void release(lent_bytes& lent) noexcept override { buffers_.give_back(lent.token), lent = {}; }
  void settle(socket_base& socket) noexcept override;

  endpoint local_endpoint(const socket_base& socket) const override;
  endpoint remote_endpoint(const socket_base& socket) const override;
  std::error_code set_options(socket_base& socket, const stream_options& options) override;

  datagram_transport* datagrams() noexcept override { return &datagrams_; }
  void before_wait(instant now) override;
  instant next_deadline() const override { return retry_at_; }
  std::size_t closing() const override { return closing_; }
  void abandon() noexcept override;
  result<listener_socket*> adopt_listener(kernel::unique_fd& listening) override;
  result<socket_base*> adopt_stream(kernel::unique_fd& connected) override;
  result<datagram_socket*> adopt_datagrams(kernel::unique_fd& bound) override {
    return datagrams_.adopt(bound);
  }
  void start_detach(detach_operation& op) override;
  result<socket_base*> attach_stream(detached_socket& moved) override;
  int native_handle(const socket_base& stream) const noexcept override {
    return static_cast<const uring_stream&>(stream).fd;
  }
  bool sends_files(const socket_base&) const noexcept override {
    return !kernel::sigpipe_is_deadly();
  }
  bool leave_to_others(listener_socket& listener) noexcept override;
  int native_listener(const listener_socket& listener) const noexcept override {
    return static_cast<const uring_listener&>(listener).fd;
  }
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) override;

  const uring_transport_counters& counters() const { return counters_; }
  const buffer_pool& buffers() const { return buffers_; }
  std::size_t open_sockets() const { return open_.size() + listeners_.size(); }

  /// A descriptor is about to be free: whoever waits for one need not wait for the clock.
  void descriptor_freed() noexcept;

 private:
  static constexpr std::uint8_t large_reads_in_row = 4;

  static void stream_completed(ring_client& c, unsigned tag, std::int32_t result,
                               std::uint32_t flags) noexcept;
  static void listener_completed(ring_client& c, unsigned tag, std::int32_t result,
                                 std::uint32_t flags) noexcept;
  static uring_transport& home_of(socket_base& s) { return static_cast<uring_transport&>(*s.at); }

  // stream_core, of the peer's end
  std::optional<std::error_code> peer_end(const socket_base& s) const noexcept override {
    return end_watch::end_of(native_handle(s));
  }
  std::error_code watch_end(socket_base& s) override { return ends_.want(native_handle(s), s); }
  void unwatch_end(socket_base& s) noexcept override { ends_.forget(native_handle(s)); }
  void end_may_be_there(socket_base& s) override { look_for_end(s); }

  // uring_transport.cpp: streams as such
  uring_stream& new_stream(int fd);
  uring_stream* accepted_stream(uring_listener& l, int fd) noexcept;
  void request_ended(uring_stream& s) noexcept;
  void give_up(socket_base& socket, bool reset) noexcept override;
  void finish_close(uring_stream& s) noexcept;
  void free_stream(uring_stream& s) noexcept;
  void close_descriptor(int fd) noexcept;
  void cancel_all(uring_stream& s) noexcept;
  std::error_code send_fin(socket_base& s) noexcept override;
  std::error_code stop_receiving(socket_base& s) noexcept override;

  // uring_moving.cpp
  void finish_detach(uring_stream& s) noexcept;
  result<uring_stream*> take_in(kernel::unique_fd& connected, const endpoint& local,
                                const endpoint& remote);

  // uring_listen.cpp
  kernel::listener_groups& groups() const;
  void accept_wanted(listener_socket& socket, accept_operation& op) override;
  bool accepting_elsewhere(listener_socket& socket, accept_operation& op) noexcept override;
  void stop_listening(listener_socket& socket) noexcept override;
  void arm_accept(uring_listener& l) noexcept;
  void withdraw_accept(uring_listener& l) noexcept;
  void on_accept(uring_listener& l, std::int32_t result, std::uint32_t flags) noexcept;
  void accept_failed(uring_listener& l, int error) noexcept;
  void take_connection(uring_listener& l, int fd) noexcept;
  void retry_accepts(instant now) noexcept;
  void finish_listener(uring_listener& l) noexcept;
  void refuse(int fd) noexcept;
  void adopt(std::uint64_t member, const endpoint& local, int fd) noexcept;
  void leave_group(uring_listener& l) noexcept;
  void on_connect(uring_stream& s, std::int32_t result) noexcept;
  uring_listener& add_listener(kernel::unique_fd listening, std::uint32_t backlog, sharing how);

  // uring_observe.cpp
  void observe_listener(const uring_listener& l, listener_snapshot& out) const;
  void observe_stream(const uring_stream& s, connection_snapshot& out) const;

  // uring_receive.cpp
  void bring_in(socket_base& socket) override;
  bool reading_elsewhere(socket_base& socket, bool end_early) noexcept override;
  bool lend(socket_base& socket, lent_bytes& lent) override;
  void forget_lending(socket_base& socket) noexcept override;
  bool wants_direct(const uring_stream& s) const noexcept;
  void arm_direct(uring_stream& s, std::span<std::byte> into) noexcept;
  void arm_lent(uring_stream& s) noexcept;
  void withdraw(uring_stream& s) noexcept;
  void on_multishot(uring_stream& s, std::int32_t result, std::uint32_t flags) noexcept;
  void on_direct(uring_stream& s, std::int32_t result) noexcept;
  void receive_ended(uring_stream& s, std::int32_t result) noexcept;
  void append_chunk(uring_stream& s, unsigned id, std::uint32_t size) noexcept;
  void next_chunk(uring_stream& s) noexcept;
  void drop_chunks(uring_stream& s) noexcept;
  std::unique_ptr<std::byte[]> copy_unread(uring_stream& s, std::uint32_t& size) noexcept;
  void stash_unread(uring_stream& s) noexcept;
  void wait_for_buffer(uring_stream& s) noexcept;
  void serve_buffer_queue() noexcept;

  // uring_send.cpp
  void take_out(socket_base& socket) override;
  std::size_t take_from_file(socket_base& socket, const file_range& range) noexcept override;
  bool writing_elsewhere(socket_base& socket, const write_operation& op) noexcept override;
  bool send_at_once(uring_stream& s) noexcept;
  void submit_send(uring_stream& s) noexcept;
  void on_send(uring_stream& s, std::int32_t result) noexcept;

  struct chunk {
    std::uint32_t size;
    std::uint16_t next;
  };

  uring_driver& driver_;
  const config& settings_;
  std::shared_ptr<shard_family> family_;
  uring_datagrams datagrams_;
  limits limits_;
  buffer_pool buffers_;
  std::vector<chunk> chunks_;                          // one for each buffer
  stack::intrusive_queue<uring_stream> buffer_queue_;  // lending readers, while no buffer is left
  socket_pool<uring_stream> streams_;
  std::vector<std::unique_ptr<send_batch>> batches_;
  stack::intrusive_queue<send_batch> free_batches_;
  std::vector<std::unique_ptr<uring_listener>> listeners_;
  stack::intrusive_list<uring_stream> open_;  // every one that has a descriptor or a request
  std::size_t closing_ = 0;
  instant retry_at_ = instant::never();  // of the listeners
  uring_transport_counters counters_;
  end_watch ends_{driver_, *this};
};

}  // namespace weir::detail
