# The runtime's core, under a clock of the tests' own.
foreach(subject IN ITEMS task timer scope sync when cancel submit)
  weir_add_test(unit_core_${subject} SOURCES core_${subject}_test.cpp PREFIX unit.core_${subject}. LIBS weir::core)
endforeach()
