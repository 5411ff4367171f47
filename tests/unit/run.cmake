if(WEIR_WITH_ASIO)
  weir_add_test(unit_run SOURCES run_test.cpp PREFIX unit.run. LIBS weir::weir fmt::fmt)
endif()
