// See stack_write.hpp.
#include "transport/stack/stack_write.hpp"

#include <algorithm>

#include "ip/parts.hpp"

namespace weir::detail {
namespace {

struct write_progress {
  std::size_t offset;  // into the part
  std::uint32_t part;
};

}  // namespace

void begin_write(write_operation& op) noexcept { op.scratch.as<write_progress>() = {0, 0}; }

std::error_code write_more(stack::host& host, instant now, stack::socket_id id,
                           write_operation& op) {
  constexpr std::size_t parts_at_once = 32;
  auto parts = op.parts();
  auto& at = op.scratch.as<write_progress>();
  for (;;) {
    stack::part_room<parts_at_once> some;
    std::size_t count = 0;
    for (auto i = at.part; i < parts.size() && count < parts_at_once; ++i) {
      auto part = parts[i].subspan(i == at.part ? at.offset : 0);
      if (!part.empty()) some[count++] = part;
    }
    if (count == 0) return {};
    auto n = host.send(now, id, some.first(count));
    if (!n && n.error() == std::errc::operation_would_block && !op.all && op.written > 0) return {};
    if (!n) return n.error();
    op.written += *n;
    for (auto left = *n; left > 0;) {
      auto room = parts[at.part].size() - at.offset;
      auto step = std::min(left, room);
      left -= step;
      at.offset += step;
      if (at.offset == parts[at.part].size()) ++at.part, at.offset = 0;
    }
    if (!op.all) return {};
  }
}

}  // namespace weir::detail
