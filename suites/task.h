/* suites/task.h - what is asked of a model: tasks, and the examples of one split of one task.
 *
 * A task is a row of a table (suites/glue/glue.c, suites/superglue/superglue.c): where its files lie, which columns
 * hold the text and the label, which values a label may take, how it is scored. Reading follows from the row; only what
 * no row can say is code.
 *
 * Sources: GLUE (Wang et al. 2019, ICLR), SuperGLUE (Wang et al. 2019, NeurIPS) and their official file layouts. */
#ifndef ZEB_SUITES_TASK_H
#define ZEB_SUITES_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/file.h"

typedef enum { ZEB_TASK_CLASSIFICATION, ZEB_TASK_REGRESSION } zeb_task_kind;
typedef enum { ZEB_FILE_TSV, ZEB_FILE_JSONL } zeb_file_format;

/* How a JSONL record becomes examples; all but PAIR are particular to one task (suites/reader_jsonl.c). */
typedef enum zeb_record_shape {
    ZEB_SHAPE_PAIR = 0, /* one example: the columns as they are */
    ZEB_SHAPE_WIC,      /* "word: sentence1" and sentence2 */
    ZEB_SHAPE_WSC,      /* the text with *the pronoun* marked, and the noun phrase it may stand for */
    ZEB_SHAPE_COPA,     /* a group of two: premise and "What was the cause?" or "What happened?", with each choice */
    ZEB_SHAPE_MULTIRC,  /* a group a question: the passage, with "question answer" for each answer */
    ZEB_SHAPE_RECORD    /* a group a query: the passage, with the query in which each entity stands */
} zeb_record_shape;

typedef enum zeb_metric_kind {
    ZEB_METRIC_NONE = 0,
    ZEB_METRIC_ACCURACY,
    ZEB_METRIC_F1,       /* of label 1 */
    ZEB_METRIC_MACRO_F1, /* mean over the labels that occur in truth or prediction */
    ZEB_METRIC_MATTHEWS,
    ZEB_METRIC_PEARSON,
    ZEB_METRIC_SPEARMAN,
    ZEB_METRIC_F1_ANSWERS,      /* MultiRC F1a: F1 of label 1 over all answers */
    ZEB_METRIC_EXACT_QUESTIONS, /* MultiRC EM: questions of which every answer is right */
    ZEB_METRIC_GENDER_PARITY,   /* AX-g: pairs of examples that differ in gender alone and are answered alike */
    ZEB_METRIC_CHOICE_ACCURACY, /* COPA: questions of which the choice preferred is the right one */
    ZEB_METRIC_CHOICE_EXACT,    /* ReCoRD EM: the entity preferred is a gold one, after normalising */
    ZEB_METRIC_CHOICE_F1        /* ReCoRD F1: word overlap of the entity preferred with the nearest gold one */
} zeb_metric_kind;

/* Where a split's text and label stand. TSV: names in the header line; where the file has no header (CoLA), a_at,
 * label_at are positions and `columns` is how many there must be. JSONL: keys; "passage.text" goes one object deeper.
 */
typedef struct zeb_columns {
    const char *a, *b, *label;
    int a_at, label_at, columns; /* columns 0: the file always has a header */
} zeb_columns;

typedef struct zeb_split {
    const char *name;           /* "dev" */
    const char *file;           /* "dev.tsv" in the task's folder */
    uint64_t rows;              /* data rows of the official file; 0 where unknown */
    bool labelled;              /* the label column must be there */
    const zeb_columns *columns; /* NULL: as the task says */
} zeb_split;

enum { ZEB_TASK_SPLITS_MAX = 4, ZEB_TASK_METRICS_MAX = 2 };

typedef struct zeb_task {
    const char *name;   /* "glue/sst2": suite, slash, task; the name that is stored */
    const char *suite;  /* "glue": folder below the data root */
    const char *folder; /* "SST-2": folder below that */
    const char *title;  /* a line for `zeb list tasks` */
    int32_t version;    /* raised when reading or scoring changes results; stored in every row */
    zeb_task_kind kind;
    zeb_file_format format;
    zeb_record_shape shape;         /* of JSONL records */
    int32_t labels;                 /* classes; 1 for regression */
    const char *const *label_name;  /* [labels], the names of Hugging Face's dataset, index = class; NULL: regression */
    const char *const *label_value; /* [labels], as the files spell them */
    double target_min, target_max;  /* regression: bounds of the gold score */
    bool pair;                      /* two texts an example */
    zeb_columns columns;
    zeb_split split[ZEB_TASK_SPLITS_MAX]; /* up to the first without a name */
    const char *default_split;
    zeb_metric_kind metric[ZEB_TASK_METRICS_MAX];
    bool headline_mean; /* the headline is the mean of both metrics; else it is the first */
} zeb_task;

