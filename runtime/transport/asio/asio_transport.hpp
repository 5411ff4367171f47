// The transport on kernel sockets through Asio: one shard's sockets, the buffers that it lends, and
// the listeners that wait for a descriptor. The transfers themselves are asio_socket's.
#pragma once

#include <memory>
#include <vector>

#include "observe/snapshot.hpp"
#include "transport/asio/asio_datagrams.hpp"
#include "transport/asio/asio_socket.hpp"
#include "transport/kernel/adopts_listener.hpp"
#include "transport/kernel/listener_groups.hpp"
#include "weir/detail/transport.hpp"

namespace weir {
class shard_family;
}

namespace weir::detail {

class asio_driver;

/// Buffers for receive(). Made when first needed, bounded, taken last in first out so that the hot
/// one is used again.
class lending_pool {
 public:
  static constexpr std::size_t buffer_size = 64 * 1024;
  static constexpr std::size_t buffer_limit = 64;

  /// Null when all are lent.
  std::byte* take();
  void give_back(std::byte* buffer) noexcept;
  bool available() const { return !free_.empty() || made_.size() < buffer_limit; }
  std::size_t lent() const { return made_.size() - free_.size(); }

 private:
  std::vector<std::unique_ptr<std::byte[]>> made_;
  std::vector<std::byte*> free_;
};

struct asio_transport_counters {
  std::uint64_t accepted = 0;
  std::uint64_t connected = 0;
  std::uint64_t accept_exhausted =
      0;  ///< times a listener had to wait for a descriptor or for memory
  std::uint64_t lending_starved = 0;  ///< times a receive() had to wait for a buffer
  std::uint64_t heap_handlers = 0;  ///< handlers that did not fit into their socket; 0 is expected
};

class asio_transport final : public transport, public kernel::adopts_listener, public observable {
 public:
  asio_transport(asio_driver& completions, const config& settings,
                 std::shared_ptr<shard_family> family = nullptr);
  ~asio_transport() override;

  void attach(weir::shard& owner) override {
    owner_ = &owner;
    datagrams_.attach(owner);
  }
  std::string_view name() const override { return "asio"; }
  result<socket_base*> listen(const endpoint& local, const listen_options& options) override;
  void start_accept(accept_operation& op) override;
  void start_connect(connect_operation& op) override;
  void start_read(read_operation& op) override;
  void start_write(write_operation& op) override;
  void cancel_accept(accept_operation& op) noexcept override;
  void cancel_connect(connect_operation& op) noexcept override;
  void cancel_read(read_operation& op) noexcept override;
  void cancel_write(write_operation& op) noexcept override;
  std::error_code shutdown_send(socket_base& socket) noexcept override;
  void close(socket_base& socket) noexcept override;
  void abort(socket_base& socket) noexcept override;
  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base*) noexcept override {}  // nothing is ever queued in front of a reader
  endpoint local_endpoint(const socket_base& socket) const override;
  endpoint remote_endpoint(const socket_base& socket) const override;
  std::error_code set_options(socket_base& socket, const stream_options& options) override;
  datagram_transport* datagrams() noexcept override { return &datagrams_; }
  void before_wait(instant now) override;
  instant next_deadline() const override { return retry_at_; }
  std::size_t closing() const override { return closing_ + datagrams_.closing(); }
  void abandon() noexcept override;
  result<socket_base*> adopt_listener(kernel::unique_fd listening) override;
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) override;

  const asio_transport_counters& counters() const { return counters_; }
  const asio_datagrams& datagram_sockets() const { return datagrams_; }

  // --- For its sockets.

  asio_driver& completions() const { return *driver_; }
  weir::shard* owner() const { return owner_; }
  instant now() const { return now_; }
  asio_transport_counters& count() { return counters_; }
  lending_pool& lending() { return lending_; }
  kernel::listener_groups& groups();
  void adopt(std::uint64_t member, const endpoint& local, int fd);
  void note_grouped(asio_listener& listener) { grouped_.push_back(&listener); }
  void forget_grouped(asio_listener& listener) noexcept { std::erase(grouped_, &listener); }
  void enter(asio_socket& socket) noexcept;
  void leave(asio_socket& socket) noexcept;
  void closing_begins() noexcept;
  void wait_for_descriptor(asio_listener& listener) noexcept;
  void forget_exhausted(asio_listener& listener) noexcept;
  void wait_for_buffer(asio_stream& stream) noexcept;
  void forget_starved(asio_stream& stream) noexcept;

 private:
  result<socket_base*> add_listener(kernel::unique_fd listening, sharing how);

  asio_driver* driver_;
  const config* settings_;
  std::shared_ptr<shard_family> family_;
  asio_datagrams datagrams_;
  weir::shard* owner_ = nullptr;
  asio_socket* sockets_ = nullptr;
  std::size_t closing_ = 0;
  std::vector<asio_listener*> grouped_;
  asio_listener* exhausted_ = nullptr;
  instant retry_at_ = instant::never();
  instant now_;
  asio_stream* first_starved_ = nullptr;
  asio_stream* last_starved_ = nullptr;
  lending_pool lending_;
  asio_transport_counters counters_;
};

}  // namespace weir::detail
