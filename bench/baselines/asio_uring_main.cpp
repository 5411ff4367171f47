// Asio's coroutines on its io_uring back end: a program of its own, since Asio chooses its reactor
// at compile time.
#include <fmt/core.h>

#include <cstdio>
#include <exception>

#include "baselines.hpp"

int main(int argc, char** argv) {
  try {
    const auto where = weir::bench::parse_endpoint(argc == 2 ? argv[1] : "");
    if (!where) {
      fmt::print(stderr, "usage: weir-bench-asio-uring ADDR:PORT\n");
      return 2;
    }
    weir::bench::baseline_settings settings;
    settings.where = *where;
    weir::bench::serve_asio(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "weir-bench-asio-uring: {}\n", error.what());
    return 1;
  }
}
