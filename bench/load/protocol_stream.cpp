// Bare streams: echo (every byte compared), discard, chargen, and requests with answers of a size
// or up to a delimiter.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "load/protocol.hpp"
#include "pattern.hpp"

namespace weir::load {
namespace {

const bench::byte_pattern& pattern() {
  static const bench::byte_pattern made;
  return made;
}

std::span<const char> chars_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class echo_protocol : public protocol {
 public:
  echo_protocol(const plan& of, unsigned connection) : size_(of.size), connection_(connection) {}

  void ask(std::string& out) override {
    for (std::size_t left = size_; left > 0;) {
      const auto part = pattern().slice(connection_, sent_, left);
      out.append(part.data(), part.size());
      sent_ += part.size();
      left -= part.size();
    }
  }
  step feed(std::span<const std::byte>& bytes) override {
    while (!bytes.empty()) {
      const auto part =
          bytes.first(std::min({bytes.size(), size_ - partial_, bench::byte_pattern::max_chunk}));
      if (received_ + part.size() > sent_)
        return {step::kind::broken, answered_, "more came back than was sent"};
      if (!pattern().matches(connection_, received_, chars_of(part)))
        return {step::kind::broken, answered_, "the echo has other bytes than were sent"};
      received_ += part.size();
      partial_ += part.size();
      bytes = bytes.subspan(part.size());
      if (partial_ < size_) continue;
      partial_ = 0;
      return {step::kind::answered, answered_++, {}};
    }
    return {};
  }
  step end() override {
    if (partial_ == 0) return {};
    return {step::kind::broken, answered_, "the answer was cut short"};
  }

 private:
  std::size_t size_;
  unsigned connection_;
  std::uint64_t sent_ = 0, received_ = 0, answered_ = 0;
  std::size_t partial_ = 0;
};

class discard_protocol : public echo_protocol {
 public:
  using echo_protocol::echo_protocol;
  step feed(std::span<const std::byte>& bytes) override {
    if (bytes.empty()) return {};
    return {step::kind::broken, 0, "discard does not answer, and this server did"};
  }
  bool answers() const override { return false; }
};

/// RFC 864 leaves the bytes to the server: pieces of plan::size are counted, and nothing compared.
class chargen_protocol : public protocol {
 public:
  explicit chargen_protocol(const plan& of) : size_(of.size) {}
  void ask(std::string&) override {}
  step feed(std::span<const std::byte>& bytes) override {
    const auto n = std::min(bytes.size(), size_ - partial_);
    bytes = bytes.subspan(n);
    partial_ += n;
    if (partial_ < size_) return {};
    partial_ = 0;
    return {step::kind::answered, answered_++, {}};
  }
  bool asks() const override { return false; }

 private:
  std::size_t size_;
  std::size_t partial_ = 0;
  std::uint64_t answered_ = 0;
};

class exchange_protocol : public protocol {
 public:
  exchange_protocol(const plan& of, const request_source& requests, unsigned connection)
      : requests_(requests),
        size_(of.answer_size),
        delimiter_(of.delimiter),
        connection_(connection),
        random_(of.seed + connection) {
    if ((size_ == 0) == delimiter_.empty())
      throw std::invalid_argument("exchange needs --answer-size or --until, one of them");
    if (requests.at(0).bytes.size() == 0)
      throw std::invalid_argument("exchange needs --body: what to send");
  }

  void ask(std::string& out) override {
    const auto random = next_random(random_);
    const auto& chosen = requests_.at(requests_.choose(random));
    chosen.bytes.append_to(out, asked_++, connection_, random);
    think_ = chosen.think;
  }
  step feed(std::span<const std::byte>& bytes) override {
    if (bytes.empty()) return {};
    if (answered_ == asked_)
      return {step::kind::broken, answered_, "it answers what was not asked"};
    const bool complete = size_ != 0 ? feed_size(bytes) : feed_delimiter(bytes);
    if (!complete) return {};
    partial_ = 0;
    return {step::kind::answered, answered_++, {}};
  }
  step end() override {
    if (partial_ == 0) return {};
    return {step::kind::broken, answered_, "the answer was cut short"};
  }

 private:
  bool feed_size(std::span<const std::byte>& bytes) {
    const auto n = std::min(bytes.size(), size_ - partial_);
    bytes = bytes.subspan(n);
    return (partial_ += n) == size_;
  }
  bool feed_delimiter(std::span<const std::byte>& bytes) {
    while (!bytes.empty()) {
      tail_ += static_cast<char>(bytes[0]);
      bytes = bytes.subspan(1);
      ++partial_;
      if (tail_.size() > delimiter_.size()) tail_.erase(0, 1);
      if (tail_ != delimiter_) continue;
      tail_.clear();
      return true;
    }
    return false;
  }

  const request_source& requests_;
  std::size_t size_;
  std::string delimiter_;
  unsigned connection_;
  std::uint64_t random_;
  std::uint64_t asked_ = 0, answered_ = 0;
  std::size_t partial_ = 0;
  std::string tail_;  // of the answer, as long as the delimiter
};

}  // namespace

std::unique_ptr<protocol> make_protocol(const plan& of, const request_source& requests,
                                        unsigned connection) {
  switch (of.to.kind) {
    case scheme::http:
    case scheme::https: return make_http(of, requests, connection);
    case scheme::h2:
    case scheme::h2c: return make_http2(of, requests, connection);
    case scheme::redis: return make_redis(of, requests, connection);
    case scheme::ws: return make_websocket(of, connection);
    case scheme::udp:
    case scheme::dns: throw std::invalid_argument("datagrams are no stream");
    case scheme::tcp:
    case scheme::unix_socket: break;
  }
  switch (of.to.what) {
    case service::discard: return std::make_unique<discard_protocol>(of, connection);
    case service::chargen: return std::make_unique<chargen_protocol>(of);
    case service::exchange: return std::make_unique<exchange_protocol>(of, requests, connection);
    case service::echo: break;
  }
  return std::make_unique<echo_protocol>(of, connection);
}

}  // namespace weir::load
