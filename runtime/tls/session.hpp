// One secured stream: an SSL object between two streams. Ciphertext comes from the inner stream's
// lent chunks and is decrypted straight into the reader's memory; what is written is encrypted into
// one buffer, which goes out as one write of the inner stream and takes no more until it has gone.
// Writes are done when they are encrypted: the buffer stands for a socket's send buffer. An idle
// session holds no buffer, and little else.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/sockets/layer_core.hpp"
#include "runtime/tls/state.hpp"

namespace weir::detail {

class tls_session final : public layer_core, public stack::queue_link<> {
 public:
  /// Throws std::bad_alloc.
  static tls_session& make(any_stream inner, tls_state& state);

  /// Prepares a client's session. False, and words, where the options cannot be used.
  bool prepare(const tls::connect_options& how, tls_handshake& op);
  /// A server's protocols, where its context names none.
  bool offer(std::string_view alpn, tls_handshake& op);
  /// As the wire has them, during the handshake.
  const std::string& protocols() const {
    return handshake_ == nullptr || handshake_->alpn.empty() ? state_->alpn : handshake_->alpn;
  }
  /// `op` is completed when it is over.
  void handshake(tls_handshake& op);
  /// Nobody waits for it any longer.
  void forget_handshake() noexcept { (void)end_handshake(); }
  /// Ends it for a newer one.
  void displace();

  void close_notify(tls_close_awaiter& op) noexcept;
  void forget_closer() noexcept { closer_ = nullptr; }

  /// Whether OpenSSL keeps its record buffers between records.
  bool is_warm() const { return warm_; }
  void set_warm(bool warm) noexcept;
  /// Gives whether it does.
  bool note_used() noexcept { return used_ = warm_; }
  bool take_used() noexcept { return std::exchange(used_, false); }

  SSL& ssl() const { return *ssl_; }
  /// Why it broke.
  const std::string& words() const;
  tls_state& state() const { return *state_; }

  void settle(socket_base&) noexcept override {}
  void release(lent_bytes& lent) noexcept override;

  // For OpenSSL's callbacks.
  static tls_session& of(const SSL& ssl);
  void explain(X509_STORE_CTX& found) noexcept;
  void keep(ssl_session_ptr resumable) noexcept;
  /// Something else speaks against the peer's certificate.
  void object(std::string words) noexcept;

 private:
  tls_session(any_stream inner, tls_state& state);
  ~tls_session() override;

  // How much is encrypted at once, and how much may wait to go where the peer makes us answer.
  static constexpr std::size_t batch = 64 * 1024;
  static constexpr std::size_t most_waiting = 256 * 1024;
  static constexpr std::size_t record = tls_state::record;

  void bring_in(socket_base& s) override;
  bool lend(socket_base& s, lent_bytes& lent) override;
  void take_out(socket_base& s) override;
  std::error_code send_fin(socket_base& s) noexcept override;
  void came(lent_buffer chunk) override;
  void in_ended(std::error_code why) override;
  void gone(std::error_code why) override;
  void flush() noexcept override { push(); }

  void shake();
  tls_handshake* end_handshake() noexcept;
  const std::string& peer() const;
  bool has_ciphertext() const;
  bool decrypt(std::byte* into, std::size_t size, std::size_t& got);
  void want_in();
  void push() noexcept;
  void renew_key(std::size_t bytes) noexcept;
  void over(std::error_code why, std::string words);
  void broken();

  static const BIO_METHOD* method();
  static int bio_read(BIO* bio, char* into, std::size_t size, std::size_t* got) noexcept;
  static int bio_write(BIO* bio, const char* from, std::size_t size, std::size_t* done) noexcept;
  static long bio_control(BIO* bio, int what, long, void*) noexcept;

  std::shared_ptr<tls_state> state_;
  ssl_ptr ssl_;
  tls_handshake* handshake_ = nullptr;
  tls_close_awaiter* closer_ = nullptr;
  // Most sessions have neither of these.
  std::unique_ptr<std::string> peer_;   // the name asked for
  std::unique_ptr<std::string> words_;  // why it broke
  lent_buffer chunk_;                   // ciphertext
  std::size_t taken_ = 0;
  std::uint64_t key_bytes_ = 0;         // sent under this key
  std::unique_ptr<std::byte[]> block_;  // plaintext to lend
  tls_buffer out_;                      // ciphertext to go
  tls_buffer going_;                    // that goes
  bool asked_ = false;
  bool established_ = false;
  bool warm_ = false;
  bool used_ = false;  // since the others were looked at
  bool inner_ended_ = false;
  bool fin_ = false;  // close_notify is in out_ or going_
  bool fin_gone_ = false;
  std::errc stuck_ = {};  // why nothing could be added to out_
};

}  // namespace weir::detail
