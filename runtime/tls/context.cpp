// Contexts: certificates and keys from files or text, whom to trust, ALPN, sessions to resume.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "runtime/tls/session.hpp"
#include "runtime/tls/state.hpp"
#include "weir/detail/shown_counts.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {

[[noreturn]] void refuse(std::string_view key, const std::string& why) {
  ERR_clear_error();
  throw config_error("tls." + std::string(key) + ": " + why);
}

std::string shown(const std::string& source) {
  return source.starts_with("-----BEGIN") ? "the text given" : source;
}

/// A file, or the text itself.
bio_ptr open_pem(std::string_view key, const std::string& source) {
  if (source.starts_with("-----BEGIN"))
    return bio_ptr(BIO_new_mem_buf(source.data(), static_cast<int>(source.size())));
  errno = 0;
  bio_ptr file(BIO_new_file(source.c_str(), "r"));
  if (file == nullptr) refuse(key, "cannot read " + source + ": " + std::strerror(errno));
  return file;
}

/// Nothing where there is no (other) one. `library`: null for OpenSSL's own.
x509_ptr read_certificate(BIO& from, OSSL_LIB_CTX* library) {
  auto* into = X509_new_ex(library, nullptr);
  if (into == nullptr) throw std::bad_alloc();
  if (PEM_read_bio_X509(&from, &into, nullptr, nullptr) == nullptr) {
    X509_free(into);
    return nullptr;
  }
  return x509_ptr(into);
}

void use_certificate(SSL_CTX& ssl, const tls::context_options& o, OSSL_LIB_CTX* library) {
  auto pem = open_pem("certificate", o.certificate);
  const auto own = read_certificate(*pem, library);
  if (own == nullptr)
    refuse("certificate", "there is no PEM certificate in " + shown(o.certificate));
  if (SSL_CTX_use_certificate(&ssl, own.get()) != 1)
    refuse("certificate", "OpenSSL refuses it (a key too short, a digest too weak?)");
  while (const auto next = read_certificate(*pem, library))
    SSL_CTX_add1_chain_cert(&ssl, next.get());
  ERR_clear_error();  // the end of the file

  const auto& place = o.key.empty() ? o.certificate : o.key;
  auto key_pem = open_pem("key", place);
  std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>> key(
      PEM_read_bio_PrivateKey_ex(key_pem.get(), nullptr, nullptr, nullptr, library, nullptr));
  if (key == nullptr) refuse("key", "there is no PEM private key in " + shown(place));
  if (SSL_CTX_use_PrivateKey(&ssl, key.get()) != 1 || SSL_CTX_check_private_key(&ssl) != 1)
    refuse("key", "it is not the key of the certificate");
}

void trust(SSL_CTX& ssl, const tls::context_options& o, OSSL_LIB_CTX* library) {
  if (o.authorities.empty()) {
    SSL_CTX_set_default_verify_paths(&ssl);
    return;
  }
  auto pem = open_pem("authorities", o.authorities);
  std::size_t found = 0;
  while (const auto one = read_certificate(*pem, library)) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(&ssl), one.get());
    SSL_CTX_add_client_CA(&ssl, one.get());
    ++found;
  }
  ERR_clear_error();
  if (found == 0) refuse("authorities", "there is no PEM certificate in " + shown(o.authorities));
}

