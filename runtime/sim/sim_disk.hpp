// The files of a simulated host, in memory. Calls come through the host's virtual pool, one at a
// time, so nothing here takes time or a lock of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "weir/detail/file_system.hpp"
#include "weir/sim.hpp"

namespace weir::detail {

class sim_disk final : public file_system {
 public:
  explicit sim_disk(std::function<instant()> clock) : clock_(std::move(clock)) {}

  std::error_code open(const std::string& path, const open_options& how,
                       std::shared_ptr<file_handle>& out) override;
  std::error_code status(const std::string& path, file_status& out) override;
  std::error_code rename(const std::string& from, const std::string& to) override;
  std::error_code remove(const std::string& path) override;
  std::error_code make_directory(const std::string& path) override;
  std::error_code list(const std::string& path, std::size_t most,
                       std::vector<directory_entry>& out) override;

  // --- For the test (weir::sim::disk).

  void put(const std::string& path, std::string contents);
  const std::string* contents(const std::string& path) const;
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  void fail_next(std::error_code error, unsigned times) { failure_ = error, failures_ = times; }

 private:
  struct node {
    bool is_directory = false;
    std::string data;
    std::uint32_t mode = 0644;
    std::int64_t modified_ns = 0;
    std::uint64_t number = 0;
  };
  class handle;

  static std::string absolute(const std::string& path);
  std::shared_ptr<node> find(const std::string& path) const;
  std::shared_ptr<node> add(const std::string& path, bool directory);
  std::error_code next_failure();
  bool has_room(const node& of, std::uint64_t size) const;
  file_status status_of(const node& of) const;

  std::function<instant()> clock_;
  std::map<std::string, std::shared_ptr<node>> nodes_;  // absolute paths; "/" is always there
  std::uint64_t capacity_ = UINT64_MAX;
  std::uint64_t last_number_ = 1;
  std::error_code failure_;
  unsigned failures_ = 0;
};

}  // namespace weir::detail
