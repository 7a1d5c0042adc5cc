// Linux system calls as Swift can call them: no variadics, no macros, no errno.
// Every function returns what the call returned, or the negated errno.
#ifndef LEASEHOLD_CLINUX_H
#define LEASEHOLD_CLINUX_H

// Compiled as Swift's own Glibc module is, without _GNU_SOURCE: otherwise the two would define one struct in two ways.
// What needs _GNU_SOURCE, or a header that contradicts glibc's, is in CLinux.c.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LH_RESULT(expression) ({ __auto_type lh_r = (expression); lh_r < 0 ? -(long)errno : (long)lh_r; })

/// An IP address and port, as the Swift side carries it: family 4 or 6 (0: none); IPv4 in the low 32 bits of `low`.
struct lh_address {
    uint64_t high;
    uint64_t low;
    uint16_t port;
    uint8_t family;
};

static inline socklen_t lh_to_sockaddr(const struct lh_address *a, struct sockaddr_storage *out) {
    memset(out, 0, sizeof(struct sockaddr_in6));
    if (a->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        in->sin_addr.s_addr = htonl((uint32_t)a->low);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->port);
    uint64_t h = __builtin_bswap64(a->high), l = __builtin_bswap64(a->low);
    memcpy(&in6->sin6_addr, &h, 8);
    memcpy((char *)&in6->sin6_addr + 8, &l, 8);
    return sizeof *in6;
}

static inline struct lh_address lh_from_sockaddr(const struct sockaddr_storage *s) {
    struct lh_address a = {0, 0, 0, 0};
    if (s->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)s;
        a.family = 4;
        a.port = ntohs(in->sin_port);
        a.low = ntohl(in->sin_addr.s_addr);
    } else if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)s;
        uint64_t h, l;
        memcpy(&h, &in6->sin6_addr, 8);
        memcpy(&l, (const char *)&in6->sin6_addr + 8, 8);
        a.high = __builtin_bswap64(h);
        a.low = __builtin_bswap64(l);
        a.port = ntohs(in6->sin6_port);
        a.family = 6;
        // A v4-mapped peer (RFC 4291 §2.5.5.2) is the IPv4 peer that it names.
        if (a.high == 0 && (a.low >> 32) == 0xffff) {
            a.family = 4;
            a.low &= 0xffffffff;
        }
    }
    return a;
}

static inline int64_t lh_monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// epoll(7)

static inline long lh_epoll_create(void) { return LH_RESULT(epoll_create1(EPOLL_CLOEXEC)); }

static inline long lh_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event e;
    e.events = events;
    e.data.u64 = data;
    return LH_RESULT(epoll_ctl(epoll, operation, fd, &e));
}

/// `nanoseconds` < 0 waits for ever.
long lh_epoll_wait(int epoll, struct epoll_event *events, int count, int64_t nanoseconds);

static inline uint64_t lh_event_data(const struct epoll_event *e) { return e->data.u64; }

static const uint32_t LH_EPOLLIN = EPOLLIN, LH_EPOLLOUT = EPOLLOUT, LH_EPOLLRDHUP = EPOLLRDHUP, LH_EPOLLERR = EPOLLERR,
                      LH_EPOLLHUP = EPOLLHUP, LH_EPOLLET = EPOLLET, LH_EPOLLEXCLUSIVE = EPOLLEXCLUSIVE;

// Bytes

