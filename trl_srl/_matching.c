/* What matching.py counts, for ordinary texts and ten to fifty times as fast: the characters in difflib's blocks.
 *
 * The longest block of a window is found from seeds. A block of q or more characters holds stretches of q characters
 * that are in both texts, so it is enough to look up every so many places of `a` in a list of where such stretches are
 * in `b`, and to compare on to the left and to the right. The longer the longest block so far, the fewer places have to
 * be looked up. Seeds of 8 characters are rare in `b`; if no block has 8, seeds of 3 find it; if none has 3, or if the
 * window is small, the table of all pairs of characters is filled in, a row at a time.
 *
 * A text that repeats itself has the same seed in many places, and the longer its blocks are, the longer each is
 * compared. So look-ups and comparisons are counted, and a text that needs too many is left to matching.py, whose way
 * is bounded for any text. Nothing here is global: threads and forked workers can count as they like.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define KINDS 2
static const int32_t SEED[KINDS] = {8, 3}; /* characters, longest first */
#ifndef SMALL
#define SMALL 4096                         /* pairs of characters up to which a window is a table from the start */
#endif
#define EFFORT 300                         /* look-ups and comparisons for each character of both texts before giving up */
#define LONGEST (1 << 24)                  /* characters of a text, so that places and sizes fit into their types */

typedef struct {
    int32_t a0, a1, b0, b1; /* a[a0:a1] against b[b0:b1] */
    int32_t bound;          /* no block can be longer */
} Window;

typedef struct {
    int32_t length, i, j; /* a[i:i + length] == b[j:j + length] */
} Block;

typedef struct { /* where the seeds of one length are in `b` */
    int32_t *first; /* of each hash the first place, or -1 */
    int32_t *next;  /* of each place the next one with the same hash, or -1 */
} Places;

typedef struct { /* an expert's text with what all actions share, and room for one action */
    Py_UCS4 *b;
    int32_t length;
    int bits; /* of a hash */
    int listed; /* whether `places` are there: short texts do without */
    Places places[KINDS];
    int32_t *row, *row_above;
    Window *windows; /* still to be looked at: one more than blocks have been found, at most */
} Expert;

static uint32_t hash(const Py_UCS4 *text, int32_t length, int bits)
{
    uint64_t value = 0;
    for (int32_t t = 0; t < length; t++)
        value = ((value << 7) ^ text[t]) * UINT64_C(0x9E3779B97F4A7C15); /* 2**64 / golden ratio */
    return (uint32_t)(value >> (64 - bits));
}

static void list_places(Expert *expert)
{
    for (int kind = 0; kind < KINDS; kind++) {
        Places *places = &expert->places[kind];
        memset(places->first, -1, sizeof(int32_t) << expert->bits);
        for (int32_t j = expert->length - SEED[kind]; j >= 0; j--) {
            uint32_t value = hash(expert->b + j, SEED[kind], expert->bits);
            places->next[j] = places->first[value];
            places->first[value] = j;
        }
    }
    expert->listed = 1;
}

/* The longest block if it has at least as many characters as the seed, else one of length 0.
 *
 * Of equally long blocks difflib takes the first in `a`, then the first in `b`. Places are at most k - q + 2 apart, k
 * being the longest block so far, so that every longer one holds a seed at one of them. Before a block of k was found,
 * they were at most k - q + 1 apart, so that others of k which begin further left would have been found there: only
 * those with the same seed have to be compared. */
static Block longest_from_seeds(const Expert *expert, const Py_UCS4 *a, Window w, int kind, int64_t *effort)
{
    const Py_UCS4 *b = expert->b;
    const int32_t q = SEED[kind];
    Block longest = {0, 0, 0};
    for (int32_t i = w.a0; i + q <= w.a1 && longest.length < w.bound && --*effort > 0;
         i += longest.length ? longest.length - q + 2 : 1) {
        int32_t j = expert->places[kind].first[hash(a + i, q, expert->bits)];
        for (; j >= 0 && j + q <= w.b1; j = expert->places[kind].next[j]) {
            if (--*effort <= 0)
                return longest;
            if (j < w.b0)
                continue;
            int32_t right = 0, left = 0;
            while (i + right < w.a1 && j + right < w.b1 && a[i + right] == b[j + right])
                right++;
            if (right < q) /* another seed with the same hash */
                continue;
            while (i - left > w.a0 && j - left > w.b0 && a[i - left - 1] == b[j - left - 1])
                left++;
            int32_t length = left + right;
            *effort -= length / 8;
            if (length > longest.length || (length == longest.length && i - left < longest.i))
                longest = (Block){length, i - left, j - left};
        }
    }
    return longest;
}

/* The longest block. A row of the table has, for each character of `b`, how many before it (and it) are also those
 * before the row's character of `a`. */
static Block longest_from_table(const Expert *expert, const Py_UCS4 *a, Window w, int64_t *effort)
{
    const Py_UCS4 *b = expert->b + w.b0;
    const int32_t width = w.b1 - w.b0;
    int32_t *row = expert->row, *above = expert->row_above;
    Block longest = {0, 0, 0};
    memset(above, 0, sizeof(int32_t) * (size_t)(width + 1));
    row[0] = 0;
    for (int32_t i = w.a0; i < w.a1 && longest.length < w.bound && *effort > 0; i++) {
        const Py_UCS4 character = a[i];
        int32_t most = 0;
        for (int32_t j = 0; j < width; j++) { /* without branches, so that compilers make it several at once */
            int32_t common = (above[j] + 1) & -(int32_t)(b[j] == character);
            row[j + 1] = common;
            most = common > most ? common : most;
        }
        if (most > longest.length) {
            int32_t end = 1;
            while (row[end] < most)
                end++;
            longest = (Block){most, i + 1 - most, w.b0 + end - most};
        }
        int32_t *done = row;
        row = above;
        above = done;
        *effort -= width / 8 + 1;
    }
    return longest;
}

