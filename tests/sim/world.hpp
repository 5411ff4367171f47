// Runs one plan: two hosts of the stack on the simulated link, their users, and the checks that are
// made after every step and at the end. Nothing of the runtime takes part; the stack's own calls
// do.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/observe/pcapng.hpp"
#include "sim/end_user.hpp"
#include "sim/plan.hpp"
#include "sim/wire_watch.hpp"
#include "weir/stack/sim.hpp"

namespace sim_test {

class world {
 public:
  /// `pcap` names a file for both hosts' packets; empty: none.
  explicit world(const world_plan& plan, const std::string& pcap = {});
  ~world();

  /// To the end of every connection and of every timer. An error text, or nothing.
  std::string run();
  /// Equal for equal runs.
  std::uint64_t trace() const { return wires_.trace(); }
  weir::instant now() const { return now_; }

 private:
  static constexpr std::uint16_t port = 7;
  class card;
  struct conversation {
    conversation(const connection_plan& p, std::uint64_t number)
        : plan(p),
          users{end_user(p.ends[0], number * 2, number * 2 + 1),
                end_user(p.ends[1], number * 2 + 1, number * 2)} {}
    connection_plan plan;
    std::array<end_user, 2> users;  ///< the client's first
    bool started = false;
    std::error_code refused;  ///< connect() itself failed
  };
  struct owner {
    std::size_t conversation;
    std::size_t end;
  };

  void add_hosts();
  bool turn();
  void settle();
  void happen(const link_event& event);
  void start(std::size_t index);
  void open(std::size_t index, std::size_t end, weir::stack::tcp_options options);
  void accept(std::size_t host);
  bool take_events(std::size_t host);
  weir::instant next() const;
  bool all_over() const;
  void check_step();
  void check_host(std::size_t host);
  void check_conversation(std::size_t index);
  void check_end();
  void fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  std::string name(std::size_t host) const { return host == 0 ? "host a" : "host b"; }
  std::size_t host_of(const conversation& c, std::size_t end) const {
    return static_cast<std::size_t>(c.plan.client) ^ end;
  }
  weir::endpoint address(std::size_t host, bool v6, std::uint16_t at_port) const;

  world_plan plan_;
  weir::sim::fabric wires_;
  std::unique_ptr<weir::detail::pcapng_file> capture_;
  std::array<std::unique_ptr<weir::detail::packet_tap>, 2> taps_;
  std::array<weir::sim::node_id, 2> nodes_{};
  std::array<std::unique_ptr<card>, 2> cards_;
  std::array<std::unique_ptr<weir::stack::host>, 2> hosts_;
  std::array<std::array<weir::stack::socket_id, 2>, 2> listeners_{};
  std::array<weir::instant, 2> accept_at_{};
  std::array<bool, 2> acceptable_{}, touched_{};
  std::array<std::map<weir::stack::socket_id, owner>, 2> owners_;
  std::map<weir::endpoint, std::size_t> by_client_;
  weir::sim::link* link_ = nullptr;
  std::vector<conversation> conversations_;
  std::size_t next_event_ = 0;
  wire_watch watch_;
  weir::instant now_ = weir::instant::from_ns(1'000'000'000);
  weir::instant began_ = now_;
  std::string failure_;
  std::uint64_t steps_ = 0;
};

}  // namespace sim_test
