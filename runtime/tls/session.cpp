// A session's life: handshake, decrypting, encrypting, its end.
#include "runtime/tls/session.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <new>
#include <utility>

namespace weir::detail {

namespace {

std::error_code protocol_error() { return std::make_error_code(std::errc::protocol_error); }

const std::string nothing;

/// What OpenSSL complained of before, of whomever; clearing costs more than looking.
void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

/// Only where something is verified: OpenSSL asks anyway.
int verify_callback(int ok, X509_STORE_CTX* found) noexcept {
  if (ok == 1) return 1;
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(found, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if ((SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0) tls_session::of(*ssl).explain(*found);
  return 0;
}

}  // namespace

tls_session& tls_session::make(any_stream inner, tls_state& state) {
  auto* made = new tls_session(std::move(inner), state);
  try {
    made->begin();
  } catch (...) {
    delete made;
    throw;
  }
  return *made;
}

tls_session::tls_session(any_stream inner, tls_state& state)
    : layer_core(std::move(inner)),
      state_(state.shared_from_this()),
      ssl_(SSL_new(state.ssl.get())) {
  if (ssl_ == nullptr) throw std::bad_alloc();
  auto* bio = BIO_new(method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_verify(ssl_.get(), SSL_get_verify_mode(ssl_.get()), &verify_callback);
  if (state.options.at)
    X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl_.get()),
                               std::chrono::system_clock::to_time_t(*state.options.at));
  if (state.server)
    SSL_set_accept_state(ssl_.get());
  else
    SSL_set_connect_state(ssl_.get());
  if (!state.shown) state.show_with(owner());
  ++state.counters.sessions;
}

void tls_session::set_warm(bool warm) noexcept {
  warm_ = warm;
  if (warm) {
    SSL_clear_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS);
  } else {
    SSL_set_mode(ssl_.get(), SSL_MODE_RELEASE_BUFFERS);
    SSL_free_buffers(ssl_.get());  // or, within a record, behind it
  }
}

tls_session::~tls_session() {
  state_->forget(*this);
  // OpenSSL would hold an end without close_notify against the session to resume.
  if (established_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  --state_->counters.sessions;
}

/// By the BIO: data of one's own on an SSL object costs some hundred bytes.
tls_session& tls_session::of(const SSL& ssl) {
  return *static_cast<tls_session*>(BIO_get_data(SSL_get_rbio(&ssl)));
}

const std::string& tls_session::words() const { return words_ == nullptr ? nothing : *words_; }
const std::string& tls_session::peer() const { return peer_ == nullptr ? nothing : *peer_; }

/// Without memory the code says it alone.
void tls_session::object(std::string words) noexcept {
  words_.reset(new (std::nothrow) std::string(std::move(words)));
}

bool tls_session::prepare(const tls::connect_options& how, tls_handshake& op) {
  const bool verifies = state_->options.verify != tls::verification::none_insecure;
  const auto refuse = [&op](const char* words) {
    op.words = words;
    return false;
  };
  constexpr auto no_name = "no host has such a name";
  std::string peer(how.name);
  // OpenSSL would look no further than a zero byte.
  if (peer.find('\0') != std::string::npos) return refuse(no_name);
  if (peer.size() > 1 && peer.ends_with('.')) peer.pop_back();  // complete, as all are here
  if (peer.empty() && verifies)
    return refuse("a name is needed that the peer's certificate must be for");
  auto* ssl = ssl_.get();
  const bool is_address =
      !peer.empty() && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer.c_str()) == 1;
  if (!peer.empty() && !is_address) {
    // RFC 9525: names are the alternative ones, and a wildcard is a whole label.
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (SSL_set1_host(ssl, peer.c_str()) != 1 || SSL_set_tlsext_host_name(ssl, peer.c_str()) != 1)
      return refuse(no_name);
  }
  if (!offer(how.alpn, op)) return false;
  if (!op.alpn.empty())
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(op.alpn.data()),
                        static_cast<unsigned>(op.alpn.size()));
  if (auto known = state_->resumable(peer)) SSL_set_session(ssl, known.get());
  peer_ = std::make_unique<std::string>(std::move(peer));
  return true;
}

