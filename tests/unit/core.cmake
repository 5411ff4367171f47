set(WEIR_TEST_HEADERS weir)
# The runtime's core, under a clock of the tests' own.
if(WEIR_WITH_TASKS)
  set(weir_tasks_test core_tasks_test.cpp)
endif()
weir_add_test(unit_core PREFIX "unit.@." LIBS weir::core SOURCES
  core_cancel_test.cpp core_log_test.cpp core_metrics_test.cpp core_recorder_test.cpp core_scope_test.cpp core_submit_test.cpp core_sync_test.cpp core_task_test.cpp ${weir_tasks_test} core_timer_test.cpp
  core_when_test.cpp)
if(WEIR_WITH_ASIO)
  weir_add_test(unit_core_docs SOURCES core_docs_test.cpp PREFIX unit.core_docs. LIBS weir::weir weir_asio)
  if(TARGET unit_core_docs)
    target_compile_definitions(unit_core_docs PRIVATE "WEIR_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
  endif()
endif()
weir_add_test(unit_testing_streams SOURCES testing_streams_test.cpp PREFIX unit.testing_streams. LIBS weir::core)
weir_add_test(unit_spin_policy SOURCES spin_policy_test.cpp PREFIX unit.spin_policy. LIBS weir_internal)
weir_add_allocation_test(unit_frame_pool SOURCES frame_pool_test.cpp LIBS weir::core)
weir_add_test(unit_frame_batch SOURCES frame_batch_test.cpp PREFIX unit.frame_batch. LIBS weir_internal)
