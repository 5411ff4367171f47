// The socket behind a stream's handle, for what works on streams of every kind below their
// operations.
#pragma once

#include "weir/stream.hpp"

namespace weir::detail {

/// The stream keeps its socket from the public, not from us.
struct inside : any_stream {
  static socket_base& of(const any_stream& s) { return (s.*&inside::socket)(); }
};

}  // namespace weir::detail
