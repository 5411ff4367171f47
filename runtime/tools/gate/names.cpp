// Rules by name: the answers of the guest's resolver are read on their way, and the addresses in
// them belong to the name that was asked for.
#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <vector>

#include "runtime/tools/gate/gateway.hpp"
#if WEIR_GATE_NAMES
#include "runtime/resolve/message.hpp"
#endif

namespace weir::gate {

void gateway::note_answer([[maybe_unused]] std::span<const std::byte> message) {
#if WEIR_GATE_NAMES
  const auto read = detail::read_passed_answer(message);
  if (read && options_.policy.knows(read->name))
    names_.note(read->name, read->said.addresses, read->said.lifetime, here_.now());
#endif
}

namespace {

struct message_way {
  tcp_stream& from;
  tcp_stream& to;
  std::uint64_t& carried;
  std::function<void(std::span<const std::byte>)> note;  // before the message goes on
};

/// RFC 7766 8: messages, each with its length before it.
task<> pass_messages(message_way& way, std::error_code& failed, scope& both) {
  std::vector<std::byte> message;
  for (;;) {
    std::array<std::byte, 2> length;
    auto got = co_await way.from.read_exactly(length).nothrow();
    if (got.ec && got.n == 0 && got.ec == weir::error::end_of_stream) {
      std::error_code gone;  // which its own way says
      way.to.shutdown_send(gone);
      co_return;
    }
    message.resize(std::to_integer<std::size_t>(length[0]) << 8 |
                   std::to_integer<std::size_t>(length[1]));
    if (!got.ec && !message.empty()) got = co_await way.from.read_exactly(message).nothrow();
    failed = got.ec;
    if (failed) break;
    if (way.note) way.note(message);
    const std::array<std::span<const std::byte>, 2> parts{length, message};
    auto wrote = co_await way.to.write_all(parts).nothrow();
    way.carried += wrote.n;
    failed = wrote.ec;
    if (failed) break;
  }
  both.cancel();
}

}  // namespace

/// As relay(), for a connection to the resolver.
task<relay_result> gateway::carry_answers(tcp_stream inside, tcp_stream outside) {
  relay_result out;
  std::error_code asking, answering;
  message_way questions{inside, outside, out.a_to_b, {}};
  message_way answers{outside, inside, out.b_to_a, [this](auto message) { note_answer(message); }};
  scope both(here_);
  both.spawn(pass_messages(questions, asking, both));
  both.spawn(pass_messages(answers, answering, both));
  co_await both.join();
  const auto canceled = std::errc::operation_canceled;
  out.ec = asking && asking != canceled ? asking : answering != canceled ? answering : out.ec;
  if (out.ec) {
    inside.abort();
    outside.abort();
  }
  co_return out;
}

}  // namespace weir::gate
