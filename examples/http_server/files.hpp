// Files below one folder, by the path of a request. Nothing outside the folder can be reached: a
// path is taken apart and opened step by step, "..", hidden names and symbolic links are refused.
// Reading blocks the shard for as long as the disk takes: this is for pages, not for an archive.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace http {

/// An open file, closed when it goes.
class open_file {
 public:
  open_file() = default;
  open_file(int descriptor, std::uint64_t size) : descriptor_(descriptor), size_(size) {}
  open_file(open_file&& other) noexcept;
  open_file& operator=(open_file&& other) noexcept;
  ~open_file();

  std::uint64_t size() const { return size_; }
  /// Reads at `offset`; gives the number of bytes, 0 at the end or on an error.
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// The path's segments, decoded: "/a/b%20c" is {"a", "b c"}. Nothing for what must not be followed.
struct request_path {
  std::vector<std::string> segments;
  bool is_folder = false;      ///< it ended in a slash
  std::string normal() const;  ///< encoded again, with one slash between segments
};
/// `path` is a target's, without its query.
std::optional<request_path> take_apart(std::string_view path);

std::string_view content_type_of(std::string_view file_name);

class file_root {
 public:
  enum class found : std::uint8_t {
    file,
    folder,
    nothing,
    exhausted,  ///< out of descriptors or memory: it may be there
  };

  /// Throws std::system_error when it is no folder that can be read.
  explicit file_root(const std::string& folder);
  file_root(const file_root&) = delete;
  file_root& operator=(const file_root&) = delete;
  ~file_root();

  /// A folder's path gives its index.html; without its last slash it is found as a folder.
  found open(const request_path& path, open_file& file) const;

 private:
  int folder_ = -1;
};

}  // namespace http
