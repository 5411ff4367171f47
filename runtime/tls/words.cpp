// What went wrong, said so that a person knows what to do; and certificates as values.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>
#include <utility>

#include "runtime/tls/state.hpp"

namespace weir::detail {

namespace {

std::string name_of(const X509_NAME* name) {
  std::unique_ptr<BIO, freed_by<BIO_free_all>> text(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(text.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(text.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

/// What the peer wrote goes into logs and onto terminals: nothing but printable characters.
std::string printable(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

std::time_t seconds_of(const ASN1_TIME* when) {
  std::tm parts{};
  ASN1_TIME_to_tm(when, &parts);
  return timegm(&parts);
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "nobody" : out;
}

}  // namespace

std::string shown(const ASN1_TIME* when) {
  std::tm parts{};
  ASN1_TIME_to_tm(when, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

std::string owner_of(X509& certificate) {
  const auto names = names_of(certificate);
  return names.empty() ? printable(name_of(X509_get_subject_name(&certificate))) : names.front();
}

std::vector<std::string> names_of(X509& certificate) {
  std::vector<std::string> out;
  std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>> all(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const auto* one = sk_GENERAL_NAME_value(all.get(), i);
    const bool host = one->type == GEN_DNS;
    if (!host && one->type != GEN_IPADD) continue;
    const auto* text = host ? one->d.dNSName : one->d.iPAddress;
    const auto* bytes = ASN1_STRING_get0_data(text);
    const auto size = static_cast<std::size_t>(ASN1_STRING_length(text));
    if (host) {
      out.push_back(printable({reinterpret_cast<const char*>(bytes), size}));
    } else if (size == 4 || size == 16) {
      char shown_address[INET6_ADDRSTRLEN];
      out.emplace_back(
          inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, shown_address, sizeof(shown_address)));
    }
  }
  return out;
}

tls::certificate describe(X509& certificate) {
  tls::certificate out;
  out.subject = printable(name_of(X509_get_subject_name(&certificate)));
  out.issuer = printable(name_of(X509_get_issuer_name(&certificate)));
  out.names = names_of(certificate);
  using clock = std::chrono::system_clock;
  out.not_before = clock::from_time_t(seconds_of(X509_get0_notBefore(&certificate)));
  out.not_after = clock::from_time_t(seconds_of(X509_get0_notAfter(&certificate)));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(&certificate, EVP_sha256(), digest, &size);
  for (unsigned i = 0; i < size; ++i) {
    constexpr char digits[] = "0123456789abcdef";
    out.sha256 += digits[digest[i] >> 4];
    out.sha256 += digits[digest[i] & 15];
  }
  return out;
}

std::string verify_words(X509_STORE_CTX& found, std::string_view asked, bool of_client) {
  const int why = X509_STORE_CTX_get_error(&found);
  auto* certificate = X509_STORE_CTX_get_current_cert(&found);
  if (certificate == nullptr) return X509_verify_cert_error_string(why);
  const auto whose = "the certificate of " + owner_of(*certificate);
  switch (why) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return whose + " expired on " + shown(X509_get0_notAfter(certificate)) +
             ": its owner must renew it (or this machine's clock is wrong)";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return whose + " is valid only from " + shown(X509_get0_notBefore(certificate)) +
             " on: is this machine's clock right?";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "name mismatch: asked for " + std::string(asked) + ", the certificate is for " +
             joined(names_of(*certificate));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return whose + " is signed by itself: to trust it, name it in tls.authorities";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return whose + " is signed by " + printable(name_of(X509_get_issuer_name(certificate))) +
             ", whom nobody here trusts: name that authority in tls.authorities, or let the peer "
             "send the certificates between";
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return whose + " has more than " + std::to_string(tls_state::most_between) +
             " certificates between it and its root";
    case X509_V_ERR_INVALID_PURPOSE:
      return whose + " is not for " + (of_client ? "clients" : "servers") +
             " (its extended key usage): its authority must issue another";
    default: return whose + " was not accepted: " + X509_verify_cert_error_string(why);
  }
}

openssl_failure take_failure(bool server) {
  const auto found = ERR_peek_error();
  const int reason = ERR_GET_REASON(found);
  const char* text = found != 0 ? ERR_reason_error_string(found) : nullptr;
  openssl_failure out{std::make_error_code(std::errc::protocol_error),
                      text != nullptr ? text : "the peer broke the protocol"};
  ERR_clear_error();
  if (ERR_GET_LIB(found) != ERR_LIB_SSL) return out;
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return {make_error_code(error::untrusted),
              "the client gave no certificate, and this server requires one"};
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      out.words = "the peer speaks plain HTTP to a port that is TLS's";
      break;
    case SSL_R_WRONG_VERSION_NUMBER: out.words = "what the peer sends is not TLS"; break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      out.words = "no common version of TLS: see tls.minimum on both sides";
      break;
    case SSL_R_NO_SHARED_CIPHER:
      out.words = "no common cipher: what does the certificate's key allow?";
      break;
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: out.words = "no common protocol (ALPN)"; break;
    default:
      if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
        out.words = std::string("the peer refused us: ") +
                    SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET) +
                    (server ? "" : " (its log says more)");
  }
  return out;
}

}  // namespace weir::detail
