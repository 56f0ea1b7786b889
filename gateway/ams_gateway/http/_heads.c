/* heads.py's functions, compiled. `cut` knows no field by name and refuses nothing: what each name does comes from
   Python, and a head that isn't plain (None) is for the parser in Python to read. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "_abi3.h"

enum { PASSES = 0, DROPPED = 1, DECIDES = 2, FIRST_SLOT = 3 };
/* Longer heads are seldom; those of a bounded length need no memory but the stack's. */
enum { MAX_HEAD_BYTES = 8192, SLOTS = 4 };

typedef struct {
    const char *start;
    ptrdiff_t size;
} span;

/* Lines with their ends. There is room for a whole head and one end more: each line of it is written once,
   at most, and only the last one's end isn't in it. */
typedef struct {
    char bytes[MAX_HEAD_BYTES + 2];
    ptrdiff_t size;
} block;

static void append_line(block *to, span line)
{
    memcpy(to->bytes + to->size, line.start, (size_t)line.size);
    memcpy(to->bytes + to->size + line.size, "\r\n", 2);
    to->size += line.size + 2;
}

/* The next line of `rest`, which then begins after its end. A CR or LF that ends no line is left in it. */
static span next_line(span *rest)
{
    const char *from = rest->start, *end = rest->start + rest->size, *found;
    while ((found = memchr(from, '\r', (size_t)(end - from))) != NULL) {
        if (end - found >= 2 && found[1] == '\n') {
            span line = {rest->start, found - rest->start};
            *rest = (span){found + 2, end - found - 2};
            return line;
        }
        from = found + 1;
    }
    span line = *rest;
    *rest = (span){NULL, 0};
    return line;
}

/* No control character but the tab: RFC 9110 §5.5. */
static bool is_value(span text)
{
    bool is_bad = false;
    for (ptrdiff_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.start[i];
        is_bad |= (byte < ' ' && byte != '\t') || byte == 0x7f;
    }
    return !is_bad;
}

static span stripped(span text)
{
    while (text.size > 0 && (text.start[0] == ' ' || text.start[0] == '\t'))
        text = (span){text.start + 1, text.size - 1};
    while (text.size > 0 && (text.start[text.size - 1] == ' ' || text.start[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static bool contains(span text, span part)
{
    const char *from = text.start;
    ptrdiff_t left = text.size - part.size + 1;
    while (left > 0) {
        const char *found = memchr(from, part.start[0], (size_t)left);
        if (found == NULL)
            return false;
        if (memcmp(found, part.start, (size_t)part.size) == 0)
            return true;
        left -= found + 1 - from;
        from = found + 1;
    }
    return false;
}

/* 1: one of `suspects`, a tuple of bytes, is in the text. 0: none is. -1: Python has an exception. */
static int is_suspect(span text, PyObject *suspects)
{
    Py_ssize_t count = PyTuple_Size(suspects);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *suspect = PyTuple_GetItem(suspects, i);
        char *start;
        Py_ssize_t size;
        if (suspect == NULL || PyBytes_AsStringAndSize(suspect, &start, &size) < 0)
            return -1;
        if (size > 0 && contains(text, (span){start, size}))
            return 1;
    }
    return count < 0 ? -1 : 0;
}

/* Names, and what decides in heads, are few and come over and over: the same object again has its hash already.
   Only a copy, so that two with one place in the table push each other out at no other price. */
enum { KEPT = 256, MAX_KEPT_BYTES = 512 };
static PyObject *kept[KEPT];

static size_t place_of(span text)
{
    uint64_t sum = (uint64_t)text.size, word;
    const char *at = text.start;
    for (ptrdiff_t left = text.size; left > 0; left -= 8, at += 8) {
        word = 0;
        memcpy(&word, at, left < 8 ? (size_t)left : 8);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 29;
    }
    return (size_t)(sum % KEPT);
}

/* The text as bytes. NULL: Python has an exception. */
static PyObject *as_kept_bytes(span text)
{
    if (text.size > MAX_KEPT_BYTES)
        return PyBytes_FromStringAndSize(text.start, text.size);
    PyObject **place = &kept[place_of(text)], *before = *place;
    char *start;
    Py_ssize_t size;
    if (before != NULL) {
        if (PyBytes_AsStringAndSize(before, &start, &size) < 0)
            return NULL;
        if (size == text.size && memcmp(start, text.start, (size_t)size) == 0) {
            Py_IncRef(before);
            return before;
        }
    }
    PyObject *made = PyBytes_FromStringAndSize(text.start, text.size);
    if (made == NULL)
        return NULL;
    Py_IncRef(made);
    *place = made;
    if (before != NULL)
        Py_DecRef(before);
    return made;
}

/* What a field's name does; -1: it isn't known. -2: Python has an exception. */
static long kind_of(span name, PyObject *kinds)
{
    PyObject *key = as_kept_bytes(name);
    if (key == NULL)
        return -2;
    PyObject *kind = PyDict_GetItemWithError(kinds, key);
    Py_DecRef(key);
    if (kind == NULL)
        return PyErr_Occurred() != NULL ? -2 : -1;
    long number = PyLong_AsLong(kind);
    return number == -1 && PyErr_Occurred() != NULL ? -2 : number;
}

static PyObject *none(void)
{
    Py_IncRef(Py_None);
    return Py_None;
}

/* The tuple that `cut` returns. An item may be NULL where Python has an exception: then this is NULL too. */
static PyObject *pack(PyObject *const items[], Py_ssize_t count)
{
    PyObject *packed = PyTuple_New(count);
    bool is_whole = packed != NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        is_whole = is_whole && items[i] != NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (is_whole)
            PyTuple_SetItem(packed, i, items[i]);
        else if (items[i] != NULL)
            Py_DecRef(items[i]);
    }
    if (!is_whole && packed != NULL) {
        Py_DecRef(packed);
        packed = NULL;
    }
    return packed;
}

static PyObject *cut(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    char *start;
    Py_ssize_t size;
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "cut() takes a head, kinds, suspects and a number of bytes");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(arguments[0], &start, &size) < 0)
        return NULL;
    PyObject *kinds = arguments[1], *suspects = arguments[2];
    long suspect_bytes = PyLong_AsLong(arguments[3]);
    if (suspect_bytes == -1 && PyErr_Occurred() != NULL)
        return NULL;
    if (size > MAX_HEAD_BYTES)
        return none();
    block deciding, passing;
    deciding.size = passing.size = 0;
    span slots[SLOTS] = {{NULL, 0}};
    span rest = {start, size};
    append_line(&deciding, next_line(&rest));
    while (rest.start != NULL) {
        span line = next_line(&rest);
        const char *colon = memchr(line.start, ':', (size_t)line.size);
        if (colon == NULL)
            return none();
        span value = stripped((span){colon + 1, line.start + line.size - colon - 1});
        if (!is_value(value))
            return none();
        long kind = kind_of((span){line.start, colon - line.start}, kinds);
        if (kind == -2)
            return NULL;
        if (kind == PASSES) {
            if (value.size >= suspect_bytes) {
                int found = is_suspect(value, suspects);
                if (found != 0)
                    return found < 0 ? NULL : none();
            }
            append_line(&passing, line);
        } else if (kind == DECIDES) {
            append_line(&deciding, line);
        } else if (kind >= FIRST_SLOT && kind < FIRST_SLOT + SLOTS) {
            if (slots[kind - FIRST_SLOT].start != NULL)
                return none(); /* It came twice. */
            slots[kind - FIRST_SLOT] = value;
        } else if (kind != DROPPED) {
            return none();
        }
    }
    PyObject *items[2 + SLOTS];
    items[0] = as_kept_bytes((span){deciding.bytes, deciding.size});
    items[1] = PyBytes_FromStringAndSize(passing.bytes, passing.size);
    for (int i = 0; i < SLOTS; i++) {
        span slot = slots[i];
        items[2 + i] = slot.start == NULL ? none() : PyBytes_FromStringAndSize(slot.start, slot.size);
    }
    return pack(items, 2 + SLOTS);
}

