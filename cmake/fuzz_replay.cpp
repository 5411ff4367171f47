// Runs a fuzz target without libFuzzer: every file of the given folder, then a fixed number of
// mutations under a fixed seed, so that any compiler and any sanitizer sees the same inputs each
// time. It judges nothing: a crash, a failed assertion or a sanitizer's report is the verdict.
//
// Usage: program MUTATIONS [FOLDER]
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using input = std::vector<std::uint8_t>;
constexpr std::size_t largest_input = 65'536;

std::vector<input> read_folder(const char* folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());  // the mutations depend on the order
  std::vector<input> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// One small step away: a byte or bit changed, a piece cut, doubled, or filled in. The numbers come
// straight from the generator, since the library's distributions differ between implementations.
void mutate(input& bytes, std::mt19937_64& random) {
  const auto below = [&random](std::size_t bound) {
    return static_cast<std::size_t>(random() % bound);
  };
  if (bytes.empty()) bytes.push_back(static_cast<std::uint8_t>(random()));
  const auto at = below(bytes.size());
  const auto offset = static_cast<std::ptrdiff_t>(at);
  switch (below(6)) {
    case 0: bytes[at] = static_cast<std::uint8_t>(random()); break;
    case 1: bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1u << below(8))); break;
    case 2: bytes.resize(at); break;
    case 3: bytes.erase(bytes.begin() + offset); break;
    case 4:
      bytes.insert(bytes.begin() + offset, 1 + below(16), static_cast<std::uint8_t>(random()));
      break;
    case 5: bytes[at] = (random() & 1) != 0 ? 0xff : 0x00; break;
  }
  if (bytes.size() > largest_input) bytes.resize(largest_input);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: %s MUTATIONS [FOLDER]\n", argv[0]);
    return 2;
  }
  std::vector<input> kept;
  if (argc == 3) kept = read_folder(argv[2]);
  if (argc == 3 && kept.empty()) {
    std::fprintf(stderr, "no inputs in %s\n", argv[2]);
    return 2;
  }
  for (const input& bytes : kept) LLVMFuzzerTestOneInput(bytes.data(), bytes.size());

  std::mt19937_64 random(20'000'731);
  const long mutations = std::strtol(argv[1], nullptr, 10);
  input bytes;
  for (long i = 0; i < mutations; ++i) {
    if (i % 8 == 0) bytes = kept.empty() ? input{} : kept[random() % kept.size()];
    mutate(bytes, random);
    // An exact heap copy, so that a read past the end is caught.
    const input exact(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%zu kept inputs and %ld mutations\n", kept.size(), mutations);
  return 0;
}
