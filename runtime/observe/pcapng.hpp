// A pcapng file (draft-ietf-opsawg-pcapng) of IP packets, one interface per tap, nanosecond
// timestamps. It buffers, writes in whole blocks and never waits longer than a write(2); a full
// disk or a lost file stops the capture with one line on stderr and never the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/observe/packet_tap.hpp"

namespace weir::detail {

/// The blocks of the format, appended to a buffer. No I/O.
class pcapng_encoder {
 public:
  void section_header(std::string_view application);
  /// Interfaces are numbered from 0 in order.
  void interface_description(std::string_view name, std::uint32_t snap_length);
  /// `timestamp_ns` since 1970, or since the start of a simulation.
  void enhanced_packet(std::uint32_t interface_number, std::uint64_t timestamp_ns,
                       packet_direction direction,
                       std::span<const std::span<const std::byte>> parts);

  std::vector<std::byte>& buffer() { return buffer_; }

 private:
  void put16(std::uint16_t value);
  void put32(std::uint32_t value);
  void put_padded(std::span<const std::byte> bytes);
  void option(std::uint16_t code, std::span<const std::byte> value);
  std::size_t begin(std::uint32_t type);
  void end(std::size_t start);

  std::vector<std::byte> buffer_;
};

/// One file. Not thread-safe: one shard, or one simulation.
class pcapng_file {
 public:
  /// Bytes that are gathered before they are written, at most.
  static constexpr std::size_t buffer_limit = 256 * 1024;
  /// Nothing waits in the buffer for longer, while the loop turns.
  static constexpr duration longest_wait = std::chrono::milliseconds(200);

  /// `epoch_ns` is added to every instant: 0 in a simulation. The file is for its owner only (mode
  /// 0600). Throws io_error when it cannot be made, and where the path is a link, or no file.
  explicit pcapng_file(const std::string& path, std::int64_t epoch_ns = 0);
  ~pcapng_file();
  pcapng_file(const pcapng_file&) = delete;
  pcapng_file& operator=(const pcapng_file&) = delete;

  /// The tap must go before the file does.
  std::unique_ptr<packet_tap> add_interface(const std::string& name);
  void flush() noexcept;
  std::uint64_t packets() const { return packets_; }
  bool failed() const { return failed_; }

 private:
  class tap;
  void idle(instant now);

  std::string path_;
  int fd_ = -1;
  std::int64_t epoch_ns_;
  pcapng_encoder encoder_;
  std::uint32_t interfaces_ = 0;
  std::uint64_t packets_ = 0;
  instant oldest_ = instant::never();
  bool failed_ = false;
};

}  // namespace weir::detail
