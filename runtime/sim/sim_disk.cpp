// See sim_disk.hpp. A file that was removed lives as long as somebody has it open, as on a real
// disk.
#include "runtime/sim/sim_disk.hpp"

#include <algorithm>
#include <utility>

#include "weir/error.hpp"

namespace weir::detail {

namespace {
std::error_code code(std::errc e) { return std::make_error_code(e); }
}  // namespace

class sim_disk::handle final : public file_handle {
 public:
  handle(sim_disk& disk, std::shared_ptr<node> of, bool reads, bool writes)
      : disk_(disk), node_(std::move(of)), reads_(reads), writes_(writes) {}

  std::error_code read_at(std::span<std::byte> into, std::uint64_t offset,
                          std::size_t& n) override {
    if (auto error = disk_.next_failure()) return error;
    if (!reads_) return code(std::errc::bad_file_descriptor);
    const auto& data = node_->data;
    const auto from = std::min<std::uint64_t>(offset, data.size());
    n = std::min<std::size_t>(into.size(), data.size() - from);
    std::copy_n(reinterpret_cast<const std::byte*>(data.data()) + from, n, into.data());
    return {};
  }
  std::error_code write_at(std::span<const std::byte> bytes, std::uint64_t offset,
                           std::size_t& n) override {
    n = 0;
    if (auto error = disk_.next_failure()) return error;
    if (!writes_) return code(std::errc::bad_file_descriptor);
    const auto end = offset + bytes.size();
    if (!disk_.has_room(*node_, std::max<std::uint64_t>(end, node_->data.size())))
      return code(std::errc::no_space_on_device);
    if (end > node_->data.size()) node_->data.resize(end);
    std::copy(bytes.begin(), bytes.end(),
              reinterpret_cast<std::byte*>(node_->data.data()) + offset);
    node_->modified_ns = disk_.clock_().ns();
    n = bytes.size();
    return {};
  }
  std::error_code append(std::span<const std::byte> bytes, std::size_t& n) override {
    return write_at(bytes, node_->data.size(), n);
  }
  std::error_code sync() override { return disk_.next_failure(); }
  std::error_code resize(std::uint64_t size) override {
    if (auto error = disk_.next_failure()) return error;
    if (!writes_) return code(std::errc::invalid_argument);
    if (!disk_.has_room(*node_, size)) return code(std::errc::no_space_on_device);
    node_->data.resize(size);
    return {};
  }
  std::error_code status(file_status& out) override {
    if (auto error = disk_.next_failure()) return error;
    out = disk_.status_of(*node_);
    return {};
  }

