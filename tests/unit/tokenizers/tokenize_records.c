/* Encodes records from stdin for scripts/golden/check_wordpiece.py: three little-endian int32 (bytes of a, bytes of b
 * or -1, length_max), then the bytes; one line of "id:type ..." a record on stdout, or "error: ...". */
#include <stdlib.h>
#include <string.h>

#include "tokenizers/tokenizer.h"

static char *read_bytes(int32_t length) {
    char *bytes = malloc((size_t)length + 1);
    if (bytes != NULL && length > 0 && fread(bytes, (size_t)length, 1, stdin) != 1) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static int encode_record(const zeb_tokenizer *tokenizer, const int32_t head[3]) {
    zeb_error error = {0};
    zeb_arena *arena = NULL;
    zeb_encoding encoding;
    char *a = read_bytes(head[0]), *b = head[1] >= 0 ? read_bytes(head[1]) : NULL;
    int read = a != NULL && (b != NULL || head[1] < 0);
    if (read && zeb_arena_create(&arena, &error) == ZEB_OK) {
        zeb_status status = zeb_tokenizer_encode(tokenizer, a, (size_t)head[0], b, head[1] >= 0 ? (size_t)head[1] : 0,
                                                 head[2], arena, &encoding, &error);
        if (status != ZEB_OK) printf("error: %s\n", error.text);
        for (int32_t i = 0; status == ZEB_OK && i < encoding.length; i++)
            printf("%d:%d%c", encoding.id[i], encoding.type[i], i + 1 == encoding.length ? '\n' : ' ');
    }
    zeb_arena_destroy(arena);
    free(a);
    free(b);
    return read;
}

int main(int argc, char **argv) {
    zeb_error error = {0};
    zeb_tokenizer *tokenizer;
    int32_t head[3];
    if (argc != 2) return 2;
    if (zeb_tokenizer_open(argv[1], &tokenizer, &error) != ZEB_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    int good = 1;
    while (good && fread(head, sizeof head, 1, stdin) == 1)
        good = head[0] >= 0 && encode_record(tokenizer, head);
    zeb_tokenizer_close(tokenizer);
    return good ? 0 : 1;
}
