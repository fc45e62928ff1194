/* The n-th system call of a kind on a file below a folder fails with an error of one's choice.
 *
 *     cc -shared -fPIC -O1 -o failing_calls.so failing_calls.c -ldl
 *
 * Preloaded into a process, it does nothing until `fail_arm`; see failing_calls.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[4096];
static char kind_armed[32];
static long point, calls;
static int error_given;

/* Count calls of `kind` below `folder` from now on; the `nth` fails with `error` (0: none does). */
void fail_arm(const char *folder, const char *kind, long nth, int error) {
  snprintf(below, sizeof below, "%s", folder);
  snprintf(kind_armed, sizeof kind_armed, "%s", kind);
  point = nth;
  error_given = error;
  __atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
}

long fail_count(void) { return __atomic_load_n(&calls, __ATOMIC_SEQ_CST); }

static int fails(const char *kind, const char *path) {
  char full[8192];
  if (!below[0] || strcmp(kind, kind_armed)) return 0;

  if (path[0] != '/') {
    char here[4096];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(full, sizeof full, "%s/%s", here, path);
    path = full;
  }
  if (strncmp(path, below, strlen(below))) return 0;

  if (__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != point) return 0;
  errno = error_given;
  return 1;
}

static int fails_on(const char *kind, int descriptor) {
  char link[64], path[4096];
  if (!below[0] || strcmp(kind, kind_armed)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(kind, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* TYPE NAME(PARAMETERS), which fails as WHEN says and else is the C library's own */
#define CALL(type, name, parameters, arguments, when) \
  type name parameters {                              \
    static __typeof__(&name) real;                    \
    if (!real) real = REAL(name);                     \
    return when ? (type)-1 : real arguments;          \
  }

CALL(ssize_t, write, (int f, const void *b, size_t n), (f, b, n), fails_on("write", f))
CALL(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o), fails_on("write", f))
CALL(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), (f, b, n, o), fails_on("write", f))
CALL(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n), fails_on("write", f))
CALL(ssize_t, read, (int f, void *b, size_t n), (f, b, n), fails_on("read", f))
CALL(ssize_t, pread, (int f, void *b, size_t n, off_t o), (f, b, n, o), fails_on("read", f))
CALL(ssize_t, pread64, (int f, void *b, size_t n, off64_t o), (f, b, n, o), fails_on("read", f))
CALL(int, fsync, (int f), (f), fails_on("fsync", f))
CALL(int, fdatasync, (int f), (f), fails_on("fsync", f))
CALL(int, ftruncate, (int f, off_t n), (f, n), fails_on("truncate", f))
CALL(int, ftruncate64, (int f, off64_t n), (f, n), fails_on("truncate", f))
CALL(int, flock, (int f, int o), (f, o), fails_on("flock", f))
CALL(int, rename, (const char *a, const char *b), (a, b), fails("rename", b))
CALL(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), fails("rename", b))
CALL(int, link, (const char *a, const char *b), (a, b), fails("link", b))
CALL(int, linkat, (int d, const char *a, int e, const char *b, int o), (d, a, e, b, o), fails("link", b))
CALL(int, unlink, (const char *a), (a), fails("unlink", a))
CALL(int, unlinkat, (int d, const char *a, int o), (d, a, o), fails("unlink", a))
CALL(int, mkdir, (const char *a, mode_t m), (a, m), fails("mkdir", a))
CALL(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m), fails("mkdir", a))

#define MODE(options)                             \
  mode_t mode = 0;                                \
  if (options & (O_CREAT | __O_TMPFILE)) {        \
    va_list rest;                                 \
    va_start(rest, options);                      \
    mode = va_arg(rest, mode_t);                  \
    va_end(rest);                                 \
  }

static const char *opening(int options) {
  return options & (O_WRONLY | O_RDWR | O_CREAT) ? "create" : "open";
}

#define OPEN(name)                                          \
  int name(const char *path, int options, ...) {            \
    MODE(options)                                           \
    if (fails(opening(options), path)) return -1;           \
    return REAL(name)(path, options, mode);                 \
  }

#define OPEN_AT(name)                                              \
  int name(int folder, const char *path, int options, ...) {       \
    MODE(options)                                                  \
    if (fails(opening(options), path)) return -1;                  \
    return REAL(name)(folder, path, options, mode);                \
  }

OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)
