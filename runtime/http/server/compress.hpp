// Answers compressed on their way, for clients that ask for it (RFC 9110 12.5.3, 8.4): whatever the
// version of HTTP, since the answer itself is changed before it is sent.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "runtime/http/coding/coding.hpp"
#include "weir/http/request.hpp"
#include "weir/http/response.hpp"
#include "weir/http/server.hpp"

namespace weir::http {

class compressor {
 public:
  /// Throws config_error where compression is wanted and was not built in.
  compressor(const server_settings& settings, server_counters& counters);

  /// Compresses the answer, or what it will be, where the client, its type and its size are for it.
  void apply(const request& asked, response& with);

  /// An encoder for one content, of a limited number.
  class lease {
   public:
    lease() = default;
    lease(compressor& from, coding what, std::unique_ptr<encoder> one)
        : from_(&from), what_(what), one_(std::move(one)) {}
    lease(lease&& other) noexcept;
    lease& operator=(lease&&) = delete;
    ~lease();
    explicit operator bool() const { return one_ != nullptr; }
    encoder& operator*() const { return *one_; }
    encoder* operator->() const { return one_.get(); }

   private:
    compressor* from_ = nullptr;
    coding what_ = coding::identity;
    std::unique_ptr<encoder> one_;
  };

 private:
  bool wants(const response& with) const;
  lease take(coding what);

  const server_settings& settings_;
  server_counters& counters_;
  std::size_t out_ = 0;                           // leases
  std::array<std::unique_ptr<encoder>, 3> kept_;  // one of each coding, for the next
};

}  // namespace weir::http
