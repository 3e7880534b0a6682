/* SPDX-License-Identifier: Apache-2.0
 *
 * elf_symbols.h - program files on this machine: their build id, and the function at an address.
 * Private to tracer.
 */
#ifndef FB_TRACER_STACK_ELF_SYMBOLS_H
#define FB_TRACER_STACK_ELF_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An ELF file in memory, read only. All zeros: none. */
typedef struct fb_elf {
    const uint8_t *bytes;
    size_t count;
} fb_elf;

/* Maps a 64-bit little-endian ELF file whose build id is this one; false for any other file. */
bool fb__elf_open(fb_elf *elf, const char *path, const uint8_t *build_id, size_t build_id_bytes);
void fb__elf_close(fb_elf *elf);

/* The name of the function that contains `address`, living as long as the file is open, and how far
 * into it that is; NULL where the file does not say. */
const char *fb__elf_function(const fb_elf *elf, uint64_t address, uint64_t *distance);

/* Whether the file has line numbers (DWARF). */
bool fb__elf_has_lines(const fb_elf *elf);

#endif
