/* Every way in which a safetensors file can lie is one clear sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../tokenizers/fixture.h"
#include "models/safetensors.h"

static char folder[64], path[128];

static int make_folder(void **state) {
    (void)state;
    fixture_folder(folder, sizeof folder);
    (void)snprintf(path, sizeof path, "%s/t.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    fixture_remove(folder);
    return 0;
}

/* A file of a header that claims `claimed` bytes, its text, and data of `bytes` bytes 0, 1, 2, ... */
static void write_file(const char *header, uint64_t claimed, size_t bytes) {
    size_t length = strlen(header);
    unsigned char *file = malloc(8 + length + bytes);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)(claimed >> (8 * i));
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < bytes; i++)
        file[8 + length + i] = (unsigned char)i;
    fixture_write(folder, "t.safetensors", file, 8 + length + bytes);
    free(file);
}

static void assert_refused(zeb_status status, const char *first, const char *second) {
    zeb_error error = {{0}};
    zeb_safetensors *file;
    assert_int_equal(zeb_safetensors_open(path, &file, &error), status);
    assert_null(file);
    if (strncmp(error.text, path, strlen(path)) != 0) fail_msg("'%s' does not begin with the file", error.text);
    if (strstr(error.text, first) == NULL || strstr(error.text, second) == NULL)
        fail_msg("'%s' does not speak of '%s' and '%s'", error.text, first, second);
}

static void refuse(const char *header, size_t bytes, zeb_status status, const char *first, const char *second) {
    write_file(header, strlen(header), bytes);
    assert_refused(status, first, second);
}

#define ONE(dtype, shape, offsets) "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                                             \
    "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first                                                   \
    "},\"v\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

static void headers_are_bounded(void **state) {
    (void)state;
    fixture_write(folder, "t.safetensors", "\x02\0\0", 3);
    assert_refused(ZEB_ERR_FORMAT, "3 bytes", "too few");
    fixture_write(folder, "t.safetensors", "", 0);
    assert_refused(ZEB_ERR_FORMAT, "0 bytes", "too few");
    write_file("{}", 3, 0);
    assert_refused(ZEB_ERR_FORMAT, "claims 3 bytes", "truncated");
    write_file("{}", UINT64_MAX, 0);
    assert_refused(ZEB_ERR_FORMAT, "claims 18446744073709551615 bytes", "truncated");
    write_file("{}", UINT64_MAX - 7, 0); /* 8 more wrap around */
    assert_refused(ZEB_ERR_FORMAT, "claims", "truncated");
    refuse("", 0, ZEB_ERR_FORMAT, "not valid JSON", "header");
    refuse("[]", 0, ZEB_ERR_FORMAT, "not a JSON object", "header");
    refuse("{\"w\":", 0, ZEB_ERR_FORMAT, "not valid JSON", "header");
    refuse("{\"w\":3}", 0, ZEB_ERR_FORMAT, "\"w\"", "not an object");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, ZEB_ERR_FORMAT, "__metadata__", "\"a\"");
    refuse("{\"__metadata__\":[]}", 0, ZEB_ERR_FORMAT, "__metadata__", "not an object");
    fixture_write(folder, "t.safetensors", NULL, 0);
    assert_refused(ZEB_ERR_IO, "No such file", "t.safetensors");
}

static void tensors_must_fit_their_bytes(void **state) {
    (void)state;
    refuse(ONE("F32", "[2,2]", "[0,16]"), 15, ZEB_ERR_FORMAT, "\"w\"", "0 to 16 reach past the end");
    refuse(ONE("F32", "[1]", "[9223372036854775800,9223372036854775804]"), 4, ZEB_ERR_FORMAT, "\"w\"", "past the end");
    refuse(ONE("F32", "[2,2]", "[0,12]"), 12, ZEB_ERR_FORMAT, "shape [2,2] of F32", "12 bytes");
    refuse(ONE("F16", "[2,2]", "[0,16]"), 16, ZEB_ERR_FORMAT, "shape [2,2] of F16", "16 bytes");
    refuse(ONE("F32", "[2]", "[8,0]"), 8, ZEB_ERR_FORMAT, "\"w\"", "8 to 0 are not a range");
    refuse(ONE("F32", "[2]", "[-8,0]"), 8, ZEB_ERR_FORMAT, "\"w\"", "not a range");
    refuse(ONE("F32", "[1000000000,1000000000]", "[0,8]"), 8, ZEB_ERR_FORMAT, "[1000000000,1000000000]", "8 bytes");
    refuse(ONE("F32", "[1000000000,1000000000,1000000000]", "[0,8]"), 8, ZEB_ERR_FORMAT, "\"w\"", "2^63");
    refuse(ONE("F64", "[4611686018427387904]", "[0,0]"), 0, ZEB_ERR_FORMAT, "4611686018427387904", "0 bytes");
    refuse(ONE("U8", "[99999999999999999999]", "[0,0]"), 0, ZEB_ERR_FORMAT, "not valid JSON", "header");
    refuse(ONE("F32", "[-2]", "[0,8]"), 8, ZEB_ERR_FORMAT, "\"w\"", "extent 0");
    refuse(ONE("F32", "[2.0]", "[0,8]"), 8, ZEB_ERR_FORMAT, "\"w\"", "extent 0");
    refuse(ONE("F32", "{}", "[0,8]"), 8, ZEB_ERR_FORMAT, "\"w\"", "\"shape\"");
    refuse(ONE("F32", "[2]", "[0]"), 8, ZEB_ERR_FORMAT, "\"w\"", "data_offsets");
    refuse(ONE("F32", "[2]", "[0,8.0]"), 8, ZEB_ERR_FORMAT, "\"w\"", "data_offsets");
    refuse(ONE("F7", "[2]", "[0,8]"), 8, ZEB_ERR_UNSUPPORTED, "\"w\"", "\"F7\"");
    refuse(ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, ZEB_ERR_UNSUPPORTED, "\"w\"", "9 dimensions");
    refuse("{\"w\":{\"shape\":[],\"data_offsets\":[0,0]}}", 0, ZEB_ERR_FORMAT, "\"w\"", "dtype");
    refuse("{\"w\\u0007\":{}}", 0, ZEB_ERR_FORMAT, "control character", "name");
}

