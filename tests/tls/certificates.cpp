// Makes keys and certificates with OpenSSL, P-256 throughout.
#include "tls/certificates.hpp"

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace tls_test {

namespace {

std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(bio, &bytes);
  std::string out(bytes, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}
std::string pem_of(X509* certificate) {
  auto* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  return text_of(bio);
}
std::string pem_of(EVP_PKEY* key) {
  auto* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  return text_of(bio);
}

void extend(X509* to, X509* issuer, int what, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  auto* made = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
  if (made == nullptr) throw std::runtime_error("no extension: " + value);
  X509_add_ext(to, made, -1);
  X509_EXTENSION_free(made);
}

X509* draft(EVP_PKEY* key, const std::string& name, long from_days, long to_days) {
  static long serial = 1;
  auto* made = X509_new();
  X509_set_version(made, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(made), from_days * 86400);
  X509_gmtime_adj(X509_getm_notAfter(made), to_days * 86400);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_pubkey(made, key);
  return made;
}

issued finish(X509* made, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, const wanted& what) {
  X509_set_issuer_name(made, X509_get_subject_name(issuer));
  const bool address = what.name.find_first_not_of("0123456789.") == std::string::npos;
  if (!what.common_name_only)
    extend(made, issuer, NID_subject_alt_name, (address ? "IP:" : "DNS:") + what.name);
  extend(made, issuer, NID_ext_key_usage, what.for_clients ? "clientAuth" : "serverAuth");
  X509_sign(made, issuer_key, EVP_sha256());
  issued out{pem_of(made), pem_of(key)};
  X509_free(made);
  EVP_PKEY_free(key);
  return out;
}

}  // namespace

struct authority::impl {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = nullptr;
  std::string chain;  // from here up, without the root
};

authority::authority(const std::string& name) : impl_(std::make_unique<impl>()) {
  auto* own = impl_->certificate = draft(impl_->key, name, -1, 365);
  X509_set_issuer_name(own, X509_get_subject_name(own));
  extend(own, own, NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(own, impl_->key, EVP_sha256());
}
authority::authority(const std::string& name, const authority& above)
    : impl_(std::make_unique<impl>()) {
  auto* own = impl_->certificate = draft(impl_->key, name, -1, 365);
  X509_set_issuer_name(own, X509_get_subject_name(above.impl_->certificate));
  extend(own, above.impl_->certificate, NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(own, above.impl_->key, EVP_sha256());
  impl_->chain = pem_of(own) + above.impl_->chain;
}
authority::~authority() {
  X509_free(impl_->certificate);
  EVP_PKEY_free(impl_->key);
}

std::string authority::certificate() const { return pem_of(impl_->certificate); }

issued authority::issue(const wanted& what) {
  auto* key = EVP_EC_gen("P-256");
  auto* made = draft(key, what.name, what.from_days, what.to_days);
  auto out = finish(made, key, impl_->certificate, impl_->key, what);
  out.certificate += impl_->chain;
  return out;
}

std::string authority::staple(const issued& about, bool revoked, long from_days) const {
  auto* pem = BIO_new_mem_buf(about.certificate.data(), static_cast<int>(about.certificate.size()));
  auto* certificate = PEM_read_bio_X509(pem, nullptr, nullptr, nullptr);
  BIO_free(pem);
  auto* from = X509_gmtime_adj(nullptr, from_days * 86400);
  auto* until = X509_gmtime_adj(nullptr, (from_days + 1) * 86400);
  auto* basic = OCSP_BASICRESP_new();
  auto* id = OCSP_cert_to_id(EVP_sha256(), certificate, impl_->certificate);
  OCSP_basic_add1_status(basic, id, revoked ? V_OCSP_CERTSTATUS_REVOKED : V_OCSP_CERTSTATUS_GOOD,
                         OCSP_REVOKED_STATUS_KEYCOMPROMISE, from, from, until);
  OCSP_basic_sign(basic, impl_->certificate, impl_->key, EVP_sha256(), nullptr, 0);
  auto* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_RESPONSE(response, &der);
  std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  OCSP_RESPONSE_free(response);
  OCSP_CERTID_free(id);
  OCSP_BASICRESP_free(basic);
  ASN1_TIME_free(from);
  ASN1_TIME_free(until);
  X509_free(certificate);
  return out;
}

issued authority::self_signed(const wanted& what) {
  auto* key = EVP_EC_gen("P-256");
  auto* made = draft(key, what.name, what.from_days, what.to_days);
  return finish(made, key, made, key, what);
}

}  // namespace tls_test
