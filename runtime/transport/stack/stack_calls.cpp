// Options as the stack takes them; which part of a write comes next is in the operation.
#include "runtime/transport/stack/stack_calls.hpp"

#include <algorithm>

#include "runtime/transport/stack/stack_settings.hpp"
#include "stack/base/parts.hpp"

namespace weir::detail {

result<stack::socket_id> connect(stack::host& host, instant now, const connect_operation& op) {
  auto options = host.options().tcp;
  apply(op.options->stream, options);
  return host.connect(now, op.remote, op.options->local, options);
}

std::error_code why_not_connected(const stack::host& host, stack::socket_id id) {
  const auto why = host.error(id);
  return why ? why : std::make_error_code(std::errc::connection_refused);
}

std::error_code set_options(stack::host& host, instant now, stack::socket_id id,
                            const stream_options& options) {
  auto tcp = host.get_options(id);
  if (!tcp) return tcp.error();
  apply(options, *tcp);
  if (auto error = host.set_options(now, id, *tcp)) return error;
  if (options.cork) return host.set_cork(now, id, *options.cork);
  return {};
}

std::error_code write_more(stack::host& host, instant now, stack::socket_id id,
                           write_operation& op) {
  constexpr std::size_t parts_at_once = 32;
  const auto parts = op.parts();
  while (!op.carried_out()) {
    stack::part_room<parts_at_once> some;
    std::size_t count = 0;
    for (std::size_t i = op.part; i < parts.size() && count < parts_at_once; ++i) {
      auto part = parts[i].subspan(i == op.part ? op.part_offset : 0);
      if (!part.empty()) some[count++] = part;
    }
    auto n = host.send(now, id, some.first(count), op.more);
    if (!n && n.error() == std::errc::operation_would_block && !op.all && op.written > 0) return {};
    if (!n) return n.error();
    op.advance(*n);
    if (!op.all) return {};
  }
  return {};
}

}  // namespace weir::detail