bool tls_session::offer(std::string_view alpn, tls_handshake& op) {
  if (alpn.empty() || !state_->alpn.empty()) return true;
  try {
    op.alpn = alpn_list(alpn);
  } catch (const config_error& e) {
    op.words = e.what();
    return false;
  }
  return true;
}

void tls_session::handshake(tls_handshake& op) {
  handshake_ = &op;
  if (state_->server) state_->handshake_begins(*this);
  shake();
}

/// Gives who waited for it.
tls_handshake* tls_session::end_handshake() noexcept {
  if (handshake_ != nullptr && state_->server) state_->handshake_ended(*this);
  return std::exchange(handshake_, nullptr);
}

void tls_session::displace() {
  handshake_->displaced = true;
  over(make_error_code(error::limit_exceeded), "more than " +
                                                   std::to_string(state_->options.handshakes) +
                                                   " handshakes at once, and this was the oldest");
}

/// Goes on with the handshake as far as what has come allows.
void tls_session::shake() {
  if (handshake_->peer_bytes > state_->options.handshake_bytes)
    return over(make_error_code(error::limit_exceeded),
                "the peer's handshake is longer than " +
                    std::to_string(state_->options.handshake_bytes) + " bytes");
  forget_errors();
  const int done = SSL_do_handshake(ssl_.get());
  if (stuck_ != std::errc()) return broken();
  if (done == 1) {
    established_ = true;
    ++state_->counters.handshakes;
    if (SSL_session_reused(ssl_.get()) == 1) ++state_->counters.resumed;
    push();
    return end_handshake()->complete();
  }
  if (SSL_get_error(ssl_.get(), done) != SSL_ERROR_WANT_READ || inner_ended_) return broken();
  push();
  want_in();
}

void tls_session::want_in() {
  if (!std::exchange(asked_, true)) ask_in();
}

// --- Reading.

/// Whether there is anything for OpenSSL to look at: trying costs as much as a short record does.
bool tls_session::has_ciphertext() const {
  return inner_ended_ || taken_ < chunk_.size() || SSL_has_pending(ssl_.get()) == 1;
}

/// One piece of plaintext. False: there is none now, or never again.
bool tls_session::decrypt(std::byte* into, std::size_t size, std::size_t& got) {
  if (!has_ciphertext()) return false;
  forget_errors();
  const int done = SSL_read_ex(ssl_.get(), into, size, &got);
  if (done == 1) {
    state_->used(*this);
    return true;
  }
  const int why = SSL_get_error(ssl_.get(), done);
  push();  // an answer to a key update, an alert
  if (stuck_ != std::errc()) {
    broken();
  } else if (why == SSL_ERROR_ZERO_RETURN) {
    chunk_.release();
    note_end(socket());
  } else if (why != SSL_ERROR_WANT_READ || inner_ended_) {
    broken();
  }
  return false;
}

void tls_session::bring_in(socket_base& s) {
  if (s.received_all) return bytes_came(s);
  if (asked_) return;
  auto& op = *s.reader;
  bool enough = false;
  if (op.lend) {
    if (block_ == nullptr) block_ = state_->spare_block();
    std::size_t got = 0;
    enough = decrypt(block_.get(), record, got);
    if (enough) {
      s.rx_data = block_.get();
      s.rx_size = static_cast<std::uint32_t>(got);
    } else {
      state_->give_back(std::move(block_));
    }
  } else {
    std::size_t got = 0;
    while (op.filled < op.into().size() &&
           decrypt(op.into().data() + op.filled, op.into().size() - op.filled, got))
      op.filled += got;
    enough = op.filled >= op.minimum();
  }
  if (s.reader == nullptr) return;  // what broke has been said
  if (enough || s.received_all)
    bytes_came(s);
  else
    want_in();
}

