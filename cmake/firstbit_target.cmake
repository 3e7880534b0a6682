# firstbit_target(NAME): what every firstbit target shares.
#
# Floating point is pinned here, once: no contraction, no fast-math (docs/numerics.md).
function(firstbit_target name)
    target_compile_features(${name} PUBLIC c_std_11)
    set_target_properties(${name} PROPERTIES
        C_VISIBILITY_PRESET hidden
        C_EXTENSIONS ON
        POSITION_INDEPENDENT_CODE ON)
    target_include_directories(${name} PUBLIC
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
    target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
    target_compile_options(${name} PRIVATE
        -ffp-contract=off -fno-fast-math
        -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
        -Wwrite-strings -Wundef -Wvla
        $<$<BOOL:${FIRSTBIT_WERROR}>:-Werror>)
endfunction()

# For the files that compile the kernels' bodies in wide registers: the address and undefined-behaviour
# sanitizers watch the same bodies in plain C; here their checks cost a compiler minutes and a gigabyte.
set(FIRSTBIT_WIDE_FLAGS "")
if(CMAKE_C_FLAGS MATCHES "-fsanitize=[a-z,-]*address")
    set(FIRSTBIT_WIDE_FLAGS "-fno-sanitize=all")
endif()
