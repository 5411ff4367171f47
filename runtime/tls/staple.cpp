// OCSP staples (RFC 6066 8): what a server says of its own certificate, in its authority's words.
#include <openssl/err.h>
#include <openssl/ocsp.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include "runtime/tls/session.hpp"
#include "runtime/tls/state.hpp"

namespace weir::detail {

namespace {

using response_ptr = std::unique_ptr<OCSP_RESPONSE, freed_by<OCSP_RESPONSE_free>>;
using basic_ptr = std::unique_ptr<OCSP_BASICRESP, freed_by<OCSP_BASICRESP_free>>;
using id_ptr = std::unique_ptr<OCSP_CERTID, freed_by<OCSP_CERTID_free>>;

constexpr long clock_difference = 300;  // seconds that two machines may be apart

struct single_status {
  int what = -1;  // none for this certificate
  int reason = -1;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *from = nullptr, *until = nullptr;
};

basic_ptr read(const unsigned char* der, long size) {
  response_ptr all(d2i_OCSP_RESPONSE(nullptr, &der, size));
  if (all == nullptr || OCSP_response_status(all.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
    return nullptr;
  return basic_ptr(OCSP_response_get1_basic(all.get()));
}

/// Whether an answer is about this certificate: its issuer's name and key are hashed as it says.
bool is_about(OCSP_SINGLERESP& one, X509& certificate, X509& issuer) {
  auto* id = const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(&one));
  ASN1_OBJECT* algorithm = nullptr;
  OCSP_id_get0_info(nullptr, &algorithm, nullptr, nullptr, id);
  const auto* digest = EVP_get_digestbyobj(algorithm);
  if (digest == nullptr) return false;
  id_ptr ours(OCSP_cert_to_id(digest, &certificate, &issuer));
  return ours != nullptr && OCSP_id_cmp(ours.get(), id) == 0;
}

single_status find(OCSP_BASICRESP& in, X509& certificate, X509& issuer) {
  single_status out;
  for (int i = 0; i < OCSP_resp_count(&in); ++i) {
    auto* one = OCSP_resp_get0(&in, i);
    if (!is_about(*one, certificate, issuer)) continue;
    out.what = OCSP_single_get0_status(one, &out.reason, &out.revoked, &out.from, &out.until);
    break;
  }
  return out;
}

bool is_valid_at(const single_status& of, std::time_t now) {
  auto early = now + clock_difference, late = now - clock_difference;
  if (of.from == nullptr || X509_cmp_time(of.from, &early) > 0) return false;
  return of.until == nullptr || X509_cmp_time(of.until, &late) > 0;
}

/// What speaks against the certificate; nothing where nothing does. A staple that is there has to
/// be right.
std::string objection(SSL& ssl, std::time_t now) {
  const unsigned char* der = nullptr;
  const auto size = SSL_get_tlsext_status_ocsp_resp(&ssl, &der);
  auto* chain = SSL_get0_verified_chain(&ssl);
  if (der == nullptr || size <= 0 || sk_X509_num(chain) < 1) return {};
  auto* own = sk_X509_value(chain, 0);
  auto* issuer = sk_X509_value(chain, sk_X509_num(chain) > 1 ? 1 : 0);
  const auto staple = "the OCSP staple for the certificate of " + owner_of(*own);
  const auto basic = read(der, size);
  auto* store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(&ssl));
  if (basic == nullptr) return staple + " cannot be read: its server must get a new one";
  if (OCSP_basic_verify(basic.get(), chain, store, 0) != 1)
    return staple + " is not signed by its authority: its server must get a new one";
  const auto found = find(*basic, *own, *issuer);
  if (found.what < 0) return staple + " is about other certificates";
  if (found.what == V_OCSP_CERTSTATUS_REVOKED)
    return "the certificate of " + owner_of(*own) + " was revoked on " + shown(found.revoked) +
           ", as its OCSP staple says: its owner must get another";
  if (found.what != V_OCSP_CERTSTATUS_GOOD) return staple + " says that nobody knows it";
  if (!is_valid_at(found, now)) return staple + " is not valid now: its server must get a new one";
  return {};
}

int give(SSL* ssl, void*) noexcept {
  const auto& state = tls_session::of(*ssl).state();
  const auto& staple = state.staple;  // about the first certificate, no other
  if (staple.empty() || SSL_get_SSL_CTX(ssl) != state.ssl.get()) return SSL_TLSEXT_ERR_NOACK;
  auto* copy = static_cast<unsigned char*>(OPENSSL_malloc(staple.size()));  // becomes the session's
  if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
  std::memcpy(copy, staple.data(), staple.size());
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(staple.size()));
  return SSL_TLSEXT_ERR_OK;
}

int check(SSL* ssl, void*) noexcept {
  if ((SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) == 0) return 1;
  auto& session = tls_session::of(*ssl);
  try {
    auto words =
        objection(*ssl, std::chrono::system_clock::to_time_t(
                            session.state().options.at.value_or(std::chrono::system_clock::now())));
    ERR_clear_error();
    if (words.empty()) return 1;
    session.object(std::move(words));
  } catch (const std::bad_alloc&) {
    session.object("?");
  }
  return 0;
}

}  // namespace

void use_staples(SSL_CTX& ssl, bool server) {
  SSL_CTX_set_tlsext_status_cb(&ssl, (server ? &give : &check));
  if (!server) SSL_CTX_set_tlsext_status_type(&ssl, TLSEXT_STATUSTYPE_ocsp);
}

std::string load_staple(const std::string& file) {
  if (file.empty()) return {};
  std::ifstream in(file, std::ios::binary);
  std::string der{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw config_error("tls.staple: cannot read " + file + ": " + std::strerror(errno));
  if (read(reinterpret_cast<const unsigned char*>(der.data()), static_cast<long>(der.size())) ==
      nullptr) {
    ERR_clear_error();
    throw config_error("tls.staple: there is no successful OCSP response (DER) in " + file);
  }
  return der;
}

}  // namespace weir::detail