static void tensors_must_not_share_or_leave_bytes(void **state) {
    (void)state;
    refuse(TWO("[0,4]", "[2,6]"), 6, ZEB_ERR_FORMAT, "\"v\"", "overlap those of \"w\"");
    refuse(TWO("[0,4]", "[0,4]"), 4, ZEB_ERR_FORMAT, "overlap", "\"w\"");
    refuse(TWO("[0,4]", "[6,10]"), 10, ZEB_ERR_FORMAT, "\"v\"", "2 bytes before it");
    refuse(TWO("[4,8]", "[8,12]"), 12, ZEB_ERR_FORMAT, "\"w\"", "4 bytes before it");
    refuse(TWO("[0,4]", "[4,8]"), 9, ZEB_ERR_FORMAT, "last 1 bytes", "no tensor");
    refuse("{\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
           "\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
           0, ZEB_ERR_FORMAT, "\"w\"", "duplicate");
}

static void sound_files_are_read(void **state) {
    (void)state;
    zeb_error error = {{0}};
    zeb_safetensors *file;
    char text[32];
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"late\":{\"dtype\":\"I8\",\"shape\":[2,1],\"data_offsets\":[9,11]},"
                                 "\"empty\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[9,9]},"
                                 "\"scalar\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[8,9]},"
                                 "\"early\":{\"dtype\":\"F16\",\"shape\":[1,4],\"data_offsets\":[0,8]}}   ";
    static const char *const order[] = {"early", "scalar", "empty", "late"};
    write_file(header, sizeof header - 1, 11);
    if (zeb_safetensors_open(path, &file, &error) != ZEB_OK) fail_msg("%s", error.text);
    assert_int_equal(zeb_safetensors_count(file), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(zeb_safetensors_at(file, i)->name, order[i]);
        assert_ptr_equal(zeb_safetensors_find(file, order[i]), zeb_safetensors_at(file, i));
    }
    const zeb_stored_tensor *late = zeb_safetensors_find(file, "late");
    assert_int_equal(late->dtype, ZEB_STORED_I8);
    assert_int_equal(late->data[0], 9);
    assert_int_equal(late->bytes, 2);
    assert_string_equal(zeb_stored_shape(late, text, sizeof text), "[2,1]");
    assert_string_equal(zeb_stored_shape(zeb_safetensors_find(file, "scalar"), text, sizeof text), "[]");
    assert_int_equal(zeb_safetensors_find(file, "empty")->count, 0);
    assert_null(zeb_safetensors_find(file, "w"));
    assert_null(zeb_safetensors_at(file, 4));
    assert_string_equal(zeb_safetensors_metadata(file, "format"), "pt");
    assert_null(zeb_safetensors_metadata(file, "w"));
    assert_int_equal(zeb_safetensors_bytes(file), 8 + sizeof header - 1 + 11);
    zeb_safetensors_close(file);
    zeb_safetensors_close(NULL);
}

/* Cut anywhere, a sound file is refused and never read past its end. */
static void every_truncation_is_refused(void **state) {
    (void)state;
    size_t size;
    char *whole = fixture_read(ZEB_SOURCE_DIR "/tests/unit/models/golden/regression/model.safetensors", &size);
    assert_non_null(whole);
    for (size_t cut = 0; cut < size; cut = cut < 4000 ? cut + 37 : cut + 997) {
        zeb_error error = {{0}};
        zeb_safetensors *file;
        fixture_write(folder, "t.safetensors", whole, cut);
        assert_int_equal(zeb_safetensors_open(path, &file, &error), ZEB_ERR_FORMAT);
        assert_non_null(strstr(error.text, path));
    }
    free(whole);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(headers_are_bounded),         IN_FOLDER(tensors_must_fit_their_bytes),
        IN_FOLDER(sound_files_are_read),        IN_FOLDER(tensors_must_not_share_or_leave_bytes),
        IN_FOLDER(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
