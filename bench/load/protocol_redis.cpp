// The protocol of redis (RESP2 and RESP3), as far as finding an answer's end and telling an error
// from a success takes.
#include <algorithm>
#include <charconv>

#include "load/protocol.hpp"

namespace weir::load {
namespace {

constexpr std::size_t most_line = 64 * 1024;
constexpr std::int64_t most_items = 1 << 20;

class redis_protocol : public protocol {
 public:
  redis_protocol(const plan& of, const request_source& requests, unsigned connection)
      : requests_(requests), connection_(connection), random_(of.seed + connection) {}

  void ask(std::string& out) override {
    const auto random = next_random(random_);
    const auto& chosen = requests_.at(requests_.choose(random));
    chosen.bytes.append_to(out, asked_++, connection_, random);
    think_ = chosen.think;
  }

  step feed(std::span<const std::byte>& bytes) override {
    if (!bytes.empty() && answered_ == asked_)
      return {step::kind::broken, answered_, "it answers what was not asked"};
    while (!bytes.empty()) {
      if (skip_ > 0) {
        const auto n = std::min<std::uint64_t>(skip_, bytes.size());
        bytes = bytes.subspan(static_cast<std::size_t>(n));
        if ((skip_ -= n) > 0) return {};
        if (--wanted_ == 0) return complete();
        continue;
      }
      const char c = static_cast<char>(bytes[0]);
      bytes = bytes.subspan(1);
      line_ += c;
      if (c != '\n') {
        if (line_.size() > most_line) return {step::kind::broken, answered_, "no end of a line"};
        continue;
      }
      if (!read_line()) return {step::kind::broken, answered_, "the answer is no RESP"};
      line_.clear();
      if (skip_ == 0 && wanted_ == 0) return complete();
    }
    return {};
  }

  step end() override {
    if (line_.empty() && wanted_ == 1 && skip_ == 0 && !within_) return {};
    return {step::kind::broken, answered_, "the answer was cut short"};
  }

 private:
  /// One line of an answer: counts what is still wanted.
  bool read_line() {
    if (line_.size() < 3 || !line_.ends_with("\r\n")) return false;
    const std::string_view rest(line_.data() + 1, line_.size() - 3);
    std::int64_t n = 0;
    const char kind = line_[0];
    within_ = true;
    if (kind == '$' || kind == '*' || kind == '!' || kind == '=' || kind == '%' || kind == '~') {
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n);
      if (error != std::errc{} || end != rest.data() + rest.size() || n < -1) return false;
    }
    switch (kind) {
      case '-':
        if (failure_.empty()) failure_ = "redis: " + std::string(rest.substr(0, rest.find(' ')));
        break;
      case '!': failure_ = "redis: an error"; [[fallthrough]];
      case '$':
      case '=':
        if (n >= 0) return skip_ = static_cast<std::uint64_t>(n) + 2, true;
        break;
      case '%': n *= 2; [[fallthrough]];
      case '~':
      case '*':
        if (n > most_items) return false;
        if (n > 0) wanted_ += static_cast<std::uint64_t>(n);
        break;
      case '+':
      case ':':
      case '_':
      case ',':
      case '#':
      case '(': break;
      default: return false;
    }
    --wanted_;
    return true;
  }
  step complete() {
    wanted_ = 1;
    within_ = false;
    const auto which = answered_++;
    if (failure_.empty()) return {step::kind::answered, which, {}};
    why_ = std::move(failure_);
    failure_.clear();
    return {step::kind::refused, which, why_};
  }

  const request_source& requests_;
  unsigned connection_;
  std::uint64_t random_;
  std::uint64_t asked_ = 0, answered_ = 0;
  std::uint64_t wanted_ = 1;  // values that the answer still has
  std::uint64_t skip_ = 0;    // bytes of a text, with its line end
  bool within_ = false;       // a line of the answer has come
  std::string line_, failure_, why_;
};

}  // namespace

std::unique_ptr<protocol> make_redis(const plan& of, const request_source& requests,
                                     unsigned connection) {
  return std::make_unique<redis_protocol>(of, requests, connection);
}

}  // namespace weir::load
