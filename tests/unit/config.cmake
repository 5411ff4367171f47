set(WEIR_TEST_HEADERS std)
weir_add_test(unit_config SOURCES config_test.cpp PREFIX unit.config. LIBS weir::weir fmt::fmt)
