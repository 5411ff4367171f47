// Lines of flows.
#include "runtime/tools/gate/flow_log.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "weir/config.hpp"

namespace weir::gate {

flow_log::flow_log(const std::string& path) {
  if (path.empty()) return;
  if (path == "-") {
    file_ = stderr;
    return;
  }
  file_ = std::fopen(path.c_str(), "ae");
  if (file_ == nullptr) throw config_error(fmt::format("--log {}: {}", path, std::strerror(errno)));
}

flow_log::~flow_log() {
  if (file_ != nullptr && file_ != stderr) std::fclose(file_);
}

void flow_log::over(const flow_line& flow, instant now, std::string_view how) {
  if (file_ == nullptr) return;
  const auto seconds = std::chrono::duration<double>(now - flow.begun).count();
  fmt::print(file_, "{} {} -> {} {} out {} in {} {:.3f}s\n", flow.protocol, flow.from.to_string(),
             flow.to.to_string(), how, flow.out, flow.in, seconds);
  std::fflush(file_);
}

}  // namespace weir::gate
