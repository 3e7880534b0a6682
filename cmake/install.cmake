# What `cmake --install` puts where, besides the library firstbit_trace (tracer/CMakeLists.txt): the
# program, its manual pages and its completion.
include(GNUInstallDirs)

install(TARGETS firstbit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES cli/completion/firstbit.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME firstbit)
install(DIRECTORY recorders/python/firstbit DESTINATION ${CMAKE_INSTALL_DATADIR}/firstbit/python
    FILES_MATCHING PATTERN "*.py" PATTERN "__pycache__" EXCLUDE)
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
