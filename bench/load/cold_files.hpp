// weir-bench files: what a file server does to an echo on the same shard, where its files lie in
// memory and where the disk has to be read for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace weir::load {

struct files_settings {
  std::string backend = "uring";
  std::string folder = ".";  ///< of a real disk; the files are made in a folder of its own there
  unsigned rounds = 9;
  double seconds = 2;           ///< of each window
  double rate = 5000;           ///< echoes a second
  double files_per_s = 50;      ///< that are fetched meanwhile
  std::size_t bytes = 1 << 20;  ///< of each
  std::size_t files = 64;
};

/// 0 when every row has a figure.
int run_files(const files_settings& how);

}  // namespace weir::load