int choose_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                const unsigned char* offered, unsigned size, void*) {
  const auto& ours = tls_session::of(*ssl).protocols();
  if (ours.empty()) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered,
                            size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int keep_session(SSL* ssl, SSL_SESSION* session) noexcept {
  tls_session::of(*ssl).keep(ssl_session_ptr(session));
  return 1;  // ours now
}

int number_of(tls::version v) {
  return v == tls::version::tls1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

void log_keys(const SSL* ssl, const char* line) noexcept {
  auto* to = tls_session::of(*ssl).state().key_log.get();
  if (to == nullptr) return;
  BIO_puts(to, line);
  BIO_puts(to, "\n");
  (void)BIO_flush(to);
}

bio_ptr open_key_log(const std::string& file) {
  if (file.empty()) return nullptr;
  errno = 0;
  bio_ptr opened(BIO_new_file(file.c_str(), "a"));
  if (opened == nullptr) refuse("key_log", "cannot write " + file + ": " + std::strerror(errno));
  return opened;
}

void share_tickets(SSL_CTX& ssl, const std::string& secret, OSSL_LIB_CTX* library) {
  if (secret.empty()) return;
  if (secret.size() < 32) refuse("ticket_secret", "it has less than 32 bytes");
  // A name, a key for the signature and one for the cipher: 80 bytes, as OpenSSL has them.
  std::array<unsigned char, 128> keys;
  std::unique_ptr<EVP_MD, freed_by<EVP_MD_free>> hash(EVP_MD_fetch(library, "SHA512", nullptr));
  for (std::size_t half = 0; half < 2; ++half) {
    const auto text = secret + static_cast<char>('1' + half);
    if (hash == nullptr || EVP_Digest(text.data(), text.size(), keys.data() + 64 * half, nullptr,
                                      hash.get(), nullptr) != 1)
      throw std::bad_alloc();
  }
  if (SSL_CTX_set_tlsext_ticket_keys(&ssl, keys.data(), 80) != 1)
    refuse("ticket_secret", "OpenSSL does not take it");
}

/// SNI: the certificate of the name that is asked for.
int choose_certificate(SSL* ssl, int*, void*) noexcept {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  constexpr unsigned how =
      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  for (const auto& other : tls_session::of(*ssl).state().others)
    if (X509_check_host(SSL_CTX_get0_certificate(other.get()), name, 0, how, nullptr) == 1) {
      SSL_set_SSL_CTX(ssl, other.get());
      break;
    }
  return SSL_TLSEXT_ERR_OK;
}

ssl_context_ptr make_context(const tls::context_options& o, bool server, OSSL_LIB_CTX* library) {
  ssl_context_ptr made(
      SSL_CTX_new_ex(library, nullptr, server ? TLS_server_method() : TLS_client_method()));
  if (made == nullptr) throw std::bad_alloc();
  auto& ssl = *made;
  SSL_CTX_set_min_proto_version(&ssl, number_of(o.minimum));
  SSL_CTX_set_max_proto_version(&ssl, number_of(o.maximum));
  SSL_CTX_set_options(&ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(&ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (!o.certificate.empty())
    use_certificate(ssl, o, library);
  else if (server)
    refuse("certificate", "a server needs one, and its key");
  use_staples(ssl, server);
  if (!o.key_log.empty()) SSL_CTX_set_keylog_callback(&ssl, &log_keys);
  const bool verifies = server ? o.ask != tls::client_certificates::none
                               : o.verify != tls::verification::none_insecure;
  if (verifies) {
    trust(ssl, o, library);
    const int must =
        server && o.ask == tls::client_certificates::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(&ssl, SSL_VERIFY_PEER | must, nullptr);
    SSL_CTX_set_verify_depth(&ssl, tls_state::most_between);
  }
  if (server) {
    static constexpr unsigned char name[] = "weir";
    SSL_CTX_set_session_id_context(&ssl, name, sizeof(name) - 1);
    if (!o.tickets) {
      SSL_CTX_set_num_tickets(&ssl, 0);
      SSL_CTX_set_options(&ssl, SSL_OP_NO_TICKET);
    }
    share_tickets(ssl, o.ticket_secret, library);
    SSL_CTX_set_alpn_select_cb(&ssl, &choose_alpn, nullptr);
    SSL_CTX_set_tlsext_servername_callback(&ssl, &choose_certificate);
    // Tickets resume; a cache of sessions would grow with the peers.
    SSL_CTX_set_session_cache_mode(&ssl, SSL_SESS_CACHE_OFF);
  } else {
    SSL_CTX_set_session_cache_mode(&ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(&ssl, &keep_session);
  }
  return made;
}

}  // namespace

std::string alpn_list(std::string_view names) {
  std::string out;
  while (!names.empty()) {
    const auto end = names.find(',');
    const auto name = names.substr(0, end);
    if (name.empty() || name.size() > 255) refuse("alpn", "a protocol's name has 1 to 255 bytes");
    out += static_cast<char>(name.size());
    out += name;
    names = end == std::string_view::npos ? std::string_view() : names.substr(end + 1);
  }
  return out;
}

namespace {
template <bool Server>
void tell_counters(const void* of, shown_counts::numbers& out) {
  const auto& c = *static_cast<const tls::context_counters*>(of);
  constexpr std::string_view group = Server ? "tls_server" : "tls_client";
  out.push_back({group, "handshakes", "TLS handshakes that succeeded", c.handshakes});
  out.push_back({group, "resumed", "of these, such as resumed a session", c.resumed});
  out.push_back({group, "failed", "TLS handshakes that failed", c.failed});
  out.push_back({group, "displaced", "of these, such as made way for newer ones", c.displaced});
  out.push_back({group, "sessions", "TLS sessions that live", c.sessions, true});
  out.push_back({group, "renewed_keys", "keys that were renewed", c.renewed_keys});
}
}  // namespace

void tls_state::show_with(shard& of) {
  of.local<shown_counts>().add(counted, server ? &tell_counters<true> : &tell_counters<false>);
  shown = true;
}

tls_state::tls_state(const tls::context_options& o, bool is_server) : server(is_server) {
  spare_.reserve(most_spare);
  spare_blocks_.reserve(most_spare);
  reload(o);
}

void tls_state::reload(const tls::context_options& o) {
  auto protocols = alpn_list(o.alpn);
  // A seed stays: its generator goes on.
  if (o.insecure_seed && library == nullptr) library = seeded_library(*o.insecure_seed);
  auto made = make_context(o, server, library.get());
  std::vector<ssl_context_ptr> further;
  for (const auto& one : o.others) {
    auto like = o;
    like.certificate = one.certificate;
    like.key = one.key;
    further.push_back(make_context(like, server, library.get()));
  }
  auto says = load_staple(o.staple);
  auto log = open_key_log(o.key_log);
  ssl = std::move(made);
  others = std::move(further);
  staple = std::move(says);
  key_log = std::move(log);
  alpn = std::move(protocols);
  options = o;
  sessions_.clear();  // they were verified by what was trusted then
}

ssl_session_ptr tls_state::resumable(const std::string& peer) {
  const auto found = sessions_.find(peer);
  if (found == sessions_.end()) return nullptr;
  if (SSL_SESSION_get_protocol_version(found->second.get()) < TLS1_3_VERSION) {
    SSL_SESSION_up_ref(found->second.get());
    return ssl_session_ptr(found->second.get());
  }
  auto session = std::move(found->second);
  sessions_.erase(found);
  return session;
}

void tls_state::keep(const std::string& peer, ssl_session_ptr session) {
  if (sessions_.size() >= most_resumable && !sessions_.contains(peer))
    sessions_.erase(sessions_.begin());
  sessions_[peer] = std::move(session);
}

tls_buffer tls_state::spare_buffer() {
  if (spare_.empty()) return std::make_unique<std::vector<std::byte>>();
  auto buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void tls_state::give_back(tls_buffer buffer) noexcept {
  if (buffer == nullptr || spare_.size() == most_spare) return;
  buffer->clear();
  spare_.push_back(std::move(buffer));
}

std::unique_ptr<std::byte[]> tls_state::spare_block() {
  if (spare_blocks_.empty()) return std::make_unique_for_overwrite<std::byte[]>(record);
  auto block = std::move(spare_blocks_.back());
  spare_blocks_.pop_back();
  return block;
}

void tls_state::give_back(std::unique_ptr<std::byte[]> block) noexcept {
  if (block != nullptr && spare_blocks_.size() < most_spare)
    spare_blocks_.push_back(std::move(block));
}

/// Whoever shakes hands honestly has finished long before so many others came: in a flood of half
/// handshakes it is the flood's that are the oldest.
void tls_state::handshake_begins(tls_session& session) {
  if (shakes_ != 0 && shakes_ >= options.handshakes) {
    ++counters.displaced;
    shaking_.front()->displace();
  }
  shaking_.push_back(session);
  ++shakes_;
}

void tls_state::handshake_ended(tls_session& session) noexcept {
  shaking_.remove(session);
  --shakes_;
}

void tls_state::used(tls_session& session) noexcept {
  if (session.note_used()) return;
  if (counters.with_buffers == most_warm) {
    // Whoever was used since he was looked at last gets another round.
    auto* coldest = warm_.pop_front();
    while (coldest->take_used()) {
      warm_.push_back(*coldest);
      coldest = warm_.pop_front();
    }
    cool(*coldest);
  }
  warm_.push_back(session);
  ++counters.with_buffers;
  session.set_warm(true);
  if (!idle_timer_.armed()) arm_timer(session.owner(), idle_timer_, idle_time);
}

/// It stands in no queue any more.
void tls_state::cool(tls_session& session) noexcept {
  session.set_warm(false);
  --counters.with_buffers;
}

void tls_state::forget(tls_session& session) noexcept {
  if (!session.is_warm()) return;
  warm_.remove(session);
  if (--counters.with_buffers == 0) idle_timer_.disarm();
}

void tls_state::look_for_idle(timer_node& node) noexcept {
  auto& self = *static_cast<idle_timer&>(node).state;
  for (auto left = self.counters.with_buffers; left != 0; --left) {
    auto& next = *self.warm_.pop_front();
    if (next.take_used())
      self.warm_.push_back(next);
    else
      self.cool(next);
  }
  if (auto* busy = self.warm_.front()) return arm_timer(busy->owner(), node, idle_time);
  self.spare_.clear();
  self.spare_blocks_.clear();
}

}  // namespace weir::detail

namespace weir::tls {

context::context(const context_options& options, bool server)
    : state_(std::make_shared<detail::tls_state>(options, server)) {}
context::~context() = default;

const context_counters& context::counters() const { return state_->counters; }
const std::string& context::last_failure() const { return state_->last_failure; }
void context::reload(const context_options& options) { state_->reload(options); }

context_options options_from(const config::tls_section& section) {
  context_options out;
  for (const auto& file : section.others) out.others.push_back({file, {}});
  if (const auto& file = section.ticket_secret; !file.empty()) {
    std::ifstream in(file, std::ios::binary);
    out.ticket_secret.assign(std::istreambuf_iterator<char>(in), {});
    if (!in) throw config_error("tls.ticket_secret: cannot read " + file);
    if (out.ticket_secret.empty()) throw config_error("tls.ticket_secret: " + file + " is empty");
  }
  out.certificate = section.certificate;
  out.key = section.key;
  out.authorities = section.authorities;
  out.minimum = section.minimum == "1.3" ? version::tls1_3 : version::tls1_2;
  return out;
}

}  // namespace weir::tls
