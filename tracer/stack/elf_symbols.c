/* SPDX-License-Identifier: Apache-2.0
 *
 * elf_symbols.c - just enough ELF: notes, section headers, symbol tables. Offsets are checked: the
 * build id that led to the file came from a trace.
 */
#include "tracer/stack/elf_symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool within(const fb_elf *elf, uint64_t offset, uint64_t bytes)
{
    return offset <= elf->count && bytes <= elf->count - offset;
}

/* The header of section `index`; false past the last one. */
static bool get_section(const fb_elf *elf, unsigned index, Elf64_Shdr *out)
{
    Elf64_Ehdr head;

    memcpy(&head, elf->bytes, sizeof head);
    if (index >= head.e_shnum || head.e_shentsize != sizeof *out ||
        !within(elf, head.e_shoff, (uint64_t)head.e_shnum * sizeof *out))
        return false;
    memcpy(out, elf->bytes + head.e_shoff + (size_t)index * sizeof *out, sizeof *out);
    return true;
}

static bool note_matches(const uint8_t *note, size_t bytes, const uint8_t *id, size_t id_bytes)
{
    for (size_t at = 0; bytes - at >= sizeof(Elf64_Nhdr);) {
        Elf64_Nhdr n;
        size_t name, content;

        memcpy(&n, note + at, sizeof n);
        at += sizeof n;
        name = ((size_t)n.n_namesz + 3) & ~(size_t)3;
        content = ((size_t)n.n_descsz + 3) & ~(size_t)3;
        if (name > bytes - at || content > bytes - at - name)
            return false;
        if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && memcmp(note + at, "GNU", 4) == 0)
            return n.n_descsz == id_bytes && memcmp(note + at + name, id, id_bytes) == 0;
        at += name + content;
    }
    return false;
}

static bool has_build_id(const fb_elf *elf, const uint8_t *id, size_t id_bytes)
{
    Elf64_Shdr section;

    for (unsigned i = 0; get_section(elf, i, &section); i++)
        if (section.sh_type == SHT_NOTE && within(elf, section.sh_offset, section.sh_size) &&
            note_matches(elf->bytes + section.sh_offset, section.sh_size, id, id_bytes))
            return true;
    return false;
}

static bool is_elf(const fb_elf *elf)
{
    return elf->count >= sizeof(Elf64_Ehdr) && memcmp(elf->bytes, ELFMAG, SELFMAG) == 0 &&
           elf->bytes[EI_CLASS] == ELFCLASS64 && elf->bytes[EI_DATA] == ELFDATA2LSB;
}

bool fb__elf_open(fb_elf *elf, const char *path, const uint8_t *build_id, size_t build_id_bytes)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    void *bytes = MAP_FAILED;

    *elf = (fb_elf){NULL, 0};
    if (descriptor < 0)
        return false;
    if (fstat(descriptor, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    (void)close(descriptor);
    if (bytes == MAP_FAILED)
        return false;
    *elf = (fb_elf){bytes, (size_t)st.st_size};
    if (is_elf(elf) && has_build_id(elf, build_id, build_id_bytes))
        return true;
    fb__elf_close(elf);
    return false;
}

void fb__elf_close(fb_elf *elf)
{
    if (elf->bytes != NULL)
        (void)munmap((void *)elf->bytes, elf->count);
    *elf = (fb_elf){NULL, 0};
}

/* --- Symbols -----------------------------------------------------------------------------------
 */

static const char *name_of(const fb_elf *elf, const Elf64_Shdr *table, const Elf64_Sym *symbol)
{
    Elf64_Shdr strings;
    const char *name;

    if (!get_section(elf, table->sh_link, &strings) ||
        !within(elf, strings.sh_offset, strings.sh_size) || symbol->st_name >= strings.sh_size)
        return NULL;
    name = (const char *)elf->bytes + strings.sh_offset + symbol->st_name;
    return memchr(name, 0, strings.sh_size - symbol->st_name) == NULL || *name == '\0' ? NULL
                                                                                       : name;
}

static const char *find_in(const fb_elf *elf, const Elf64_Shdr *table, uint64_t address,
                           uint64_t *distance)
{
    for (uint64_t at = 0; table->sh_size - at >= sizeof(Elf64_Sym); at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;

        memcpy(&symbol, elf->bytes + table->sh_offset + at, sizeof symbol);
        if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || address < symbol.st_value ||
            address - symbol.st_value >= symbol.st_size)
            continue;
        *distance = address - symbol.st_value;
        return name_of(elf, table, &symbol);
    }
    return NULL;
}

const char *fb__elf_function(const fb_elf *elf, uint64_t address, uint64_t *distance)
{
    const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};
    Elf64_Shdr section;

    for (int pass = 0; pass < 2; pass++)
        for (unsigned i = 0; get_section(elf, i, &section); i++) {
            const char *name = NULL;

            if (section.sh_type == types[pass] && within(elf, section.sh_offset, section.sh_size))
                name = find_in(elf, &section, address, distance);
            if (name != NULL)
                return name;
        }
    return NULL;
}

bool fb__elf_has_lines(const fb_elf *elf)
{
    static const char wanted[] = ".debug_line";
    Elf64_Ehdr head;
    Elf64_Shdr names, section;

    memcpy(&head, elf->bytes, sizeof head);
    if (!get_section(elf, head.e_shstrndx, &names) || !within(elf, names.sh_offset, names.sh_size))
        return false;
    for (unsigned i = 0; get_section(elf, i, &section); i++)
        if (section.sh_name <= names.sh_size && sizeof wanted <= names.sh_size - section.sh_name &&
            memcmp(elf->bytes + names.sh_offset + section.sh_name, wanted, sizeof wanted) == 0)
            return true;
    return false;
}
