// The main() that every doctest program shares, compiled once. A program that brings its own is
// free to: this one lives in an archive and is then not taken from it.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