 private:
  sim_disk& disk_;
  std::shared_ptr<node> node_;
  bool reads_, writes_;
};

std::string sim_disk::absolute(const std::string& path) {
  std::string out = path.starts_with('/') ? path : "/" + path;
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

std::shared_ptr<sim_disk::node> sim_disk::find(const std::string& path) const {
  const auto where = absolute(path);
  if (where == "/") {
    auto root = std::make_shared<node>();
    root->is_directory = true;
    root->number = 1;
    return root;
  }
  const auto found = nodes_.find(where);
  return found == nodes_.end() ? nullptr : found->second;
}

std::shared_ptr<sim_disk::node> sim_disk::add(const std::string& path, bool directory) {
  const auto where = absolute(path);
  const auto above = find(where.substr(0, std::max<std::size_t>(where.rfind('/'), 1)));
  if (above == nullptr || !above->is_directory) return nullptr;
  auto made = std::make_shared<node>();
  made->is_directory = directory;
  made->number = ++last_number_;
  made->modified_ns = clock_().ns();
  nodes_[where] = made;
  return made;
}

std::error_code sim_disk::next_failure() {
  if (failures_ == 0) return {};
  --failures_;
  return failure_;
}

bool sim_disk::has_room(const node& of, std::uint64_t size) const {
  std::uint64_t others = 0;
  for (const auto& [path, each] : nodes_)
    if (each.get() != &of) others += each->data.size();
  return size <= capacity_ && others <= capacity_ - size;
}

file_status sim_disk::status_of(const node& of) const {
  file_status out;
  out.type = of.is_directory ? file_type::directory : file_type::regular;
  out.size = of.data.size();
  out.modified_ns = of.modified_ns;
  out.mode = of.mode;
  out.device = 1;
  out.number = of.number;
  return out;
}

std::error_code sim_disk::open(const std::string& path, const open_options& how,
                               std::shared_ptr<file_handle>& out) {
  if (auto error = next_failure()) return error;
  if (!how.read && !how.write) return code(std::errc::invalid_argument);
  if ((how.create || how.truncate) && !how.write) return code(std::errc::invalid_argument);
  auto found = find(path);
  if (found != nullptr && how.create && how.exclusive) return code(std::errc::file_exists);
  if (found == nullptr && how.create) {
    found = add(path, false);
    if (found != nullptr) found->mode = how.mode;
  }
  if (found == nullptr) return code(std::errc::no_such_file_or_directory);
  if (found->is_directory) return code(std::errc::is_a_directory);
  if (how.truncate) found->data.clear();
  out = std::make_shared<handle>(*this, std::move(found), how.read, how.write);
  return {};
}

std::error_code sim_disk::status(const std::string& path, file_status& out) {
  if (auto error = next_failure()) return error;
  const auto found = find(path);
  if (found == nullptr) return code(std::errc::no_such_file_or_directory);
  out = status_of(*found);
  return {};
}

std::error_code sim_disk::rename(const std::string& from, const std::string& to) {
  if (auto error = next_failure()) return error;
  const auto found = nodes_.find(absolute(from));
  if (found == nodes_.end()) return code(std::errc::no_such_file_or_directory);
  if (found->second->is_directory) return code(std::errc::operation_not_supported);
  const auto target = find(to);
  if (target != nullptr && target->is_directory) return code(std::errc::is_a_directory);
  auto moved = found->second;
  if (target == nullptr && add(to, false) == nullptr)
    return code(std::errc::no_such_file_or_directory);
  nodes_.erase(absolute(from));
  nodes_[absolute(to)] = std::move(moved);
  return {};
}

std::error_code sim_disk::remove(const std::string& path) {
  if (auto error = next_failure()) return error;
  const auto where = absolute(path);
  const auto found = nodes_.find(where);
  if (found == nodes_.end()) return code(std::errc::no_such_file_or_directory);
  const auto below = nodes_.lower_bound(where + "/");
  if (below != nodes_.end() && below->first.starts_with(where + "/"))
    return code(std::errc::directory_not_empty);
  nodes_.erase(found);
  return {};
}

std::error_code sim_disk::make_directory(const std::string& path) {
  if (auto error = next_failure()) return error;
  if (find(path) != nullptr) return code(std::errc::file_exists);
  return add(path, true) != nullptr ? std::error_code()
                                    : code(std::errc::no_such_file_or_directory);
}

std::error_code sim_disk::list(const std::string& path, std::size_t most,
                               std::vector<directory_entry>& out) {
  if (auto error = next_failure()) return error;
  const auto found = find(path);
  if (found == nullptr) return code(std::errc::no_such_file_or_directory);
  if (!found->is_directory) return code(std::errc::not_a_directory);
  auto beginning = absolute(path);
  if (beginning != "/") beginning += '/';
  for (const auto& [where, each] : nodes_) {
    if (!where.starts_with(beginning) || where.find('/', beginning.size()) != std::string::npos)
      continue;
    if (out.size() == most) return make_error_code(error::limit_exceeded);
    out.push_back({where.substr(beginning.size()),
                   each->is_directory ? file_type::directory : file_type::regular});
  }
  return {};
}

void sim_disk::put(const std::string& path, std::string contents) {
  const auto where = absolute(path);
  for (auto slash = where.find('/', 1); slash != std::string::npos;
       slash = where.find('/', slash + 1))
    if (find(where.substr(0, slash)) == nullptr) add(where.substr(0, slash), true);
  auto found = find(where);
  if (found == nullptr) found = add(where, false);
  found->data = std::move(contents);
}

const std::string* sim_disk::contents(const std::string& path) const {
  const auto found = find(path);
  return found == nullptr || found->is_directory ? nullptr : &found->data;
}

}  // namespace weir::detail

namespace weir::sim {

void disk::put(const std::string& path, std::string contents) {
  inside_->put(path, std::move(contents));
}
const std::string* disk::contents(const std::string& path) const { return inside_->contents(path); }
void disk::set_capacity(std::uint64_t bytes) { inside_->set_capacity(bytes); }
void disk::fail_next(std::error_code error, unsigned times) { inside_->fail_next(error, times); }

}  // namespace weir::sim