bool tls_session::lend(socket_base& s, lent_bytes& lent) {
  lent = {s.rx_data, std::exchange(s.rx_size, 0u), 0, block_.release()};
  lent_out();
  return true;
}

void tls_session::release(lent_bytes& lent) noexcept {
  state_->give_back(std::unique_ptr<std::byte[]>(static_cast<std::byte*>(lent.chunk)));
  came_back();
}

void tls_session::came(lent_buffer chunk) {
  asked_ = false;
  chunk_ = std::move(chunk);
  taken_ = 0;
  if (handshake_ != nullptr) {
    handshake_->peer_bytes += chunk_.size();
    return shake();
  }
  if (socket().reader != nullptr) bring_in(socket());
}

void tls_session::in_ended(std::error_code why) {
  asked_ = false;
  if (why) return over(why, {});
  inner_ended_ = true;
  if (handshake_ != nullptr) return shake();
  if (socket().reader != nullptr) bring_in(socket());
}

// --- Writing.

void tls_session::take_out(socket_base& s) {
  if (writing_out()) return;
  std::array<std::span<const std::byte>, 16> parts;
  const auto some = gather(s, parts);
  std::array<std::byte, record> joined;
  std::size_t total = 0;
  for (std::size_t i = 0, offset = 0; i < some.parts && total < batch;) {
    // Small parts share a record; a large one needs no copy.
    auto piece = parts[i].subspan(offset, std::min(parts[i].size() - offset, record));
    std::size_t filled = 0;
    if (piece.size() < record && i + 1 < some.parts) {
      for (; i < some.parts && filled < record;) {
        piece = parts[i].subspan(offset, std::min(parts[i].size() - offset, record - filled));
        std::memcpy(joined.data() + filled, piece.data(), piece.size());
        filled += piece.size();
        offset += piece.size();
        if (offset == parts[i].size()) ++i, offset = 0;
      }
      piece = std::span(joined).first(filled);
    } else {
      offset += piece.size();
      if (offset == parts[i].size()) ++i, offset = 0;
    }
    std::size_t done = 0;
    forget_errors();
    if (SSL_write_ex(ssl_.get(), piece.data(), piece.size(), &done) != 1 || done != piece.size())
      return broken();
    total += done;
  }
  renew_key(total);
  push();
  sent(s, total);
}

/// RFC 8446 5.5: a key encrypts no more than so much.
void tls_session::renew_key(std::size_t bytes) noexcept {
  key_bytes_ += bytes;
  if (key_bytes_ < state_->options.key_bytes || SSL_version(ssl_.get()) != TLS1_3_VERSION) return;
  key_bytes_ = 0;
  // Said at once: OpenSSL says no goodbye while it has that to say.
  if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
      SSL_do_handshake(ssl_.get()) == 1)
    ++state_->counters.renewed_keys;
}

std::error_code tls_session::send_fin(socket_base&) noexcept {
  forget_errors();
  if (SSL_shutdown(ssl_.get()) < 0) return protocol_error();
  fin_ = true;
  push();
  return {};
}

/// Lets go what waits, unless something is on its way.
void tls_session::push() noexcept {
  if (writing_out() || out_ == nullptr) return;
  going_ = std::move(out_);
  ask_out(*going_);
}

void tls_session::gone(std::error_code why) {
  state_->give_back(std::move(going_));
  if (why) return over(why, {});
  push();
  if (writing_out()) return;
  auto& s = socket();
  if (fin_ && !fin_gone_) {
    fin_gone_ = true;
    (void)end_out();
    if (closer_ != nullptr) std::exchange(closer_, nullptr)->complete();
  }
  if (!s.writers.empty()) take_out(s);
}

