// HTTP/2 as a load speaks it: nghttp2 without I/O, as many streams at once as the plan's depth and
// the server allow. A stream that is reset, and a status from 400 on, are errors.
#include "load/protocol.hpp"

#if WEIR_LOAD_WITH_HTTP2
#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <unordered_map>
#endif

#include <stdexcept>

namespace weir::load {

#if WEIR_LOAD_WITH_HTTP2
namespace {

constexpr std::int32_t window = 1 << 24;  // bytes: answers never wait for our word

nghttp2_nv field(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
          value.size(), NGHTTP2_NV_FLAG_NONE};
}

class http2_protocol : public protocol {
 public:
  explicit http2_protocol(const plan& of) : plan_(of), authority_(of.to.authority()) {
    if (of.requests.size() != 1)
      throw std::invalid_argument("h2 asks for one thing: a mix is there for http and redis");
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_header_callback(calls, &http2_protocol::on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, &http2_protocol::on_close);
    const int made = nghttp2_session_client_new(&session_, calls, this);
    nghttp2_session_callbacks_del(calls);
    if (made != 0) throw std::bad_alloc();
  }
  ~http2_protocol() override { nghttp2_session_del(session_); }
  http2_protocol(const http2_protocol&) = delete;
  http2_protocol& operator=(const http2_protocol&) = delete;

  std::string greeting() override {
    const nghttp2_settings_entry entries[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                              {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries, 2);
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, window);
    std::string out;
    flush(out);
    return out;
  }

  void ask(std::string& out) override {
    const auto& asked = plan_.requests[0];
    const std::string_view path = asked.path.empty() ? plan_.to.path : asked.path;
    std::vector<nghttp2_nv> fields{field(":method", asked.method),
                                   field(":scheme", plan_.to.secure() ? "https" : "http"),
                                   field(":authority", authority_), field(":path", path)};
    nghttp2_data_provider body{};
    body.source.ptr = this;
    body.read_callback = &http2_protocol::on_body;
    const auto id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                           asked.body.empty() ? nullptr : &body, nullptr);
    const auto which = asked_++;
    if (id < 0)
      done_.push_back({which, "no stream is left"});
    else
      streams_[id].which = which;
    flush(out);
  }

  step feed(std::span<const std::byte>& bytes) override {
    if (!opened_ && !bytes.empty()) {
      const auto n = receive(bytes);
      if (!n) return {step::kind::broken, 0, why_};
      // The server's settings come first (RFC 9113 3.4).
      opened_ = true;
      return {step::kind::opened, 0, {}};
    }
    if (!bytes.empty() && !receive(bytes)) return {step::kind::broken, 0, why_};
    if (done_.empty()) return {};
    const auto next = std::move(done_.front());
    done_.pop_front();
    if (next.why.empty()) return {step::kind::answered, next.which, {}};
    why_ = next.why;
    return {step::kind::refused, next.which, why_};
  }

  step end() override {
    if (streams_.empty()) return {};
    return {step::kind::broken, 0, "the answer was cut short"};
  }
  void reply(std::string& out) override { flush(out); }
  bool last() const override { return nghttp2_session_want_read(session_) == 0; }

 private:
  struct stream {
    std::uint64_t which = 0;
    int status = 0;
    std::size_t sent = 0;  // of the body
  };
  struct answer {
    std::uint64_t which;
    std::string why;
  };

  bool receive(std::span<const std::byte>& bytes) {
    const auto n = nghttp2_session_mem_recv(
        session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    if (n < 0) return why_ = nghttp2_strerror(static_cast<int>(n)), false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    return true;
  }
  void flush(std::string& out) {
    for (;;) {
      const std::uint8_t* data = nullptr;
      const auto n = nghttp2_session_mem_send(session_, &data);
      if (n <= 0) return;
      out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    }
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* self) {
    const std::string_view n(reinterpret_cast<const char*>(name), name_size);
    const std::string_view v(reinterpret_cast<const char*>(value), value_size);
    auto& all = static_cast<http2_protocol*>(self)->streams_;
    const auto found = all.find(frame->hd.stream_id);
    if (n == ":status" && v.size() == 3 && found != all.end())
      found->second.status = (v[0] - '0') * 100 + (v[1] - '0') * 10 + (v[2] - '0');
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* of) {
    auto& self = *static_cast<http2_protocol*>(of);
    const auto found = self.streams_.find(id);
    if (found == self.streams_.end()) return 0;
    answer done{found->second.which, {}};
    const int status = found->second.status;
    if (error != NGHTTP2_NO_ERROR)
      done.why = fmt::format("stream reset: {}", nghttp2_http2_strerror(error));
    else if (status < 200 || status >= 400)
      done.why = fmt::format("status {}", status);
    self.done_.push_back(std::move(done));
    self.streams_.erase(found);
    return 0;
  }
  static ssize_t on_body(nghttp2_session*, std::int32_t id, std::uint8_t* into, std::size_t most,
                         std::uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& self = *static_cast<http2_protocol*>(source->ptr);
    const auto& body = self.plan_.requests[0].body;
    auto& sent = self.streams_[id].sent;
    const auto n = std::min(most, body.size() - sent);
    std::memcpy(into, body.data() + sent, n);
    sent += n;
    if (sent == body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  const plan& plan_;
  std::string authority_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<std::int32_t, stream> streams_;
  std::deque<answer> done_;
  std::uint64_t asked_ = 0;
  bool opened_ = false;
  std::string why_;
};

}  // namespace

std::unique_ptr<protocol> make_http2(const plan& of, const request_source&, unsigned) {
  return std::make_unique<http2_protocol>(of);
}
#else
std::unique_ptr<protocol> make_http2(const plan&, const request_source&, unsigned) {
  throw std::invalid_argument("h2:// was not built in: it needs libnghttp2-dev");
}
#endif

}  // namespace weir::load
