#include "tokenizers/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { VOCABULARY_MAX = 1 << 26 };

/* The low bits of a product depend on few bits of the input: fold the upper half in. */
static uint32_t slot_of(uint64_t hash) {
    return (uint32_t)(hash ^ hash >> 29);
}

static uint64_t hash_all(uint64_t hash, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        hash = zeb_vocabulary_hash(hash, (unsigned char)text[i]);
    return hash;
}

static bool split_rest(const char **text, size_t *length) {
    if (*length < 2 || memcmp(*text, "##", 2) != 0) return false;
    *text += 2;
    *length -= 2;
    return true;
}

/* Was the token behind an id written with "##"? */
static bool is_rest(const zeb_vocabulary *v, int32_t id) {
    uint32_t at = v->token[id].offset;
    return at >= 2 && memcmp(v->map.data + at - 2, "##", 2) == 0 && (at == 2 || v->map.data[at - 3] == '\n');
}

int32_t zeb_vocabulary_find(const zeb_vocabulary *vocabulary, const char *text, size_t length, bool rest,
                            uint64_t hash) {
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint32_t at = slot_of(hash) & vocabulary->mask;; at = (at + 1) & vocabulary->mask) {
        const zeb_vocabulary_slot *slot = &vocabulary->slot[at];
        if (slot->id < 0) return -1;
        if (slot->tag != tag) continue;
        const zeb_vocabulary_token *token = &vocabulary->token[slot->id];
        if (token->length == length && memcmp(vocabulary->map.data + token->offset, text, length) == 0 &&
            is_rest(vocabulary, slot->id) == rest)
            return slot->id;
    }
}

int32_t zeb_vocabulary_id(const zeb_vocabulary *vocabulary, const char *token, size_t length) {
    bool rest = split_rest(&token, &length);
    uint64_t hash = hash_all(rest ? ZEB_VOCABULARY_REST : ZEB_VOCABULARY_START, token, length);
    return zeb_vocabulary_find(vocabulary, token, length, rest, hash);
}

/* Adds the line that is next; its number is the id. */
static zeb_status add_line(zeb_vocabulary *v, const char *path, const char *line, size_t length, zeb_error *error) {
    const char *text = line;
    size_t rest_length = length;
    bool rest = split_rest(&text, &rest_length);
    uint64_t hash = hash_all(rest ? ZEB_VOCABULARY_REST : ZEB_VOCABULARY_START, text, rest_length);
    int32_t same = zeb_vocabulary_find(v, text, rest_length, rest, hash);
    if (same >= 0)
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: token \"%.*s\" stands on line %d and again on line %d", path,
                        (int)(length < 80 ? length : 80), line, same + 1, v->count + 1);
    v->token[v->count] =
        (zeb_vocabulary_token){.offset = (uint32_t)(text - (const char *)v->map.data), .length = (uint32_t)rest_length};
    uint32_t at = slot_of(hash) & v->mask;
    while (v->slot[at].id >= 0)
        at = (at + 1) & v->mask;
    v->slot[at] = (zeb_vocabulary_slot){.tag = (uint32_t)(hash >> 32), .id = v->count};
    if (rest_length > v->longest) v->longest = (uint32_t)rest_length;
    v->count++;
    return ZEB_OK;
}

static size_t count_lines(const zeb_map *map) {
    size_t lines = 0;
    const unsigned char *at = map->data, *end = map->data + map->size;
    for (; at < end; lines++) {
        const unsigned char *stop = memchr(at, '\n', (size_t)(end - at));
        at = stop != NULL ? stop + 1 : end;
    }
    return lines;
}

static zeb_status reserve(zeb_vocabulary *v, const char *path, zeb_error *error) {
    size_t lines = count_lines(&v->map), slots = 16;
    if (lines == 0) return zeb_fail(error, ZEB_ERR_FORMAT, "%s: the vocabulary is empty", path);
    if (lines > VOCABULARY_MAX || v->map.size > UINT32_MAX)
        return zeb_fail(error, ZEB_ERR_UNSUPPORTED, "%s: %zu tokens are more than zeb holds", path, lines);
    while (slots < lines * 2)
        slots *= 2;
    v->token = malloc(lines * sizeof *v->token);
    v->slot = malloc(slots * sizeof *v->slot);
    if (v->token == NULL || v->slot == NULL)
        return zeb_fail(error, ZEB_ERR_MEMORY, "out of memory for a vocabulary of %zu tokens", lines);
    memset(v->slot, 0xff, slots * sizeof *v->slot); /* every id -1 */
    v->mask = (uint32_t)(slots - 1);
    return ZEB_OK;
}

static zeb_status read_lines(zeb_vocabulary *v, const char *path, zeb_error *error) {
    size_t bad;
    if (!zeb_text_utf8_valid((const char *)v->map.data, v->map.size, &bad))
        return zeb_fail(error, ZEB_ERR_FORMAT, "%s: invalid UTF-8 at byte %zu", path, bad);
    zeb_status status = reserve(v, path, error);
    const char *at = (const char *)v->map.data, *end = at + v->map.size;
    while (status == ZEB_OK && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop != NULL ? stop + 1 : end;
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (length > 0 && at[length - 1] == '\r') length--;
        status = add_line(v, path, at, length, error);
        at = next;
    }
    return status;
}

zeb_status zeb_vocabulary_open(const char *path, zeb_vocabulary *vocabulary, zeb_error *error) {
    *vocabulary = (zeb_vocabulary){0};
    zeb_status status = zeb_map_open(path, &vocabulary->map, error);
    if (status == ZEB_OK) status = read_lines(vocabulary, path, error);
    if (status != ZEB_OK) zeb_vocabulary_close(vocabulary);
    return status;
}

void zeb_vocabulary_close(zeb_vocabulary *vocabulary) {
    free(vocabulary->token);
    free(vocabulary->slot);
    zeb_map_close(&vocabulary->map);
    *vocabulary = (zeb_vocabulary){0};
}
