// Pages of the program's own: asking the shard that answers each; and what a shard keeps of pages
// and names (weir/admin.hpp).
#include "runtime/observe/own_pages.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "weir/shard.hpp"

namespace weir {
namespace {

bool is_page_name(std::string_view name) {
  constexpr std::size_t longest = 64;
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= longest && std::all_of(name.begin(), name.end(), fits);
}

}  // namespace

void admin_pages::add(std::string_view name, page answer) {
  const auto refuse = [&](const char* why) {
    throw std::invalid_argument("page '" + std::string(name) + "': " + why);
  };
  if (!is_page_name(name)) refuse("a name is 1 to 64 of a-z, 0-9, '-', '_' and '.'");
  if (!answer) refuse("it has no function");
  if (pages_.contains(name)) refuse("it is there already");
  if (pages_.size() == most_pages) refuse("a shard has 64 at most");
  pages_.emplace(name, std::move(answer));
}

void admin_pages::remove(std::string_view name) {
  if (const auto found = pages_.find(name); found != pages_.end()) pages_.erase(found);
}

void admin_pages::name_socket(const endpoint& local, std::string_view name) {
  if (name.empty())
    names_.erase(local);
  else if (names_.size() < most_names || names_.contains(local))
    names_[local] = name;
}

std::string_view admin_pages::name_of(const endpoint& local) const {
  const auto found = names_.find(local);
  return found == names_.end() ? std::string_view() : found->second;
}

void admin_pages::keep_names(const std::function<bool(const endpoint&)>& there) {
  std::erase_if(names_, [&](const auto& one) { return !there(one.first); });
}

namespace detail {

/// Shared by who asks and who answers: either may be gone when the other comes to it.
struct page_asker::question {
  std::mutex lock;        // of `home`
  shard* home = nullptr;  // null: it went, and nobody will read the answer
  shard* target = nullptr;
  std::string name, query;
  std::optional<admin_answer> result;  // the target's until `answered` is set
  event answered;                      // home's thread only
};

page_asker::page_asker(shard& home, std::vector<shard*> targets)
    : home_(home), targets_(std::move(targets)), pending_(targets_.size()) {}

page_asker::~page_asker() {
  for (auto& q : pending_) {
    if (!q) continue;
    const std::lock_guard locked(q->lock);
    q->home = nullptr;
  }
}

// On the target's thread.
void page_asker::answer(const std::shared_ptr<question>& q) noexcept {
  {
    const std::lock_guard locked(q->lock);
    if (q->home == nullptr) return;
  }
  try {
    const auto& pages = q->target->local<admin_pages>().all();
    if (const auto found = pages.find(q->name); found != pages.end()) {
      const auto page = found->second;  // it may take itself away
      q->result = page(q->query);
      if (q->result->body.size() > admin_pages::most_body) {
        q->result.emplace().status = 500;
      }
    }
  } catch (...) {
    q->result.emplace().status = 500;
  }
  const std::lock_guard locked(q->lock);
  if (q->home != nullptr) q->home->post([q] { q->answered.set(); });
}

task<admin_answer> page_asker::ask(std::string name, std::string query) {
  auto turn = co_await one_at_a_time_.lock();
  bool silent = false;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (pending_[i] && !pending_[i]->answered.is_set()) {  // it hangs
      silent = true;
      continue;
    }
    auto q = std::make_shared<question>();
    q->home = &home_;
    q->target = targets_[i];
    q->name = name;
    q->query = query;
    pending_[i] = q;
    targets_[i]->post([q] { answer(q); });
    const auto waited = co_await q->answered.wait().timeout(patience).nothrow();
    if (waited == std::errc::operation_canceled) throw io_error(waited, "page");
    if (!q->answered.is_set()) {
      silent = true;
      continue;
    }
    pending_[i].reset();
    if (q->result) co_return std::move(*q->result);
  }
  admin_answer none;
  none.status = silent ? 503 : 404;
  co_return none;
}

bool is_content_type(std::string_view text) {
  return !text.empty() && text.size() <= 128 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace detail
}  // namespace weir
