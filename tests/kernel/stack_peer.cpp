// See stack_peer.hpp.
#include "kernel/stack_peer.hpp"

namespace kernel_test {

using weir::stack::ready;
using weir::stack::socket_id;

class stack_peer::card final : public weir::stack::packet_sink {
 public:
  card(weir::sim::fabric& fabric, weir::sim::node_id node) : fabric_(fabric), node_(node) {}
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const weir::stack::transmit_meta&) override {
    fabric_.send(node_, parts);
    return true;
  }

 private:
  weir::sim::fabric& fabric_;
  weir::sim::node_id node_;
};

stack_peer::stack_peer(const peer_options& options) : options_(options), wire_(options.seed) {
  std::vector<std::string> addresses{"198.18.0.1/24"};
  if (options.mtu >= 1280) addresses.push_back("fd00:198:18::1/64");  // RFC 8200 5
  device_ = std::make_unique<weir::stack::tun_device>(open_device("weir0", addresses, options.mtu));
  auto& fabric = wire_.fabric();
  auto kernel =
      wire_.attach(*device_, "kernel",
                   {*weir::ip_address::parse(kernel_v4), *weir::ip_address::parse(kernel_v6)});
  weir::stack::host_options how;
  how.addresses = {*weir::ip_prefix::parse("198.18.0.2/24")};
  if (options.mtu >= 1280) how.addresses.push_back(*weir::ip_prefix::parse("fd00:198:18::2/64"));
  how.mtu = options.mtu;
  how.secret[0] = static_cast<std::uint8_t>(options.seed);
  how.tcp = options.tcp;
  auto ours = fabric.add_node(
      "stack", {*weir::ip_address::parse(address_v4), *weir::ip_address::parse(address_v6)},
      [this](std::span<const std::byte> packet) { host_->input(wire_.fabric().now(), packet); });
  link_ = &fabric.join(kernel, ours, options.way);
  card_ = std::make_unique<card>(fabric, ours);
  host_ = std::make_unique<weir::stack::host>(how, *card_);
  for (const auto& prefix : how.addresses)
    if (auto made = host_->listen({prefix.address, 7}); !made)
      throw std::runtime_error("listen: " + made.error().message());
  thread_ = std::thread([this] { main(); });
}

stack_peer::~stack_peer() {
  stop_ = true;
  thread_.join();
}

void stack_peer::on_thread(const std::function<void()>& f) {
  call_ = &f;
  while (call_ != nullptr) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void stack_peer::main() {
  while (!stop_) {
    auto until = host_->next_deadline();
    for (const auto& user : users_) until = std::min(until, user.next());
    wire_.carry(until);
    turn();
    if (const auto* f = call_.load()) {
      (*f)();
      host_->flush(wire_.fabric().now());
      call_ = nullptr;
    }
  }
}

void stack_peer::turn() {
  auto now = wire_.fabric().now();
  if (host_->next_deadline() <= now) host_->advance(now);
  take_events();
  for (auto& user : users_)
    if (user.next() <= now) user.run(now, *host_);
  host_->flush(now);
}

void stack_peer::take_events() {
  weir::stack::event event;
  while (host_->next_event(event)) {
    if (any(event.what, ready::acceptable)) {
      for (;;) {
        auto made = host_->accept(event.socket);
        if (!made) break;
        echoes_[*made] = {};
      }
      continue;
    }
    if (auto found = by_id_.find(event.socket); found != by_id_.end())
      users_[found->second].on_event(event.what);
    else if (auto session = echoes_.find(event.socket); session != echoes_.end())
      serve(event.socket, session->second);
  }
}

// Sends back what is there, as far as there is room; the rest when there is.
void stack_peer::serve(socket_id id, echo& session) {
  auto now = wire_.fabric().now();
  for (;;) {
    auto head = host_->peek(id);
    if (head.empty()) break;
    const std::span<const std::byte> parts[] = {head};
    auto taken = host_->send(now, id, parts);
    if (!taken) {
      if (taken.error() == std::errc::operation_would_block) return;
      host_->abort(now, id);
      echoes_.erase(id);
      return;
    }
    host_->consume(now, id, *taken);
  }
  if (!host_->at_end(id) && !host_->error(id)) return;
  session.shut = true;
  host_->close(now, id);
  echoes_.erase(id);
}

std::string stack_peer::exchange_with_kernel(const std::vector<sim_test::end_plan>& plans, bool v6,
                                             std::uint16_t port) {
  std::string failure;
  on_thread([&] {
    by_id_.clear();
    users_.clear();
    weir::endpoint kernel(v6 ? kernel_v6 : kernel_v4, port);
    for (std::size_t i = 0; i < plans.size(); ++i) {
      users_.emplace_back(plans[i], i, i);
      auto made = host_->connect(wire_.fabric().now(), kernel, {}, options_.tcp);
      if (!made) {
        failure = "connect: " + made.error().message();
        return;
      }
      by_id_[*made] = i;
      users_.back().open(wire_.fabric().now(), *made, false);
    }
  });
  // Bounded by progress, as the machine may be slow.
  std::uint64_t moved = 0;
  auto last = std::chrono::steady_clock::now();
  while (failure.empty()) {
    std::uint64_t total = 0;
    bool over = true;
    on_thread([&] {
      for (std::size_t i = 0; i < users_.size(); ++i) {
        const auto& user = users_[i];
        total += user.sent() + user.received() + (user.over() ? 1 : 0);
        over = over && user.over();
        auto who = "connection " + std::to_string(i) + ": ";
        if (!user.wrong().empty()) failure = who + user.wrong();
        if (user.error()) failure = who + user.error().message();
        if (user.over() && !user.left_early() && user.received() != plans[i].size)
          failure = who + "ended after " + std::to_string(user.received()) + " of " +
                    std::to_string(plans[i].size) + " bytes";
      }
    });
    if (over) break;
    auto now = std::chrono::steady_clock::now();
    if (total != moved) last = now;
    moved = total;
    if (now - last > std::chrono::seconds(40)) failure = "no progress for 40 s";
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return failure;
}

std::string stack_peer::come_to_rest(std::chrono::seconds limit) {
  auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    std::size_t connections = 0;
    std::uint64_t bytes = 0;
    on_thread([&] {
      host_->for_each_connection([&](const weir::stack::tcp_info&) { ++connections; });
      bytes = host_->memory_in_use();
    });
    if (connections == 0 && bytes == 0) return {};
    if (std::chrono::steady_clock::now() > until)
      return std::to_string(connections) + " connections and " + std::to_string(bytes) +
             " bytes are left";
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

weir::sim::link_counters stack_peer::counters() {
  weir::sim::link_counters sum;
  on_thread([&] {
    for (int way = 0; way < 2; ++way) {
      const auto& one = link_->counters(way);
      sum.sent += one.sent, sum.delivered += one.delivered, sum.lost += one.lost;
      sum.reordered += one.reordered, sum.queue_full += one.queue_full;
    }
  });
  return sum;
}

}  // namespace kernel_test
