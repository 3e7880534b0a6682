# What `cmake --install` puts where: the program with its manual pages and completion, the library
# that records and reads traces with its headers, and how CMake and pkg-config find it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS firstbit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES cli/completion/firstbit.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME firstbit)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Manual pages are the --help texts, so they are made by running the program.
set(man_folder ${PROJECT_BINARY_DIR}/man)
add_custom_command(OUTPUT ${man_folder}/firstbit.1
    COMMAND sh ${PROJECT_SOURCE_DIR}/cli/make_man.sh ${PROJECT_VERSION} ${man_folder}
            ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:firstbit>
    DEPENDS firstbit ${PROJECT_SOURCE_DIR}/cli/make_man.sh
    COMMENT "Making manual pages" VERBATIM)
add_custom_target(man ALL DEPENDS ${man_folder}/firstbit.1)
install(DIRECTORY ${man_folder}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
    FILES_MATCHING PATTERN "*.1")

install(DIRECTORY include/firstbit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")
install(TARGETS ${FIRSTBIT_TRACE_TARGETS} EXPORT firstbit
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT firstbit NAMESPACE firstbit:: FILE firstbit-targets.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/firstbit)

configure_file(cmake/firstbit_trace.pc.in ${PROJECT_BINARY_DIR}/firstbit_trace.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/firstbit_trace.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_package_config_file(cmake/firstbit-config.cmake.in
    ${PROJECT_BINARY_DIR}/firstbit-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/firstbit)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/firstbit-config-version.cmake
    COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/firstbit-config.cmake
    ${PROJECT_BINARY_DIR}/firstbit-config-version.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/firstbit)
