/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Prints size and offset of every struct and field, as the C compiler has them: layout.txt, which a test of the library
 * compares with Rust's. */
#include <stddef.h>
#include <stdio.h>

#include "conntab.h"

#define STRUCT(name) printf(#name " %zu\n", sizeof(struct conntab_##name))
#define FIELD(name, field)                                                                                             \
    printf(#name "." #field " %zu %zu\n", offsetof(struct conntab_##name, field),                                      \
           sizeof(((struct conntab_##name *)0)->field))

int main(void) {
#include "layout.inc"
    return 0;
}
