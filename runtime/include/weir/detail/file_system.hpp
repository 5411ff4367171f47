// Files as plain calls that may block: the machine's (runtime/files), or a simulated disk. Called
// from the pool of offload(), never from a shard's loop; one handle may be used by several calls at
// once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace weir {

/// How a file is opened.
struct open_options {
  bool read = true;
  bool write = false;
  bool create = false;     ///< where it is not there; needs `write`
  bool exclusive = false;  ///< with `create`: it must not be there (file_exists)
  bool truncate = false;
  std::uint32_t mode = 0644;  ///< of a file that is created, less the umask
};

enum class file_type : std::uint8_t { regular, directory, link, other };

/// What is known of a file.
struct file_status {
  file_type type = file_type::other;
  std::uint64_t size = 0;                ///< bytes
  std::int64_t modified_ns = 0;          ///< since 1970
  std::uint32_t mode = 0;                ///< as chmod(1) has it
  std::uint64_t device = 0, number = 0;  ///< together: the same file
};

struct directory_entry {
  std::string name;
  file_type type = file_type::other;
};

namespace detail {

/// An open file. Closes with its last owner.
class file_handle {
 public:
  virtual ~file_handle() = default;
  /// Some bytes; 0 at the end.
  virtual std::error_code read_at(std::span<std::byte> into, std::uint64_t offset,
                                  std::size_t& n) = 0;
  /// The same of what is in memory, without waiting for a disk; false: that would take one.
  virtual bool read_now(std::span<std::byte>, std::uint64_t, std::size_t&) noexcept {
    return false;
  }
  /// All of them, or an error; `n` counts what went in any case.
  virtual std::error_code write_at(std::span<const std::byte> bytes, std::uint64_t offset,
                                   std::size_t& n) = 0;
  /// At the end, wherever that is then.
  virtual std::error_code append(std::span<const std::byte> bytes, std::size_t& n) = 0;
  virtual std::error_code sync() = 0;
  virtual std::error_code status(file_status& out) = 0;
  virtual std::error_code resize(std::uint64_t size) = 0;
  /// -1 where there is none.
  virtual int native_handle() const noexcept { return -1; }
  /// What a driver may read and write itself (file_caller): a regular file's descriptor, else -1.
  virtual int callable() const noexcept { return -1; }
};

class file_system {
 public:
  virtual ~file_system() = default;
  virtual std::error_code open(const std::string& path, const open_options& how,
                               std::shared_ptr<file_handle>& out) = 0;
  /// Of what a link points at.
  virtual std::error_code status(const std::string& path, file_status& out) = 0;
  virtual std::error_code rename(const std::string& from, const std::string& to) = 0;
  virtual std::error_code remove(const std::string& path) = 0;
  virtual std::error_code make_directory(const std::string& path) = 0;
  /// Without "." and "..", by name; no more than `most` (error::limit_exceeded beyond).
  virtual std::error_code list(const std::string& path, std::size_t most,
                               std::vector<directory_entry>& out) = 0;
};

}  // namespace detail
}  // namespace weir
