// Connecting by name: happy eyeballs (RFC 8305). Lookups and attempts are tasks of one scope, which
// ends with the first connection; one coroutine decides what to start and when.
#include <algorithm>
#include <utility>

#include "runtime/core/log.hpp"
#include "runtime/resolve/resolver_state.hpp"
#include "weir/scope.hpp"

namespace weir::detail {
namespace {

constexpr duration attempt_delay = std::chrono::milliseconds(250);    // RFC 8305 5
constexpr duration resolution_delay = std::chrono::milliseconds(50);  // RFC 8305 3
constexpr std::size_t max_attempts = 32;

/// One connection by name.
class race final : public address_listener {
 public:
  race(resolver_state& r, std::uint16_t port, const connect_options& options)
      : resolver_(&r), port_(port), options_(options), tasks_(r.owner) {}

  task<result<tcp_stream>> run(std::string name, std::string& words);

  void found(ip_family family, const std::vector<ip_address>& some) override {
    if (waiting_.empty() && tried_.empty()) first_known_ = resolver_->owner.now();
    if (family == ip_family::v6) v6_known_ = true;
    waiting_.insert(waiting_.end(), some.begin(), some.end());
    waiting_ = best_first(resolver_->owner, waiting_);
    changed_.set();
  }
  void complete(ip_family family) override {
    if (family == ip_family::v6) v6_known_ = true;
    changed_.set();
  }

 private:
  struct outcome {
    endpoint remote;
    std::error_code error;  // in_progress until it has ended
  };

  task<> look_up(std::string name);
  task<> attempt(std::size_t number);
  bool over() const {
    if (winner_) return true;
    const bool none_left = waiting_.empty() || tried_.size() == max_attempts;
    return looked_up_ && none_left && running_ == 0;
  }
  /// How long to wait before another attempt may begin; no_limit: for something else to happen.
  duration until_next() const;
  void start_next();
  std::error_code first_error() const {
    return tried_.empty() ? lookup_error_ : tried_.front().error;
  }
  std::string tried_text() const;

  resolver_state* resolver_;
  std::uint16_t port_;
  connect_options options_;
  scope tasks_;
  event changed_;
  std::vector<ip_address> waiting_;  // not tried yet, the best first
  std::vector<outcome> tried_;
  std::size_t running_ = 0;
  instant first_known_, next_attempt_;
  bool v6_known_ = false;  // nothing better is awaited
  bool looked_up_ = false;
  std::error_code lookup_error_;
  std::string lookup_words_;
  tcp_stream winner_;
};

task<> race::look_up(std::string name) {
  const auto& from = options_.local.address;
  const bool v4 = from.is_unspecified() || from.is_v4();
  const bool v6 = from.is_unspecified() || from.is_v6();
  auto error = co_await find_addresses(*resolver_, std::move(name), v4, v6, *this, lookup_words_);
  lookup_error_ = error;
  looked_up_ = true;
  changed_.set();
}

task<> race::attempt(std::size_t number) {
  const auto remote = tried_[number].remote;
  auto stream = co_await weir::connect(remote, options_).nothrow();
  --running_;
  if (!stream) {
    tried_[number].error = stream.error();
    next_attempt_ = resolver_->owner.now();  // the next need not wait for this one any more
  } else if (!winner_) {
    winner_ = std::move(*stream);
  }
  changed_.set();
}

duration race::until_next() const {
  if (waiting_.empty() || tried_.size() == max_attempts) return no_limit;
  auto from = next_attempt_;
  if (tried_.empty() && !looked_up_ && !v6_known_) from = first_known_ + resolution_delay;
  return std::max(from - resolver_->owner.now(), duration(0));
}

void race::start_next() {
  // The families take turns, so that one that is broken costs one delay (RFC 8305 4).
  auto next = waiting_.begin();
  if (!tried_.empty()) {
    const auto last = tried_.back().remote.address.family();
    const auto other =
        std::ranges::find_if(waiting_, [last](const ip_address& a) { return a.family() != last; });
    if (other != waiting_.end()) next = other;
  }
  tried_.push_back({{*next, port_}, std::make_error_code(std::errc::operation_in_progress)});
  waiting_.erase(next);
  next_attempt_ = resolver_->owner.now() + attempt_delay;
  ++running_;
  tasks_.spawn(attempt(tried_.size() - 1));
}

std::string race::tried_text() const {
  std::string out;
  for (const auto& one : tried_) {
    const bool unanswered =
        one.error == std::errc::operation_in_progress || one.error == std::errc::operation_canceled;
    out += (out.empty() ? "" : "; ") + one.remote.to_string() + ": " +
           (unanswered ? "no answer yet" : one.error.message());
  }
  if (!out.empty()) return out;
  if (!lookup_words_.empty()) return lookup_words_;
  return looked_up_ ? lookup_error_.message() : "no address was known yet";
}

task<result<tcp_stream>> race::run(std::string name, std::string& words) {
  std::error_code error;
  if (port_ == 0) error = std::make_error_code(std::errc::address_not_available);
  if (!error) tasks_.spawn(look_up(std::move(name)));
  while (!error && !over()) {
    const auto wait = until_next();
    if (wait == duration(0)) {
      start_next();
      continue;
    }
    changed_.reset();
    auto woken = co_await changed_.wait().timeout(wait).nothrow();
    if (woken == std::errc::operation_canceled) error = woken;
  }
  tasks_.cancel();
  co_await tasks_.join();
  if (winner_) co_return std::move(winner_);  // also one that came with the cancellation
  words = tried_text();
  co_return error ? error : first_error();
}

task<result<tcp_stream>> connect_to(resolver_state& r, std::string name, std::uint16_t port,
                                    connect_options options, std::string& words) {
  race all(r, port, options);
  co_return co_await all.run(std::move(name), words);
}

task<result<tcp_stream>> connect_from_here(std::string name, std::uint16_t port,
                                           connect_options options, std::string& words);

}  // namespace

task<result<tcp_stream>> connect_call::start(std::string& words) const {
  if (of == nullptr) return connect_from_here(std::string(name), port, options, words);
  return connect_to(*of, std::string(name), port, options, words);
}
void connect_call::fail(std::error_code code, const std::string& words) const {
  const auto what =
      "connect to " + printable(name.substr(0, longest_name)) + " port " + std::to_string(port);
  throw connect_error(code, words.empty() ? what : what + " (" + words + ")", words);
}

resolver_state& connect_call::state_of(resolver& r) { return *r.state_; }

namespace {

task<result<tcp_stream>> connect_from_here(std::string name, std::uint16_t port,
                                           connect_options options, std::string& words) {
  auto& here = co_await this_shard();
  auto& r = connect_call::state_of(resolver_of(here));
  co_return co_await connect_to(r, std::move(name), port, options, words);
}

}  // namespace
}  // namespace weir::detail