/// open(2), always close-on-exec. Flags as in fcntl.h; `mode` for O_CREAT.
static inline long lh_open(const char *path, int flags, mode_t mode) { return LH_RESULT(open(path, flags | O_CLOEXEC, mode)); }
static inline long lh_duplicate(int fd) { return LH_RESULT(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
/// flock(2), exclusive and without waiting; ends with the last descriptor of this open file.
static inline long lh_lock(int fd) { return LH_RESULT(flock(fd, LOCK_EX | LOCK_NB)); }
static inline long lh_close(int fd) { return LH_RESULT(close(fd)); }
static inline long lh_read(int fd, void *p, size_t n) { return LH_RESULT(read(fd, p, n)); }
static inline long lh_write(int fd, const void *p, size_t n) { return LH_RESULT(write(fd, p, n)); }
static inline long lh_recv(int fd, void *p, size_t n, int flags) { return LH_RESULT(recv(fd, p, n, flags)); }
static inline long lh_send(int fd, const void *p, size_t n, int flags) { return LH_RESULT(send(fd, p, n, flags | MSG_NOSIGNAL)); }

long lh_splice(int from, int to, size_t n, unsigned flags);
static const unsigned LH_SPLICE_MOVE_NONBLOCK = 1 | 2;  // SPLICE_F_MOVE | SPLICE_F_NONBLOCK

long lh_pipe(int fds[2]);
long lh_pipe_size(int fd, int bytes);

static inline long lh_unread(int fd) {
    int n = 0;
    return ioctl(fd, FIONREAD, &n) < 0 ? -(long)errno : n;
}

/// Bytes that were sent and not acknowledged (SIOCOUTQ); a FIN counts as one.
long lh_unsent(int fd);

/// What the receive queue is charged and may be charged, in bytes of kernel memory (SO_MEMINFO, Linux 4.12).
long lh_receive_memory(int fd, unsigned *charged, unsigned *limit);

/// Doubles what the receive queue may be charged: past net.core.rmem_max only with CAP_NET_ADMIN.
long lh_double_receive_memory(int fd, unsigned limit);

// Sockets

long lh_accept(int fd, struct lh_address *peer);

static inline long lh_socket(int domain, int type) { return LH_RESULT(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

static inline long lh_connect(int fd, const struct lh_address *to) {
    struct sockaddr_storage s;
    socklen_t length = lh_to_sockaddr(to, &s);
    return LH_RESULT(connect(fd, (struct sockaddr *)&s, length));
}

/// connect(AF_UNSPEC): resets the connection whatever duplicates of it exist.
static inline long lh_disconnect(int fd) {
    struct sockaddr s;
    memset(&s, 0, sizeof s);
    s.sa_family = AF_UNSPEC;
    return LH_RESULT(connect(fd, &s, sizeof s));
}

static inline long lh_bind(int fd, const struct lh_address *to) {
    struct sockaddr_storage s;
    socklen_t length = lh_to_sockaddr(to, &s);
    return LH_RESULT(bind(fd, (struct sockaddr *)&s, length));
}

static inline long lh_listen(int fd, int backlog) { return LH_RESULT(listen(fd, backlog)); }
static inline long lh_shutdown(int fd, int how) { return LH_RESULT(shutdown(fd, how)); }

static inline long lh_socket_error(int fd) {
    int e = 0;
    socklen_t n = sizeof e;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0 ? -(long)errno : -(long)e;
}

/// What poll(2) says now, of POLLIN, POLLERR and POLLHUP: nothing is taken, where SO_ERROR takes the failure away.
/// A Unix-domain connection has POLLHUP from the other end's close on, whatever of it is still to be read; a pidfd has POLLIN from its
/// process's end on, reaped or not (pidfd_open(2)).
static inline int lh_poll_now(int fd) {
    struct pollfd one = {fd, POLLIN, 0};
    return poll(&one, 1, 0) > 0 ? one.revents : 0;
}

static inline long lh_set_option(int fd, int level, int name, int value) {
    return LH_RESULT(setsockopt(fd, level, name, &value, sizeof value));
}

static inline struct lh_address lh_local_address(int fd) {
    struct sockaddr_storage s;
    socklen_t length = sizeof s;
    s.ss_family = AF_UNSPEC;
    if (getsockname(fd, (struct sockaddr *)&s, &length) < 0) s.ss_family = AF_UNSPEC;
    return lh_from_sockaddr(&s);
}

static inline struct lh_address lh_peer_address(int fd) {
    struct sockaddr_storage s;
    socklen_t length = sizeof s;
    s.ss_family = AF_UNSPEC;
    if (getpeername(fd, (struct sockaddr *)&s, &length) < 0) s.ss_family = AF_UNSPEC;
    return lh_from_sockaddr(&s);
}

/// `tcpi_bytes_acked` (linux/tcp.h, since 4.1): what the other host has acknowledged, a SYN or FIN not counted here.
long lh_bytes_acked(int fd);

/// Where a TCP connection stands, as the kernel counts it.
struct lh_stream_position {
    /// `tcpi_bytes_received`: what came from the peer, its FIN counted as one.
    uint64_t received;
    /// `tcpi_bytes_acked`: what the peer has acknowledged, the SYN of a connection that was made from here and our FIN counted as one each.
    uint64_t acked;
    /// SIOCINQ: what nobody has read yet, a FIN not counted.
    int32_t unread;
    /// SIOCOUTQ: what was sent and not acknowledged, our FIN counted as one.
    int32_t unsent;
    /// `tcpi_state`, as in linux/tcp_states.h.
    uint8_t state;
};

/// Reads the four counters so that they belong together: again until nothing moved meanwhile. -EAGAIN when it never settles.
long lh_stream_position(int fd, struct lh_stream_position *out);

/// A Unix-domain address. A leading '@' names the abstract namespace. Returns 0, or -ENAMETOOLONG.
static inline long lh_unix_address(const char *path, struct sockaddr_un *out, socklen_t *length) {
    size_t n = strlen(path);
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (n >= sizeof out->sun_path) return -ENAMETOOLONG;
    memcpy(out->sun_path, path, n);
    if (n > 0 && path[0] == '@') {
        out->sun_path[0] = 0;
        *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    } else {
        *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    }
    return 0;
}

static inline long lh_connect_unix(int fd, const char *path) {
    struct sockaddr_un s;
    socklen_t length;
    long r = lh_unix_address(path, &s, &length);
    return r < 0 ? r : LH_RESULT(connect(fd, (struct sockaddr *)&s, length));
}

static inline long lh_bind_unix(int fd, const char *path) {
    struct sockaddr_un s;
    socklen_t length;
    long r = lh_unix_address(path, &s, &length);
    return r < 0 ? r : LH_RESULT(bind(fd, (struct sockaddr *)&s, length));
}

/// Sends a packet with `count` descriptors (SCM_RIGHTS); at most 253 (unix(7)).
long lh_send_descriptors(int fd, const void *bytes, size_t n, const int *descriptors, int count);

/// The same with a packet that lies in two places.
long lh_send_descriptors_of(int fd, const void *first, size_t n, const void *second, size_t m, const int *descriptors, int count);

/// Receives a packet and at most `room` descriptors. `*received` is how many came, `*truncated` whether bytes or
/// descriptors were cut off (MSG_TRUNC, MSG_CTRUNC).
long lh_receive_descriptors(int fd, void *bytes, size_t n, int *descriptors, int room, int *received, int *truncated);

struct lh_credentials {
    int32_t pid;
    uint32_t uid;
    uint32_t gid;
};

/// SO_PEERCRED of a connected Unix socket.
long lh_peer_credentials(int fd, struct lh_credentials *out);

/// The supplementary groups that the peer had at its connect (SO_PEERGROUPS, Linux 4.13): how many of them are in `groups`.
long lh_peer_groups(int fd, unsigned *groups, int room);

/// The number of a group, or -ENOENT. Asks the system's databases: only at a start.
long lh_group_id(const char *name);

static inline long lh_pidfd_open(int pid) { return LH_RESULT(syscall(SYS_pidfd_open, pid, 0)); }

/// A pidfd of the peer: SO_PEERPIDFD (Linux 6.5), else pidfd_open of SO_PEERCRED's pid.
long lh_peer_pidfd(int fd);

static inline long lh_pidfd_signal(int pidfd, int signal) { return LH_RESULT(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0)); }

static inline long lh_chmod(const char *path, mode_t mode) { return LH_RESULT(chmod(path, mode)); }

// Processes and signals

static inline long lh_eventfd(void) { return LH_RESULT(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

/// Blocks the signals for this thread and returns a signalfd for them.
long lh_signalfd(const int *signals, int count);
/// Reads one signal number; -EAGAIN when there is none.
long lh_signalfd_read(int fd);

/// The soft RLIMIT_NOFILE after raising it to the hard one.
long lh_raise_descriptor_limit(void);

/// environ(7).
char *const *lh_environment(void);

/// What a child process is started with. Everything is prepared before the fork: between fork and exec nothing is allocated.
struct lh_spawn {
    const char *path;
    char *const *argv;
    char *const *envp;
    /// Becomes standard output and standard error; -1 inherits both. Standard input is /dev/null.
    int output;
    /// Becomes standard error, where that is not `output`; -1 is the same as `output`.
    int errors;
    /// Become 3, 4, … without close-on-exec.
    const int *passed;
    int passed_count;
    /// A session of its own: no terminal, and a process group that can be signalled whole.
    int new_session;
    /// PR_SET_PDEATHSIG; 0 is none.
    int death_signal;
    /// Where in `envp` the child writes its own pid as decimal text with a terminating zero (at least 12 bytes), or NULL.
    char *own_pid;
};

/// Forks and executes; signals are at their defaults and unblocked in the child. Returns the pid, or the negated errno of whatever
/// failed, exec included (then no child is left).
long lh_spawn_process(const struct lh_spawn *what);

/// execve(2): returns only its failure.
static inline long lh_exec(const char *path, char *const argv[], char *const envp[]) { return LH_RESULT(execve(path, argv, envp)); }

/// Reaps one child if it has ended: its pid, 0 when none has, or -ECHILD. `pid` -1 is any. `*status` as of waitpid(2).
static inline long lh_reap(int pid, int *status) { return LH_RESULT(waitpid(pid, status, WNOHANG)); }
static inline long lh_kill(int pid, int signal) { return LH_RESULT(kill(pid, signal)); }
static inline long lh_prctl_subreaper(int on) { return LH_RESULT(prctl(PR_SET_CHILD_SUBREAPER, on)); }

/// A datagram with its sender's pid (SCM_CREDENTIALS); `*pid` is 0 when the kernel gave none.
long lh_receive_credentials(int fd, void *bytes, size_t n, int *pid);

static inline long lh_fcntl_nonblock(int fd) { return LH_RESULT(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)); }
static inline long lh_fcntl_block(int fd) { return LH_RESULT(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK)); }
static inline long lh_set_cloexec(int fd, int on) { return LH_RESULT(fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0)); }
static inline long lh_prctl_pdeathsig(int signal) { return LH_RESULT(prctl(PR_SET_PDEATHSIG, signal)); }
static inline long lh_ignore_sigpipe(void) { return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -(long)errno : 0; }

static inline long lh_inotify(void) { return LH_RESULT(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)); }
static inline long lh_inotify_add(int fd, const char *path, uint32_t mask) { return LH_RESULT(inotify_add_watch(fd, path, mask)); }
static inline long lh_inotify_remove(int fd, int watch) { return LH_RESULT(inotify_rm_watch(fd, watch)); }

// Files

static inline long lh_stat(const char *path, int follow, struct stat *out) { return LH_RESULT(follow ? stat(path, out) : lstat(path, out)); }
static inline long lh_fstat(int fd, struct stat *out) { return LH_RESULT(fstat(fd, out)); }
static inline long lh_fsync(int fd) { return LH_RESULT(fsync(fd)); }
static inline long lh_rename(const char *from, const char *to) { return LH_RESULT(rename(from, to)); }
static inline long lh_unlink(const char *path) { return LH_RESULT(unlink(path)); }
/// Sets the file's modification time to now.
static inline long lh_touch(const char *path) { return LH_RESULT(utimensat(AT_FDCWD, path, NULL, 0)); }
/// linux_dirent64 records, as many as fit; 0 at the end.
static inline long lh_directory_entries(int fd, void *p, size_t n) { return LH_RESULT(syscall(SYS_getdents64, fd, p, n)); }
/// The wall clock in nanoseconds: for comparing with times of files only.
static inline int64_t lh_realtime(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline long lh_truncate(int fd, int64_t size) { return LH_RESULT(ftruncate(fd, size)); }

/// Maps the whole of a shared file for reading and writing. NULL when it cannot be; then errno is negated in `*error`.
static inline void *lh_map(int fd, size_t size, long *error) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p != MAP_FAILED) return p;
    *error = -(long)errno;
    return NULL;
}
static inline void lh_unmap(void *p, size_t size) { (void)munmap(p, size); }

/// A store that comes after all earlier ones, also for whoever finds the memory when this process was killed.
static inline void lh_store_last(uint64_t *p, uint64_t value) { __atomic_store_n(p, value, __ATOMIC_RELEASE); }
static inline uint64_t lh_load_first(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

static inline long lh_memfd(const char *name) { return LH_RESULT(syscall(SYS_memfd_create, name, 3 /* CLOEXEC | ALLOW_SEALING */)); }

#endif
