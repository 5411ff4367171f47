// weir-bench-demo: weir-bench without `load`, for `./dev demo`, which is what a person builds
// first.
#include "command.hpp"

int main(int argc, char** argv) { return weir::bench::run_command(argc, argv); }
