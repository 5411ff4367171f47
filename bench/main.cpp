// weir-bench: its command line, with `load` and what belongs to it.
#include "command.hpp"
#include "load/command.hpp"

int main(int argc, char** argv) {
  return weir::bench::run_command(argc, argv, weir::load::describe_load);
}
