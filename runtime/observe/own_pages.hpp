// Pages of the program's own: asked of the shards, one after the other, until one has the page. It
// lives on a shard of its own. A shard that does not answer is not asked again before it has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "weir/admin.hpp"
#include "weir/stack/time.hpp"
#include "weir/sync.hpp"
#include "weir/task.hpp"

namespace weir::detail {

class page_asker {
 public:
  static constexpr duration patience = std::chrono::seconds(1);

  /// `home` runs it, which goes before it does. The targets' loops have stopped before it goes, or
  /// go on.
  page_asker(shard& home, std::vector<shard*> targets);
  ~page_asker();
  page_asker(const page_asker&) = delete;
  page_asker& operator=(const page_asker&) = delete;

  /// 404: no shard has it; 503: one does not answer. Throws operation_canceled.
  task<admin_answer> ask(std::string name, std::string query);

 private:
  struct question;
  static void answer(const std::shared_ptr<question>& q) noexcept;

  shard& home_;
  std::vector<shard*> targets_;
  std::vector<std::shared_ptr<question>> pending_;  // one for each target, or none
  mutex one_at_a_time_;
};

/// Whether this may stand in a header field.
bool is_content_type(std::string_view text);

}  // namespace weir::detail
