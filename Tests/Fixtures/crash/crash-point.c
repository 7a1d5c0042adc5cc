// Kills the process that it is preloaded into (LD_PRELOAD) right behind a system call, before anything else is done: behind the CRASH_AT-th
// that has to do with callers, workers and the pool-keeper, counted from the one that puts a new caller into escrow; with CRASH_FROM=pipe2
// from the one that makes a pipe.
//
// What a process had not yet written down then is lost, and what it wrote down before its step is not: no kill from outside can be so exact.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 65536 };
// What a descriptor is. One thread of the process does all this.
enum kind { OTHER, STREAM, LINK };
static unsigned char kinds[MOST];
static int accepted;
static long left = -1;

static enum kind kind_of(int fd) { return fd >= 0 && fd < MOST ? kinds[fd] : OTHER; }

static void is(int fd, enum kind kind) {
    if (fd >= 0 && fd < MOST) kinds[fd] = kind;
}

static void begin(void) {
    const char *wanted = getenv("CRASH_AT");
    left = wanted ? atol(wanted) : 0;
}

static void behind(const char *call) {
    if (left <= 0 || --left > 0) return;
    // Into the process's output, for whoever reads why a test failed.
    static const char text[] = "crash point: behind ";
    if (write(2, text, sizeof text - 1) < 0 || write(2, call, strlen(call)) < 0 || write(2, "\n", 1) < 0) {}
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(type, name, ...)                       \
    static type (*real)(__VA_ARGS__);               \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)
#define BEHIND(call)         \
    do {                     \
        int e = errno;       \
        behind(call);        \
        errno = e;           \
    } while (0)

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    REAL(int, "accept4", int, struct sockaddr *, socklen_t *, int);
    int made = real(fd, address, length, flags);
    if (made >= 0 && address && address->sa_family == AF_INET) {
        is(made, STREAM);
        accepted = 1;
    }
    return made;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    REAL(int, "connect", int, const struct sockaddr *, socklen_t);
    if (address->sa_family == AF_UNIX) {
        int result = real(fd, address, length);
        const char *path = ((const struct sockaddr_un *)address)->sun_path;
        if (result == 0 && strstr(path, "leasing.sock")) is(fd, LINK);
        return result;
    }
    int result = real(fd, address, length);
    if (address->sa_family == AF_INET) is(fd, STREAM);
    BEHIND(address->sa_family == AF_UNSPEC ? "connect(AF_UNSPEC)" : "connect");
    return result;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);
    ssize_t sent = real(fd, message, flags);
    if (kind_of(fd) != LINK || sent < 0) return sent;
    if (left >= 0) {
        BEHIND("sendmsg");
    } else if (accepted && message->msg_controllen > 0 && !getenv("CRASH_FROM")) {
        begin();
    }
    return sent;
}

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
    REAL(ssize_t, "send", int, const void *, size_t, int);
    ssize_t sent = real(fd, bytes, count, flags);
    if (kind_of(fd) == STREAM) BEHIND("send");
    if (kind_of(fd) == LINK) BEHIND("send (link)");
    return sent;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    REAL(ssize_t, "recvmsg", int, struct msghdr *, int);
    ssize_t count = real(fd, message, flags);
    if (kind_of(fd) == LINK && count > 0) BEHIND("recvmsg");
    return count;
}

ssize_t recv(int fd, void *bytes, size_t room, int flags) {
    REAL(ssize_t, "recv", int, void *, size_t, int);
    ssize_t count = real(fd, bytes, room, flags);
    if (kind_of(fd) == STREAM && !(count < 0 && errno == EAGAIN)) BEHIND(count < 0 ? "recv (error)" : "recv");
    return count;
}

ssize_t splice(int from, loff_t *from_at, int to, loff_t *to_at, size_t count, unsigned flags) {
    REAL(ssize_t, "splice", int, loff_t *, int, loff_t *, size_t, unsigned);
    ssize_t moved = real(from, from_at, to, to_at, count, flags);
    if (!(moved < 0 && errno == EAGAIN)) BEHIND("splice");
    return moved;
}

int pipe2(int ends[2], int flags) {
    REAL(int, "pipe2", int *, int);
    int made = real(ends, flags);
    if (made == 0) BEHIND("pipe2");
    if (made == 0 && left < 0 && getenv("CRASH_FROM")) begin();
    return made;
}

int shutdown(int fd, int how) {
    REAL(int, "shutdown", int, int);
    int result = real(fd, how);
    if (kind_of(fd) == STREAM) BEHIND("shutdown");
    return result;
}

int close(int fd) {
    REAL(int, "close", int);
    enum kind was = kind_of(fd);
    is(fd, OTHER);
    int result = real(fd);
    if (was == STREAM) BEHIND("close");
    return result;
}
