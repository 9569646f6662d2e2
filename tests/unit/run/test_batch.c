#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/batch.h"

static void sequences_are_packed_without_padding(void **state) {
    (void)state;
    zeb_error error = {{0}};
    zeb_arena *arena = NULL;
    zeb_batch batch;
    assert_int_equal(zeb_arena_create(&arena, &error), ZEB_OK);
    assert_int_equal(zeb_batch_create(arena, 4, 10, &batch, &error), ZEB_OK);
    const int32_t id[] = {101, 7, 8, 9, 102, 11}, type[] = {0, 0, 1, 1, 1, 1};
    const zeb_sequence three = {.id = id, .type = type, .length = 3};
    const zeb_sequence six = {.id = id, .type = type, .length = 6};
    zeb_batch_clear(&batch);
    assert_true(zeb_batch_add(&batch, &three));
    assert_true(zeb_batch_add(&batch, &six));
    assert_false(zeb_batch_add(&batch, &three)); /* 12 tokens do not fit 10 */
    assert_int_equal(batch.tokens, 9);
    assert_int_equal(batch.sequences, 2);
    const int32_t offsets[] = {0, 3, 9, 9, 9};
    assert_memory_equal(batch.offsets, offsets, sizeof offsets);
    assert_memory_equal(batch.id, id, 3 * sizeof(int32_t));
    assert_memory_equal(batch.id + 3, id, 6 * sizeof(int32_t));
    assert_memory_equal(batch.type + 3, type, 6 * sizeof(int32_t));
    zeb_batch_clear(&batch);
    for (int i = 0; i < 4; i++) {
        const zeb_sequence one = {.id = id, .type = type, .length = 1};
        assert_true(zeb_batch_add(&batch, &one));
    }
    const zeb_sequence one = {.id = id, .type = type, .length = 1};
    assert_false(zeb_batch_add(&batch, &one)); /* a fifth sequence does not fit 4 */
    zeb_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(sequences_are_packed_without_padding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
