// Files as plain calls that may block: the machine's (runtime/files), or a simulated disk. Called
// from the pool of offload(), never from a shard's loop; one handle may be used by several calls at
// once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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

/// Room for what statx(2) says of a file (of runtime/files: the struct is a system header's).
struct alignas(8) status_memory {
  std::byte bytes[256];
};
file_status status_from(const status_memory& said) noexcept;

/// Of one that is made, less the umask.
inline constexpr std::uint32_t mode_of_directories = 0777;

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
  /// What a driver may use itself (file_caller): a regular file's descriptor, else -1.
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

  // --- Where a driver opens (file_caller) in the place of open().

  /// With which flags; nothing: open() has to be asked, and says why.
  virtual std::optional<int> open_flags(const open_options&) const noexcept { return {}; }
  /// What the descriptor that it got becomes, which is the callee's. Does not wait.
  virtual std::error_code opened(int, std::shared_ptr<file_handle>&) {
    return std::make_error_code(std::errc::operation_not_supported);
  }
};

}  // namespace detail
}  // namespace weir
