// The command line of weir-bench, for the programs that are made of it.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace weir::bench {

/// Adds further subcommands to `app`; `chosen` becomes what runs when one of them was given.
using describe_more = void (*)(CLI::App& app, std::function<int()>& chosen);

/// What main() does. The load that goes anywhere (load/) is the caller's to add: it is half of what
/// weir-bench takes to compile, and nothing here needs it.
int run_command(int argc, char** argv, describe_more more = nullptr);

}  // namespace weir::bench