/* The task of that name, or NULL. The suite may be left out and case, '-' and '_' do not matter ("SST-2"); an
 * unqualified name that two suites have is GLUE's. Store task->name, not what was typed. */
const zeb_task *zeb_task_find(const char *name);
/* The name that was probably meant, or NULL. */
const char *zeb_task_suggest(const char *name);
size_t zeb_task_count(void);
const zeb_task *zeb_task_at(size_t i); /* i < zeb_task_count() */

/* Maps the classes of a model to those of the task: class_of[m] is the task's class that the model's output m stands
 * for. Names are compared without case ("POSITIVE", "not_entailment"); a model that only has "LABEL_0", "LABEL_1" or
 * the task's own spellings ("0", "1") is taken in order, and so is NULL. ZEB_ERR_FORMAT when the number of labels
 * differs or some, not all, names fit: guessing an order would give a wrong score that looks right. */
ZEB_MUST_CHECK zeb_status zeb_task_map_labels(const zeb_task *task, const char *const *model_label, int32_t labels,
                                              int32_t *class_of, zeb_error *error);

/* One example. Text is NUL-terminated UTF-8 without a NUL inside. */
typedef struct zeb_example {
    const char *a, *b; /* b NULL for one text */
    size_t a_len, b_len;
    int32_t label; /* -1: not known, or regression. Of a choice: 1 for the right one */
    double target; /* gold score of regression; of a ReCoRD choice its F1; else the label; 0 where not labelled */
    int64_t index; /* data row of the file, from 0, counting malformed ones: the same row has the same index always.
                      Where a row gives several examples, the number of the example instead */
    int64_t group; /* question of MultiRC, COPA and ReCoRD, pair of AX-g: examples of one stand together; -1: alone */
} zeb_example;

enum { ZEB_DATASET_SKIPS_MAX = 8 };

/* The examples of one split, all in the arena it was opened with. */
typedef struct zeb_dataset {
    const zeb_task *task;
    char split[64];
    const char *path;
    char hash[ZEB_SHA256_HEX]; /* SHA-256 of the whole file, whatever the limit */
    zeb_example *example;
    size_t count;
    uint64_t rows_read;     /* data rows looked at, malformed ones included; records of JSONL */
    uint64_t rows_skipped;  /* malformed: reported and left out */
    uint64_t rows_official; /* rows of the official file; 0 where unknown. Fewer read, limit apart: partial data */
    bool labelled;
    char first_skip[512]; /* "FILE:7: ..." or "" */
    const char *skip[ZEB_DATASET_SKIPS_MAX];
    size_t skips; /* of skip[] */
} zeb_dataset;

/* Reads <data_root>/<suite>/<folder>/<file>, or <data_root>/<folder>/<file>. split: a name of the task's table, NULL
 * for the task's default, or the stem of any other file in that folder in the task's layout ("train_subset"). limit: at
 * most that many good rows, 0 for all. A malformed row (wrong number of columns, label outside the set, invalid UTF-8,
 * NUL byte, empty, over 1 MiB) is skipped, counted and described; a file without one good row is ZEB_ERR_FORMAT; a
 * missing one is ZEB_ERR_NOT_FOUND, with what is there instead. Quotation marks are text (QUOTE_NONE), as in GLUE. */
ZEB_MUST_CHECK zeb_status zeb_dataset_open(const zeb_task *task, const char *data_root, const char *split, size_t limit,
                                           zeb_arena *arena, zeb_dataset *dataset, zeb_error *error);

/* The same from bytes in memory (size bytes; not kept): what zeb_dataset_open does after it has found and mapped the
 * file, and what the fuzzer calls. path is for messages; columns NULL means the task's. */
ZEB_MUST_CHECK zeb_status zeb_dataset_parse(const zeb_task *task, const zeb_columns *columns, bool labelled,
                                            const char *path, const void *bytes, size_t size, size_t limit,
                                            zeb_arena *arena, zeb_dataset *dataset, zeb_error *error);

#endif