static Block longest_block(Expert *expert, const Py_UCS4 *a, Window w, int64_t *effort)
{
    if ((int64_t)(w.a1 - w.a0) * (w.b1 - w.b0) > SMALL) {
        if (!expert->listed)
            list_places(expert);
        for (int kind = 0; kind < KINDS; kind++) {
            if (SEED[kind] <= w.bound) {
                Block block = longest_from_seeds(expert, a, w, kind, effort);
                if (block.length || *effort <= 0)
                    return block;
            }
        }
    }
    return longest_from_table(expert, a, w, effort);
}

static int32_t smallest(int32_t x, int32_t y)
{
    return x < y ? x : y;
}

/* M, or -1 if that takes too long. */
static int32_t matches(Expert *expert, const Py_UCS4 *a, int32_t length)
{
    int64_t effort = EFFORT * ((int64_t)length + expert->length);
    int32_t sum = 0, open = 0;
    expert->windows[open++] = (Window){0, length, 0, expert->length, length};
    while (open) {
        Window w = expert->windows[--open];
        w.bound = smallest(w.bound, smallest(w.a1 - w.a0, w.b1 - w.b0));
        if (w.bound == 0)
            continue;
        Block block = longest_block(expert, a, w, &effort);
        if (effort <= 0)
            return -1;
        if (block.length == 0)
            continue;
        sum += block.length;
        /* To the left blocks are shorter: of equally long ones the first in `a` would have been taken. */
        expert->windows[open++] = (Window){w.a0, block.i, w.b0, block.j, block.length - 1};
        expert->windows[open++] =
            (Window){block.i + block.length, w.a1, block.j + block.length, w.b1, block.length};
    }
    return sum;
}

static int allocate(Expert *expert)
{
    size_t room = (size_t)expert->length + 2;
    for (expert->bits = 4; (1 << expert->bits) < expert->length; expert->bits++)
        ;
    for (int kind = 0; kind < KINDS; kind++) {
        expert->places[kind].first = PyMem_Malloc(sizeof(int32_t) << expert->bits);
        expert->places[kind].next = PyMem_Malloc(sizeof(int32_t) * room);
        if (!expert->places[kind].first || !expert->places[kind].next)
            return 0;
    }
    expert->row = PyMem_Malloc(sizeof(int32_t) * room);
    expert->row_above = PyMem_Malloc(sizeof(int32_t) * room);
    expert->windows = PyMem_Malloc(sizeof(Window) * room);
    return expert->row && expert->row_above && expert->windows;
}

static void release(Expert *expert)
{
    for (int kind = 0; kind < KINDS; kind++) {
        PyMem_Free(expert->places[kind].first);
        PyMem_Free(expert->places[kind].next);
    }
    PyMem_Free(expert->row);
    PyMem_Free(expert->row_above);
    PyMem_Free(expert->windows);
    PyMem_Free(expert->b);
}

/* A copy of a text's characters, to be freed with PyMem_Free. */
static Py_UCS4 *characters(PyObject *text, int32_t *length)
{
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "actions are texts");
        return NULL;
    }
    if (PyUnicode_GetLength(text) > LONGEST) {
        PyErr_Format(PyExc_ValueError, "texts have at most %d characters", LONGEST);
        return NULL;
    }
    *length = (int32_t)PyUnicode_GetLength(text);
    return PyUnicode_AsUCS4Copy(text);
}

static PyObject *count(Expert *expert, PyObject *action)
{
    int32_t length, sum;
    Py_UCS4 *a = characters(action, &length);
    if (!a)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    sum = matches(expert, a, length);
    Py_END_ALLOW_THREADS
    PyMem_Free(a);
    if (sum < 0)
        return Py_NewRef(Py_None); /* Py_RETURN_NONE of newer headers keeps no count, which Python 3.11 needs */
    return PyLong_FromLong(sum);
}

static PyObject *count_matches(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *actions, *text, *counts = NULL;
    Expert expert = {0};
    if (!PyArg_ParseTuple(args, "O!U:count_matches", &PyList_Type, &actions, &text))
        return NULL;
    expert.b = characters(text, &expert.length);
    if (!expert.b)
        return NULL;
    if (allocate(&expert))
        counts = PyList_New(0);
    else
        PyErr_NoMemory();
    for (Py_ssize_t n = 0; counts && n < PyList_Size(actions); n++) {
        PyObject *sum = count(&expert, PyList_GetItem(actions, n));
        if (!sum || PyList_Append(counts, sum) < 0 || PyErr_CheckSignals() < 0) /* Ctrl-C */
            Py_CLEAR(counts);
        Py_XDECREF(sum);
    }
    release(&expert);
    return counts;
}

static PyMethodDef methods[] = {
    {"count_matches", count_matches, METH_VARARGS,
     "count_matches(actions: list[str], expert: str) -> list[int | None]\n\n"
     "M of 2M/T of each action, `None` for those that matching.py has to count."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_matching", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__matching(void)
{
    return PyModuleDef_Init(&definition);
}