void tls_session::close_notify(tls_close_awaiter& op) noexcept {
  auto& s = socket();
  if (s.failure != 0) return op.complete(failure_of(s));
  if (auto error = shutdown_send(s)) return op.complete(error);
  if (fin_gone_) return op.complete();
  if (closer_ != nullptr)
    return op.complete(std::make_error_code(std::errc::device_or_resource_busy));
  closer_ = &op;
}

// --- The end.

/// OpenSSL gave up: says why.
void tls_session::broken() {
  std::string words;  // a certificate's
  if (words_ != nullptr) words.swap(*words_);
  words_.reset();
  auto failure = take_failure(state_->server);
  if (stuck_ == std::errc::not_enough_memory) return over(std::make_error_code(stuck_), {});
  if (stuck_ != std::errc())
    return over(make_error_code(error::limit_exceeded), "too many answers are due");
  if (!words.empty()) return over(make_error_code(error::untrusted), std::move(words));
  if (inner_ended_ && (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) == 0)
    return over(make_error_code(error::truncated),
                established_ ? "the peer ended the connection without close_notify: what came "
                               "before may not be all"
                             : "the peer ended the connection during the handshake");
  over(failure.code, std::move(failure.words));
}

/// Nothing more is read or written, whoever waits hears why. An alert still goes.
void tls_session::over(std::error_code why, std::string words) {
  if (this->words().empty()) object(std::move(words));
  chunk_.release();
  push();
  if (handshake_ != nullptr) {
    handshake_->words = this->words();
    return end_handshake()->complete(why);
  }
  if (closer_ != nullptr) std::exchange(closer_, nullptr)->complete(why);
  auto& s = socket();
  note_end(s, why);
  sending_failed(s, why);
  if (s.reader != nullptr) bytes_came(s);
}

void tls_session::explain(X509_STORE_CTX& found) noexcept {
  try {
    object(verify_words(found, peer(), state_->server));
  } catch (const std::bad_alloc&) {
    object("?");
  }
}

/// Not what was verified before a reload.
void tls_session::keep(ssl_session_ptr resumable) noexcept {
  if (SSL_get_SSL_CTX(ssl_.get()) != state_->ssl.get()) return;
  try {
    state_->keep(peer(), std::move(resumable));
  } catch (const std::bad_alloc&) {  // then it is not resumed
  }
}

// --- OpenSSL's view of the inner stream.

int tls_session::bio_read(BIO* bio, char* into, std::size_t size, std::size_t* got) noexcept {
  auto& self = *static_cast<tls_session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto left = self.chunk_.bytes().subspan(self.taken_);
  *got = std::min(size, left.size());
  if (*got == 0) {
    if (!self.inner_ended_) BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(into, left.data(), *got);
  self.taken_ += *got;
  if (self.taken_ == self.chunk_.size()) {  // given back while it is hot
    self.chunk_.release();
    self.taken_ = 0;
  }
  return 1;
}

int tls_session::bio_write(BIO* bio, const char* from, std::size_t size,
                           std::size_t* done) noexcept {
  auto& self = *static_cast<tls_session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *done = 0;
  if ((self.out_ == nullptr ? 0 : self.out_->size()) + size > most_waiting) {
    self.stuck_ = std::errc::value_too_large;
    return 0;
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(from);
  try {
    if (self.out_ == nullptr) self.out_ = self.state_->spare_buffer();
    self.out_->insert(self.out_->end(), bytes, bytes + size);
  } catch (const std::bad_alloc&) {
    self.stuck_ = std::errc::not_enough_memory;
    return 0;
  }
  *done = size;
  return 1;
}

long tls_session::bio_control(BIO*, int what, long, void*) noexcept {
  return what == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* tls_session::method() {
  static const BIO_METHOD* made = [] {
    auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir stream");
    BIO_meth_set_read_ex(m, &tls_session::bio_read);
    BIO_meth_set_write_ex(m, &tls_session::bio_write);
    BIO_meth_set_ctrl(m, &tls_session::bio_control);
    return m;
  }();
  return made;
}

}  // namespace weir::detail
