if(WEIR_BUILD_RESOLVE)
  set(WEIR_TEST_HEADERS std)
  weir_add_test(unit_resolve PREFIX unit.resolve. SOURCES resolve_test.cpp LIBS weir_resolve weir_internal)
endif()
