// The transport on our own stack: turns one stack::host's readiness events into completed
// operations, and its packets into frames of the shard's packet device. Works with every driver. It
// makes no system call of its own; time comes from the driver. Frames start with a virtio_net_hdr
// (stack/device/vnet_header.hpp); on an Ethernet link their next bytes are stack/link's.
//
// Each packet's events are handed out at once, so that a reader gets its bytes in the same turn;
// acknowledgements wait for before_wait(), when the replies are queued already: one a connection
// and turn (RFC 9293 MUST-58).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/transport.hpp"
#include "runtime/core/sockets/socket_pool.hpp"
#include "runtime/observe/snapshot.hpp"
#include "runtime/transport/stack/device_watch.hpp"
#include "runtime/transport/stack/lent_marks.hpp"
#include "runtime/transport/stack/sockets_owner.hpp"
#include "runtime/transport/stack/stack_datagrams.hpp"
#include "runtime/transport/stack/stack_settings.hpp"
#include "runtime/transport/stack/stack_watcher.hpp"
#include "weir/detail/mailbox.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

struct owned_write_operation;

class stack_transport final : public transport,
                              public observable,
                              private packet_receiver,
                              private input_owner,
                              private stack::packet_sink,
                              private stack::frame_sink,
                              private stack::shard_waker {
 public:
  /// Throws io_error when the driver cannot open the device.
  stack_transport(driver& completions, stack_settings settings);
  ~stack_transport() override;

  void attach(weir::shard& owner) override;
  std::string_view name() const override { return settings_.name; }

  result<listener_socket*> listen(const endpoint& local, const listen_options& options) override;
  result<listener_socket*> listen_any(const any_destination& where,
                                      const listen_options& options) override;
  bool asks() const noexcept override { return true; }
  bool successor_listens() const noexcept override { return settings_.handover != nullptr; }
  bool leave_to_others(listener_socket& listener) noexcept override;
  void start_answer(answer_operation& op) override;
  void cancel_answer(answer_operation& op) noexcept override;
  void refuse_request(socket_base& request, std::error_code why) noexcept override;
  void start_connect(connect_operation& op) override;
  void cancel_connect(connect_operation& op) noexcept override;
  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base& socket) noexcept override;
  endpoint local_endpoint(const socket_base& socket) const override;
  endpoint remote_endpoint(const socket_base& socket) const override;
  std::error_code set_options(socket_base& socket, const stream_options& options) override;
  datagram_transport* datagrams() noexcept override { return &datagrams_; }
  void before_wait(instant now) override;
  instant next_deadline() const override;
  std::size_t closing() const override;
  void abandon() noexcept override;
  std::error_code failure() const noexcept override { return device_error_; }
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) override;

  /// The same of the host's listener.
  bool leave_to_others(stack::socket_id id) noexcept;

  stack::host& host() { return host_; }
  /// The sockets are the owner's from now on, which outlives every event of theirs.
  void give_sockets_to(sockets_owner& owner) { owner_of_sockets_ = &owner; }
  /// Not before any instant that the host has seen.
  instant time() { return clock(); }
  /// Sockets that streams, listeners and UDP sockets hold.
  std::size_t sockets() const {
    return streams_.taken() + listeners_.size() + datagrams_.sockets();
  }
  const packet_port_counters& device_counters() const { return port_->counters(); }
  /// Null where the device carries IP packets.
  const stack::ethernet_link* link() const { return link_ ? &*link_ : nullptr; }

 private:
  friend struct stack_transport_probe;  // a test that sums what an idle connection costs

  /// A connection, from the first SYN on.
  struct stream final : socket_base {
    enum class role : std::uint8_t { unused, asked, answering, connecting, connected };

    role kind = role::unused;
    std::uint32_t presented = 0;  // bytes that rx_data showed; what is gone of them was read
    stack::socket_id id = stack::socket_id::none;
    // Each kind has one of these.
    union {
      connect_operation* connector = nullptr;  // connecting
      answer_operation* answerer;              // answering
      stream* next_free;                       // unused
    };
  };

  struct listener final : listener_socket {
    stack::socket_id id = stack::socket_id::none;
  };

  /// Another program reads the device, and sends here what is ours.
  struct link_receiver final : packet_receiver {
    explicit link_receiver(stack_transport& t) : home(&t) {}
    void receive(std::span<const std::span<const std::byte>> frames) override;
    void device_failed(std::error_code error) override;

    stack_transport* home;
    std::uint64_t frames_in = 0;
  };

  // packet_receiver
  void receive(std::span<const std::span<const std::byte>> frames) override;
  void device_failed(std::error_code error) override;
  void reading_stopped() override;
  // input_owner
  void give_input(int link) override;
  void take_input_back();
  void empty_link() noexcept;
  void observe_handover(shard_snapshot& into) const;
  // stack::packet_sink
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta& meta) override;
  bool write_packet(std::span<const std::span<const std::byte>> parts,
                    const stack::transmit_meta& meta);
  // stack::frame_sink
  bool send_frame(std::span<const std::byte, stack::wire::ethernet_header> header,
                  std::span<const std::span<const std::byte>> packet,
                  const stack::transmit_meta& meta) override;
  bool write_frame(std::span<const std::byte> headers,
                   std::span<const std::span<const std::byte>> packet);

  // stack::shard_waker: another shard handed something over.
  void wake() noexcept override;
  struct handover_note : message {
    explicit handover_note(stack_transport& t) : message(&stack_transport::on_handover), home(&t) {}
    stack_transport* home;
    std::atomic<bool> sent{false};
  };
  static void on_handover(message& m) noexcept;

  // stream_core, listener_core
  void bring_in(socket_base& socket) override;
  bool lend(socket_base& socket, lent_bytes& lent) override;
  void take_out(socket_base& socket) override;
  std::error_code send_fin(socket_base& socket) noexcept override;
  std::error_code stop_receiving(socket_base& socket) noexcept override;
  void give_up(socket_base& socket, bool reset) noexcept override;
  std::optional<std::error_code> peer_end(const socket_base& socket) const noexcept override;
  std::error_code watch_end(socket_base&) override { return device_error_; }  // handle() looks
  void accept_wanted(listener_socket& socket, accept_operation& op) override;
  void accept_unwanted(listener_socket& socket) noexcept override;
  void stop_listening(listener_socket& socket) noexcept override;

  instant clock();
  stream& make_stream(stack::socket_id id);
  void free_stream(stream& s) noexcept;
  void drain_events();
  void handle(const stack::event& what);
  void serve(listener& l);
  result<listener_socket*> add_listener(const result<stack::socket_id>& id,
                                        const listen_options& options);
  void finish_answer(stream& s, const stack::event& what);
  void finish_connect(stream& s, stack::ready what);
  void forget_presented(stream& s) noexcept;
  std::error_code write_plain(stream& s, write_operation& op);
  std::error_code write_lent(stream& s, const stack::lent_chunk& from, write_operation& op);
  std::error_code write_owned(stream& s, owned_write_operation& op);
  void fail_everything(std::error_code error);

  driver& driver_;
  stack_settings settings_;
  instant now_;
  bool clock_is_stale_ = true;
  bool attached_ = false;
  std::uint64_t behind_ = 0;  // packet_port_counters::cut_short, as last seen
  std::unique_ptr<packet_port> port_;
  link_receiver from_successor_{*this};
  int successor_ = -1;  // the link that is read instead of the device, once the port has stopped
  std::unique_ptr<packet_port> successor_port_;
  bool emptying_ = false;  // the link, until its end
  std::unique_ptr<device_watch> device_watch_;
  std::optional<stack_watcher> watcher_;
  std::optional<stack::ethernet_link> link_;
  stack::host
      host_;  // after the port and the link: what it sends when it goes still has somewhere to go
  std::error_code device_error_;
  handover_note handover_{*this};
  stack_datagrams datagrams_;
  lent_marks lent_marks_;
  sockets_owner* owner_of_sockets_ = nullptr;

  std::vector<std::unique_ptr<listener>> listeners_;
  socket_pool<stream> streams_;
};

}  // namespace weir::detail
