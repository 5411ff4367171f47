// Which part of a write comes next is in the operation.
#include "transport/stack/stack_write.hpp"

#include <algorithm>

#include "base/parts.hpp"

namespace weir::detail {

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
    auto n = host.send(now, id, some.first(count));
    if (!n && n.error() == std::errc::operation_would_block && !op.all && op.written > 0) return {};
    if (!n) return n.error();
    op.advance(*n);
    if (!op.all) return {};
  }
  return {};
}

}  // namespace weir::detail
