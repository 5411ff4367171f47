// Certificates that a test makes for itself, good and bad, as PEM text.
#pragma once

#include <memory>
#include <string>

namespace tls_test {

struct issued {
  std::string certificate;
  std::string key;
};

struct wanted {
  std::string name = "server.test";
  long from_days = -1, to_days = 30;  // from now
  bool for_clients = false;           // its extended key usage
  bool common_name_only = false;      // no subjectAltName
};

/// Signs certificates. Its own are P-256, valid now.
class authority {
 public:
  explicit authority(const std::string& name = "test authority");
  /// One below another. What it issues has the certificates between behind it.
  authority(const std::string& name, const authority& above);
  ~authority();

  std::string certificate() const;
  issued issue(const wanted& what = {});
  /// An OCSP response (DER) about what it has issued, valid for a day from so many days on.
  std::string staple(const issued& about, bool revoked, long from_days = 0) const;
  /// One that nobody but itself has signed.
  static issued self_signed(const wanted& what = {});

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace tls_test
