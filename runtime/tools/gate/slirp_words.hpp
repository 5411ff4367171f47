// weir-gate under slirp4netns's name: the command line that podman and rootlesskit call, in words
// of weir-gate's own. Nothing is done here.
#pragma once

#include <string>
#include <vector>

namespace weir::gate {

/// What slirp4netns(1) understands and weir-gate does, too: podman looks for options in it.
extern const char* const slirp4netns_usage;

struct slirp4netns_words {
  bool asks_for_help = false, asks_for_version = false;
  std::string wrong;               ///< in a sentence; empty: nothing
  std::vector<std::string> words;  ///< of weir-gate, "attach" first
};

/// `arguments` without the program's name.
slirp4netns_words from_slirp4netns(const std::vector<std::string>& arguments);

}  // namespace weir::gate
