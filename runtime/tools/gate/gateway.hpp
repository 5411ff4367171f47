// The gateway: everything that a guest asks of anybody, carried by the host's ordinary sockets. TCP
// is answered only once the other side is connected, so that the guest is told the truth; UDP flows
// end when they are idle; published ports lead inwards.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/two_ways.hpp"
#include "runtime/tools/gate/flow_log.hpp"
#include "runtime/tools/gate/guest.hpp"
#include "runtime/tools/gate/published.hpp"
#include "runtime/tools/gate/rules.hpp"
#include "runtime/tools/gate/slirp_api.hpp"
#include "runtime/tools/gate/upstream.hpp"
#include "stack/link/ethernet_link.hpp"
#include "weir/relay.hpp"
#include "weir/request.hpp"
#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/udp.hpp"
#include "weir/unix.hpp"

namespace weir::gate {

struct gateway_options {
  gate::policy policy;
  std::vector<published> publish;
  guest_network network;
  std::uint32_t max_flows = 0;  ///< TCP connections, and UDP flows of each family
  duration udp_idle = std::chrono::seconds(60);
  std::optional<gate::upstream> upstream;  ///< the only way out, where there is one
  std::string api_socket;                  ///< the path of slirp4netns's; empty: none
};

class gateway final : private published_ports, private detail::relay_told {
 public:
  static constexpr const char* network_name = "guest";

  /// `device` is given to the shard as a network of that name. All outlive this. Throws io_error.
  gateway(shard& here, const gateway_options& options, guest_device device, flow_log& log);

  /// Begins; listens on the published ports first. Throws io_error.
  void open();
  /// What was closed may still deliver for so long.
  task<> close(duration linger);

 private:
  /// One of the TCP connections that there may be, from the first word of it until it is over.
  class place {
   public:
    explicit place(std::uint32_t& taken) : taken_(&taken) { ++*taken_; }
    place(place&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
    place& operator=(place&&) = delete;
    ~place() {
      if (taken_ != nullptr) --*taken_;
    }
    /// Whoever gives it back is somebody else from now on.
    void pass_on() { taken_ = nullptr; }

   private:
    std::uint32_t* taken_;
  };

  task<> accept_requests(tcp_listener listener);
  task<> begin(connection_request asked, place own);
  task<bool> connect_both(connection_request asked, flow_line& line, tcp_stream& inside,
                          tcp_stream& outside);
  task<std::error_code> leave(endpoint to, tcp_stream& outside);
  task<> accept_flows(udp_flow_listener listener);
  task<> carry_datagrams(udp_socket inside);
  task<relay_result> carry_answers(tcp_stream inside, tcp_stream outside);
  void note_answer(std::span<const std::byte> message);
  task<> carry_names(udp_socket inside, endpoint resolver, flow_line& line);
  task<> accept_echoes(udp_flow_listener listener);
  task<> carry_echoes(udp_socket inside);
  task<> publish_tcp(tcp_listener listener, published how);
  task<> begin_inwards(tcp_stream outside, published how, place own);
  void carry(tcp_stream inside, tcp_stream outside, const flow_line& line, place own);
  void relay_over(const relay_result& result, void* note) noexcept override;
  task<> publish_udp(udp_socket outside, published how);

  /// A published port, and who listens on it.
  struct open_one {
    open_one(shard& here, const published& to) : how(to), tasks(here) {}
    published how;
    scope tasks;
  };
  // published_ports
  result<std::uint64_t> add(const published& how) override;
  bool remove(std::uint64_t id) override;
  std::vector<entry> list() const override;
  ip_address guest_for(const ip_address& outside) const override {
    return guest_at(outside.family(), 0).address;
  }
  std::uint64_t open_port(const published& how);
  task<> join_ending_ports();
  task<> close_ports();
  task<> serve_api(unix_listener listener);
  task<> answer_api(unix_stream caller);

  endpoint guest_at(ip_family family, std::uint16_t port) const;
  void offer_network(guest_device device);
  stack::link_options guest_link(std::uint16_t mtu) const;

  shard& here_;
  const gateway_options& options_;
  flow_log& log_;
  name_book names_;
  std::uint32_t flows_ = 0;  // TCP connections, also those that are not there yet
  scope streams_, others_;
  std::map<std::uint64_t, std::unique_ptr<open_one>> ports_;  // by id
  std::vector<std::unique_ptr<open_one>> ending_;             // taken back, not free yet
  std::uint64_t last_port_ = 0;
};

/// Whether this host lets its users ping; says why not.
bool may_carry_echoes();

/// How a flow that ended with this is spoken of.
std::string words_of(std::error_code why);

}  // namespace weir::gate
