/* SPDX-License-Identifier: Apache-2.0
 *
 * test_fault.c - the text of --inject: what is read, what is refused and with which line.
 */
#include "engine/fault.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

static fb_fault parsed(const char *spec)
{
    fb_fault fault;
    fb_error err;

    if (fb_fault_parse(&fault, spec, &err) != FB_OK)
        fail_msg("%s", err.text);
    return fault;
}

static void each_kind_is_read(void **state)
{
    (void)state;
    fb_fault f = parsed("flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2");

    assert_int_equal(f.kind, FB_FAULT_FLIP);
    assert_int_equal(f.step, 3);
    assert_string_equal(f.path, "h.1.mlp.fc");
    assert_string_equal(f.slot, "out");
    assert_int_equal(f.element, 17);
    assert_int_equal(f.bit, 2);
    assert_int_equal(f.micro, 0);

    f = parsed("flip:micro=3,bit=31,element=9223372036854775807,slot=param,path=w,step=4294967295");
    assert_int_equal(f.micro, 3);
    assert_int_equal(f.bit, 31);
    assert_true(f.element == INT64_MAX);
    assert_int_equal(f.step, 4294967295);
    assert_string_equal(f.slot, "param");

    f = parsed("draw:step=5,stream=h.0.dropout");
    assert_int_equal(f.kind, FB_FAULT_DRAW);
    assert_int_equal(f.step, 5);
    assert_string_equal(f.stream, "h.0.dropout");

    assert_int_equal(f.count, 1);
    assert_false(f.silent);

    f = parsed("draw:step=5,stream=h.0.dropout,count=7,silent=1");
    assert_int_equal(f.count, 7);
    assert_true(f.silent);

    f = parsed("swap:step=4,i=0,j=1");
    assert_int_equal(f.kind, FB_FAULT_SWAP);
    assert_int_equal(f.step, 4);
    assert_int_equal(f.i, 0);
    assert_int_equal(f.j, 1);
}

static void each_mistake_gets_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *message; /* message after "SPEC: " */
    } bad[] = {
        {"", "expected flip:..., draw:... or swap:..."},
        {"flip", "expected flip:..., draw:... or swap:..."},
        {"flop:step=1", "expected flip:..., draw:... or swap:..."},
        {"flip:", "missing: \"step\""},
        {"flip:step=1", "missing: \"path\""},
        {"flip:step=1,path=a", "missing: \"slot\""},
        {"flip:step=1,path=a,slot=out", "missing: \"element\""},
        {"flip:step=1,path=a,slot=out,element=0", "missing: \"bit\""},
        {"flip:step=1,path=a,slot=in,element=0,bit=0",
         "slot: expected out, grad or param, got \"in\""},
        {"flip:step=x,path=a", "step: expected an integer from 0 to 4294967295, got \"x\""},
        {"flip:step=-1", "step: expected an integer from 0 to 4294967295, got \"-1\""},
        {"flip:step=", "step: expected an integer from 0 to 4294967295, got \"\""},
        {"flip:step=4294967296",
         "step: expected an integer from 0 to 4294967295, got \"4294967296\""},
        {"flip:step=99999999999999999999",
         "step: expected an integer from 0 to 4294967295, got \"99999999999999999999\""},
        {"flip:bit=32", "bit: expected an integer from 0 to 31, got \"32\""},
        {"flip:step=1,step=1", "given twice: \"step\""},
        {"flip:stepp=1", "unknown key \"stepp\""},
        {"flip:step", "expected KEY=VALUE, got \"step\""},
        {"flip:step=1,", "expected KEY=VALUE, got \"\""},
        {"flip:,step=1", "expected KEY=VALUE, got \"\""},
        {"flip:path=", "path: expected 1 to 255 characters, got \"\""},
        {"draw:step=1", "missing: \"stream\""},
        {"draw:step=1,stream=x,count=0", "count: expected at least 1"},
        {"draw:step=1,stream=x,silent=2", "silent: expected an integer from 0 to 1, got \"2\""},
        {"draw:step=1,path=a", "unknown key \"path\""},
        {"draw:stream=,step=1", "stream: expected 1 to 255 characters, got \"\""},
        {"swap:step=1,i=0", "missing: \"j\""},
        {"swap:step=1,i=2,j=2", "i and j are the same sample"},
        {"swap:step=1,i=0,j=1.5", "j: expected an integer from 0 to 2147483647, got \"1.5\""},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const size_t length = strlen(bad[i].spec);
        fb_fault fault = {.step = 77};
        fb_error err;

        assert_int_equal(fb_fault_parse(&fault, bad[i].spec, &err), FB_E_USAGE);
        assert_memory_equal(err.text, bad[i].spec, length);
        assert_memory_equal(err.text + length, ": ", 2);
        assert_string_equal(err.text + length + 2, bad[i].message);
        assert_int_equal(fault.step, 77);
        assert_int_equal(fb_fault_parse(&fault, bad[i].spec, NULL), FB_E_USAGE);
    }
}

static void text_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char spec[600] = "flip:path=";
    fb_fault fault;
    fb_error err;

    memset(spec + 10, 'a', 255);
    assert_int_equal(fb_fault_parse(&fault, spec, &err), FB_E_USAGE);
    assert_non_null(strstr(err.text, "missing: \"step\"")); /* 255 bytes are fine */
    spec[265] = 'a';
    assert_int_equal(fb_fault_parse(&fault, spec, &err), FB_E_USAGE);
    assert_non_null(strstr(err.text, "path: expected 1 to 255 characters"));
    memset(spec + 10, 'a', 500);
    assert_int_equal(fb_fault_parse(&fault, spec, &err), FB_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_read),
        cmocka_unit_test(each_mistake_gets_its_line),
        cmocka_unit_test(text_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