/* `count` lowercase hexadecimal digits; `is_zero` tells whether all are zeros. */
static bool are_digits(const char *at, int count, bool *is_zero)
{
    *is_zero = true;
    for (int i = 0; i < count; i++) {
        if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f')))
            return false;
        *is_zero = *is_zero && at[i] == '0';
    }
    return true;
}

/* A version, a trace id, a span's id and flags. Of a later version, whose may go on behind a hyphen, only what
   this one knows goes on. */
static PyObject *read_trace(PyObject *module, PyObject *value)
{
    (void)module;
    enum { SIZE = 55 };
    char *at, ours[SIZE];
    Py_ssize_t size;
    bool is_zero, is_version_zero, is_trace_zero, is_span_zero;
    if (PyBytes_AsStringAndSize(value, &at, &size) < 0)
        return NULL;
    if (size < SIZE || at[2] != '-' || at[35] != '-' || at[52] != '-' || !are_digits(at, 2, &is_version_zero)
        || !are_digits(at + 3, 32, &is_trace_zero) || !are_digits(at + 36, 16, &is_span_zero)
        || !are_digits(at + 53, 2, &is_zero) || memcmp(at, "ff", 2) == 0 || is_trace_zero || is_span_zero)
        return none();
    if (is_version_zero) {
        if (size != SIZE)
            return none();
        Py_IncRef(value);
        return value;
    }
    if (size > SIZE && (at[SIZE] != '-' || memchr(at, '\n', (size_t)size) != NULL))
        return none();
    memcpy(ours, at, SIZE);
    memcpy(ours, "00", 2);
    return PyBytes_FromStringAndSize(ours, SIZE);
}

static PyMethodDef methods[] = {
    {"cut", (PyCFunction)(void (*)(void))cut, METH_FASTCALL, "See heads.cut."},
    {"read_trace", read_trace, METH_O, "See heads.read_trace."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_heads", "heads.py's functions, compiled.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__heads(void)
{
    return PyModule_Create2(&definition, PYTHON_ABI_VERSION);
}
