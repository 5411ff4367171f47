// Runs a body on each real back end that is on kernel sockets and that this machine allows.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>

#include "runtime/backend/transport.hpp"
#include "weir/weir.hpp"

namespace back_ends {

/// Runs `body` to its end, and everything that it left to the shard. Throws what it threw.
inline void run_on(weir::shard& s, const std::function<weir::task<>(weir::shard&)>& body) {
  bool ended = false;
  std::exception_ptr failure;
  s.start(body(s), [&](std::exception_ptr f) {
    failure = std::move(f);
    ended = true;
  });
  s.run_until([&] { return ended && s.roots() == 0 && s.transport().closing() == 0; });
  if (failure) std::rethrow_exception(failure);
}

inline void on_kernel_back_ends(const std::function<weir::task<>(weir::shard&)>& body,
                                weir::config settings = {}) {
  for (std::string name : {"uring", "asio"}) {
    settings.backend = name;
    if (auto found = weir::probe_backend(name, settings); !found.usable) {
      std::printf("SKIPPED: %s: %s\n", name.c_str(), found.reason.c_str());
      continue;
    }
    CAPTURE(name);
    auto s = weir::make_shard(0, settings);
    run_on(*s, body);
  }
}

}  // namespace back_ends
