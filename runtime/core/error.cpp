// The texts of weir's own error conditions.
#include "weir/error.hpp"

namespace weir {

const std::error_category& error_category() noexcept {
  static const struct : std::error_category {
    const char* name() const noexcept override { return "weir"; }
    std::string message(int code) const override {
      switch (static_cast<weir::error>(code)) {
        case weir::error::end_of_stream: return "End of stream before all that was asked for";
        case weir::error::limit_exceeded: return "Limit exceeded";
        case weir::error::closed: return "Closed";
        case weir::error::truncated: return "Stream cut off before its end";
        case weir::error::untrusted: return "Peer not trusted";
      }
      return "Unknown error " + std::to_string(code);
    }
  } category;
  return category;
}

}  // namespace weir
