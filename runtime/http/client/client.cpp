// The client: kept connections, redirects (weir/http/client.hpp).
#include "weir/http/client.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "runtime/http/client/decoding.hpp"
#include "runtime/http/client/exchange.hpp"
#include "runtime/http/client/h1_exchange.hpp"
#if WEIR_HTTP_WITH_H2
#include "runtime/http/h2/h2_exchange.hpp"
#endif
#include "weir/error.hpp"
#include "weir/http/response.hpp"
#include "weir/timing.hpp"

namespace weir::http {
namespace {

constexpr std::size_t most_origins = 1024;  // remembered while nothing is kept of them
constexpr unsigned most_repeats = 3;

bool can_follow(const url& to) {
  return to.scheme == "http" || (to.scheme == "https" && detail::can_secure());
}

/// Sends a request until a server has processed it: one that ends a connection with HTTP/2 says
/// which requests it has not.
task<std::unique_ptr<detail::exchange>> perform(client::state& by, const client_request& asked,
                                                const url& to, method as, bool with_body,
                                                bool keep_user) {
  for (unsigned tries = 0;; ++tries) {
    auto exchange = co_await by.begin(to);
    const bool processed = co_await exchange->perform(asked, as, with_body, keep_user);
    if (processed) co_return exchange;
    if (tries == most_repeats)
      throw io_error(std::make_error_code(std::errc::connection_reset), "http: " + to.origin());
    ++by.counters.repeated;
  }
}

/// The answer, its body decompressed where that was asked for.
client_answer answer_of(const client_settings& how, const client_request& asked,
                        std::unique_ptr<detail::exchange> from) {
  std::unique_ptr<detail::decoding> decoded;
  const auto* named = find_field(from->head().fields, "content-encoding");
  if (named != nullptr && detail::asks_for_codings(how, asked)) {
    if (const auto what = read_coding(named->value))
      decoded = std::make_unique<detail::decoding>(*what, from->body(), how.most_expansion);
  }
  return client_answer(std::move(from), std::move(decoded));
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

client_request& client_request::field(std::string_view name, std::string_view value) {
  response checked;
  checked.field(name, value);
  if (equals_ignoring_case(name, "host") || equals_ignoring_case(name, "expect"))
    throw std::invalid_argument(fmt::format("{} is the client's own field", name));
  fields_.emplace_back(name, value);
  return *this;
}

// --- Connections.

std::shared_ptr<detail::client_origin> client::state::origin_of(const url& to) {
  const bool shared = settings.proxy && to.scheme == "http";
  const auto key = shared ? settings.proxy->to_string() : to.origin();
  auto found = origins.find(key);
  if (found != origins.end()) return found->second;
  if (origins.size() >= most_origins)
    std::erase_if(origins, [&](const auto& one) {
      return one.second->idle.empty() && one.second.use_count() == 1 &&
             one.second->permits.available() == settings.max_connections_per_origin;
    });
  auto made = std::make_shared<detail::client_origin>(
      std::max<std::size_t>(settings.max_connections_per_origin, 1));
  return origins.emplace(key, std::move(made)).first->second;
}

task<std::unique_ptr<detail::client_connection>> client::state::take_idle(
    detail::client_origin& of) {
  while (!of.idle.empty()) {
    auto one = std::move(of.idle.back());
    of.idle.pop_back();
    --idle;
    const bool old = owner.now() - one->idle_since >= settings.idle_timeout;
    if (old) continue;
    // It stands if there is nothing to read: neither an end nor an answer to no question.
    const auto got = co_await one->stream.read_some(one->buffer).timeout(duration(0)).nothrow();
    if (got.ec == std::errc::operation_canceled) throw io_error(got.ec, "http");
    if (got.ec == std::errc::timed_out) co_return one;
  }
  co_return nullptr;
}

task<detail::reached> client::state::open(const url& to, bool h2) {
  auto opening = reach(to, h2);
  auto made = co_await with_timeout(settings.connect_timeout, std::move(opening));
  ++counters.connections;
  co_return made;
}

bool client::state::may_speak_h2([[maybe_unused]] const url& to) const {
#if WEIR_HTTP_WITH_H2
  if (to.scheme == "https") return settings.http2 != http2_use::never;
  return settings.http2 == http2_use::always && !settings.proxy;
#else
  return false;
#endif
}

task<std::unique_ptr<detail::exchange>> client::state::begin(const url& to) {
  auto origin = origin_of(to);
  std::unique_ptr<detail::client_connection> opened;
#if WEIR_HTTP_WITH_H2
  if (may_speak_h2(to) && !origin->speaks_h1) {
    auto made = co_await begin_h2(origin, to, opened);
    if (made != nullptr) co_return made;
  }
#endif
  if (opened == nullptr) co_await origin->permits.acquire();
  std::unique_ptr<detail::exchange> out =
      std::make_unique<detail::h1_exchange>(*this, std::move(origin), to, std::move(opened));
  co_return out;
}

void client::state::keep(detail::client_origin& of,
                         std::unique_ptr<detail::client_connection> one) {
  if (settings.max_idle_connections == 0) return;
  if (idle >= settings.max_idle_connections) close_oldest();
  ++idle;
  one->idle_since = owner.now();
  of.idle.push_back(std::move(one));
  if (sweeping || settings.idle_timeout == no_limit) return;
  sweeping = links.spawn(sweep(self));
}

std::optional<instant> client::state::close_expired() {
  std::optional<instant> next;
  for (auto& [key, origin] : origins) {
    auto& some = origin->idle;  // the oldest first
    const auto fresh = std::ranges::find_if(some, [&](const auto& one) {
      return owner.now() - one->idle_since < settings.idle_timeout;
    });
    idle -= static_cast<std::size_t>(fresh - some.begin());
    some.erase(some.begin(), fresh);
    if (!some.empty()) {
      const auto end = some.front()->idle_since + settings.idle_timeout;
      next = std::min(next.value_or(end), end);
    }
  }
  return next;
}

void client::state::close_oldest() {
  detail::client_origin* of = nullptr;
  for (auto& [key, origin] : origins) {
    if (origin->idle.empty()) continue;
    if (of == nullptr || origin->idle.front()->idle_since < of->idle.front()->idle_since)
      of = origin.get();
  }
  if (of == nullptr) return;
  of->idle.erase(of->idle.begin());
  --idle;
}

task<> client::state::sweep(std::shared_ptr<state*> of) {
  while (*of != nullptr) {
    const auto next = (*of)->close_expired();
    if (!next) {
      (*of)->sweeping = false;
      co_return;
    }
    co_await sleep_for(*next - (*of)->owner.now());
  }
}

// --- Answers.

client_answer::client_answer(std::unique_ptr<detail::exchange> of,
                             std::unique_ptr<detail::decoding> decoded)
    : exchange_(std::move(of)), decoded_(std::move(decoded)) {}
client_answer::client_answer(client_answer&&) noexcept = default;
client_answer& client_answer::operator=(client_answer&&) noexcept = default;
client_answer::~client_answer() = default;

int client_answer::status() const { return exchange_->head().status; }
unsigned client_answer::major_version() const { return exchange_->major_version(); }
std::span<const http::field> client_answer::fields() const { return exchange_->head().fields; }
std::string_view client_answer::field(std::string_view name) const {
  const auto* found = find_field(fields(), name);
  return found == nullptr ? std::string_view() : found->value;
}
const url& client_answer::from() const { return exchange_->to(); }
body_reader client_answer::body() {
  if (decoded_ == nullptr) return exchange_->body();
  return body_reader(static_cast<detail::body_source&>(*decoded_));
}

// --- The client.

client::client(shard& owner, const client_settings& settings, connector by)
    : state_(
          std::make_unique<state>(owner, settings, by ? std::move(by) : detail::connect_to_host)) {}

client::client(shard& owner, tls::client_context& trust, const client_settings& settings,
               connector by)
    : client(owner, settings, std::move(by)) {
  state_->trust = &trust;
}

client::~client() = default;

task<client_answer> client::get(std::string url) {
  client_request asked(method::get, std::move(url));
  auto answer = co_await send(asked);
  co_return answer;
}

task<client_answer> client::send(client_request& asked) {
  auto to = url::parse(asked.url());
  if (!to || !can_follow(*to))
    throw std::invalid_argument("http: no URL that this client can follow");
  const auto first_origin = to->origin();
  auto as = asked.method();
  bool with_body = true, keep_user = true;
  const bool once = std::holds_alternative<client_request::stream_part>(asked.body());
  for (unsigned followed = 0;; ++followed) {
    auto exchange = co_await perform(*state_, asked, *to, as, with_body, keep_user);
    const int status = exchange->head().status;
    const auto* location = find_field(exchange->head().fields, "location");
    if (!is_redirect(status) || location == nullptr || followed >= state_->settings.max_redirects)
      co_return answer_of(state_->settings, asked, std::move(exchange));
    const bool becomes_get = status == 303 || (status <= 302 && as == method::post);
    if (!becomes_get && with_body && once)
      co_return answer_of(state_->settings, asked, std::move(exchange));
    auto next = to->resolve(location->value);
    if (!next || !can_follow(*next))
      throw io_error(std::make_error_code(std::errc::protocol_error),
                     "http: a redirect of " + to->origin() + " leads nowhere");
    if (becomes_get) {
      if (as != method::head) as = method::get;
      with_body = false;
    }
    if (next->origin() != first_origin) keep_user = false;
    co_await exchange->drop_body();
    ++state_->counters.redirects;
    to = std::move(next);
  }
}

void client::close_idle() {
  for (auto& [key, one] : state_->origins) {
    one->idle.clear();
#if WEIR_HTTP_WITH_H2
    if (one->link != nullptr) one->link->end_when_idle();
#endif
  }
  state_->idle = 0;
}

const client_counters& client::counters() const { return state_->counters; }

}  // namespace weir::http
