# The C interface, through the shared library.
set(WEIR_TEST_HEADERS std)
if(TARGET weir_stack_c)
  weir_add_test(unit_stack_c PREFIX unit.stack_c. LIBS weir_stack_c SOURCES stack_c_test.cpp)
endif()
