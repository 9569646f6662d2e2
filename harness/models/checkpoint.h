/* models/checkpoint.h - the weights of a folder: model.safetensors, or the shards that model.safetensors.index.json
 * names ("weight_map": tensor to file). A shard is named relative to the folder, or to the folder above it by one
 * leading "../", so that checkpoints beside each other can share a word table; no other way leads out. */
#ifndef ZEB_MODELS_CHECKPOINT_H
#define ZEB_MODELS_CHECKPOINT_H

#include "base/arena.h"
#include "models/safetensors.h"

typedef struct zeb_checkpoint zeb_checkpoint;

/* Opens every file of the checkpoint. ZEB_ERR_NOT_FOUND: neither file, or a shard that is not there; ZEB_ERR_FORMAT: a
 * shard's name that leads elsewhere, a tensor that is not in the file where the index puts it, or in two files. The
 * sentence names the index, the file and the tensor. */
ZEB_MUST_CHECK zeb_status zeb_checkpoint_open(const char *folder, zeb_checkpoint **checkpoint, zeb_error *error);
void zeb_checkpoint_close(zeb_checkpoint *checkpoint); /* takes NULL */

const zeb_stored_tensor *zeb_checkpoint_find(const zeb_checkpoint *checkpoint, const char *name);

/* In the order of their names in the index. */
size_t zeb_checkpoint_files(const zeb_checkpoint *checkpoint);
const zeb_safetensors *zeb_checkpoint_file(const zeb_checkpoint *checkpoint, size_t index);
/* The file's name relative to the folder, as the index has it. */
const char *zeb_checkpoint_name(const zeb_checkpoint *checkpoint, size_t index);
/* The file to name in messages: the only one, or the index. */
const char *zeb_checkpoint_path(const zeb_checkpoint *checkpoint);

/* SHA-256 of the only file; of several shards the SHA-256 of their hashes as text (64 digits each, nothing between), in
 * the order of the files' names. Reads every byte. */
ZEB_MUST_CHECK zeb_status zeb_checkpoint_hash(const zeb_checkpoint *checkpoint, char hex[65], zeb_error *error);

#endif
