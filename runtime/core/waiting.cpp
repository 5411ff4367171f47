// What every operation tells of itself, and the word about tasks that were forgotten.
#include <atomic>

#include "runtime/core/log.hpp"
#include "weir/detail/operation.hpp"
#include "weir/detail/waiting.hpp"
#include "weir/task.hpp"

namespace weir::detail {

const operation& operation::told(const detail::cancel_node& node, wait_told& out) noexcept {
  const auto& self = static_cast<const operation&>(node);
  out.waiter = self.handle;
  out.asked = self.asked_;
  if (self.armed()) out.deadline = self.deadline();
  return self;
}

std::string_view operation::class_in(std::string_view function) noexcept {
  for (const std::string_view before : {"Request", " = "})
    if (const auto at = function.find(before); at != std::string_view::npos)
      function.remove_prefix(at + before.size());
  if (function.starts_with('&')) function.remove_prefix(1);
  function = function.substr(0, function.find_first_of(",;]"));
  function = function.substr(0, function.rfind("::"));
  if (const auto scope = function.rfind("::"); scope != std::string_view::npos)
    function.remove_prefix(scope + 2);
  constexpr std::string_view suffix = "_awaiter";
  if (function.ends_with(suffix)) function.remove_suffix(suffix.size());
  return function;
}

void note_never_run([[maybe_unused]] const promise_base& task) noexcept {
#if WEIR_WITH_TASKS
  // Whoever forgets one does so again and again: the first few, then ever more rarely. (There is no
  // shard that could count them: it never had one.)
  static std::atomic<std::uint64_t> count = 0;
  constexpr std::uint64_t said_each = 8;
  const auto n = count.fetch_add(1, std::memory_order_relaxed) + 1;
  if (n > said_each && (n & (n - 1)) != 0) return;
  try {
    const auto words = in_words(task.where);
    log_line("a task went without having run: it was neither awaited nor spawned: " +
             words.function + " (" + short_place(task.where) + ")" +
             (n > said_each ? "; " + std::to_string(n) + " of this kind so far" : ""));
  } catch (const std::bad_alloc&) {
  }
#endif
}

}  // namespace weir::detail
