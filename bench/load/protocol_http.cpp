// HTTP/1.1 as a load speaks it: pipelined where the plan says so, answers read by the strict parser
// of runtime/http/wire. Statuses from 400 on are errors.
#include <fmt/format.h>

#include <deque>

#include "load/protocol.hpp"
#include "runtime/http/wire/response_parser.hpp"

namespace weir::load {
namespace {

using http::wire::response_parser;

class http_protocol : public protocol {
 public:
  http_protocol(const plan& of, const request_source& requests, unsigned connection)
      : requests_(requests), connection_(connection), random_(of.seed + connection), parser_({}) {
    parser_.expect(http::method::get);
  }

  void ask(std::string& out) override {
    const auto random = next_random(random_);
    const auto& chosen = requests_.at(requests_.choose(random));
    chosen.bytes.append_to(out, asked_++, connection_, random);
    think_ = chosen.think;
    heads_.push_back(chosen.head);
    if (heads_.size() == 1) expect_next();
  }

  step feed(std::span<const std::byte>& bytes) override {
    if (heads_.empty())
      return bytes.empty() ? step{}
                           : step{step::kind::broken, answered_, "it answers what was not asked"};
    for (;;) {
      switch (parser_.feed(bytes)) {
        case response_parser::outcome::more: return {};
        case response_parser::outcome::content: break;
        case response_parser::outcome::head:
          if (!parser_.head().interim()) {
            status_ = parser_.head().status;
            last_ = !parser_.head().keep_alive;
          }
          break;
        case response_parser::outcome::complete: return complete();
        case response_parser::outcome::malformed:
          return {step::kind::broken, answered_, "the answer is no HTTP/1.1"};
      }
    }
  }

  step end() override {
    if (heads_.empty() || parser_.untouched()) return {};
    if (parser_.end()) return complete();
    return {step::kind::broken, answered_, "the answer was cut short"};
  }

  bool last() const override { return last_; }

 private:
  step complete() {
    heads_.pop_front();
    const auto which = answered_++;
    expect_next();
    if (status_ < 400) return {step::kind::answered, which, {}};
    why_ = fmt::format("status {}", status_);
    return {step::kind::refused, which, why_};
  }
  void expect_next() {
    parser_.expect(!heads_.empty() && heads_.front() ? http::method::head : http::method::get);
  }

  const request_source& requests_;
  unsigned connection_;
  std::uint64_t random_;
  response_parser parser_;
  std::deque<bool> heads_;  // of what is in flight: asked with HEAD
  std::uint64_t asked_ = 0, answered_ = 0;
  int status_ = 0;
  bool last_ = false;
  std::string why_;
};

}  // namespace

std::unique_ptr<protocol> make_http(const plan& of, const request_source& requests,
                                    unsigned connection) {
  return std::make_unique<http_protocol>(of, requests, connection);
}

}  // namespace weir::load
