#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CLinux.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

long lh_send_descriptors(int fd, const void *bytes, size_t n, const int *descriptors, int count) {
    return lh_send_descriptors_of(fd, bytes, n, NULL, 0, descriptors, count);
}

long lh_send_descriptors_of(int fd, const void *first, size_t n, const void *second, size_t m, const int *descriptors, int count) {
    union {
        char bytes[CMSG_SPACE(253 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov[2] = {{(void *)first, n}, {(void *)second, m}};
    struct msghdr h;
    if (count < 0 || count > 253) return -EINVAL;
    memset(&h, 0, sizeof h);
    h.msg_iov = iov;
    h.msg_iovlen = m > 0 ? 2 : 1;
    if (count > 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        memset(control.bytes, 0, h.msg_controllen);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(c), descriptors, (size_t)count * sizeof(int));
    }
    return LH_RESULT(sendmsg(fd, &h, MSG_NOSIGNAL));
}

long lh_receive_descriptors(int fd, void *bytes, size_t n, int *descriptors, int room, int *received, int *truncated) {
    union {
        char bytes[CMSG_SPACE(253 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {bytes, n};
    struct msghdr m;
    memset(&m, 0, sizeof m);
    m.msg_iov = &iov;
    m.msg_iovlen = 1;
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof control.bytes;
    *received = 0;
    *truncated = 0;
    long r = LH_RESULT(recvmsg(fd, &m, MSG_CMSG_CLOEXEC));
    if (r < 0) return r;
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) *truncated = 1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        int count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        const int *from = (const int *)(const void *)CMSG_DATA(c);
        for (int i = 0; i < count; i++) {
            if (*received < room) descriptors[(*received)++] = from[i];
            else {
                close(from[i]);
                *truncated = 1;
            }
        }
    }
    return r;
}

long lh_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -(long)errno;
    return LH_RESULT(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

long lh_signalfd_read(int fd) {
    struct signalfd_siginfo info;
    ssize_t n = read(fd, &info, sizeof info);
    if (n < 0) return -(long)errno;
    return n == sizeof info ? (long)info.ssi_signo : -EIO;
}

long lh_raise_descriptor_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0) return -(long)errno;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) < 0) return -(long)errno;
    return (long)r.rlim_cur;
}

long lh_splice(int from, int to, size_t n, unsigned flags) {
    return LH_RESULT(splice(from, NULL, to, NULL, n, flags));
}

long lh_pipe(int fds[2]) { return LH_RESULT(pipe2(fds, O_CLOEXEC | O_NONBLOCK)); }

long lh_pipe_size(int fd, int bytes) { return LH_RESULT(fcntl(fd, F_SETPIPE_SZ, bytes)); }

long lh_receive_memory(int fd, unsigned *charged, unsigned *limit) {
    // SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF, … of linux/sock_diag.h.
    unsigned values[16];
    socklen_t n = sizeof values;
    memset(values, 0, sizeof values);
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &n) < 0) return -(long)errno;
    *charged = values[0];
    *limit = values[1];
    return 0;
}

long lh_double_receive_memory(int fd, unsigned limit) {
    // The kernel doubles the value that it is given (socket(7)).
    int value = (int)limit;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value) == 0) return 0;
    return LH_RESULT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value));
}

long lh_accept(int fd, struct lh_address *peer) {
    struct sockaddr_storage s;
    socklen_t length = sizeof s;
    s.ss_family = AF_UNSPEC;
    long r = LH_RESULT(accept4(fd, (struct sockaddr *)&s, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (r >= 0) *peer = lh_from_sockaddr(&s);
    return r;
}

long lh_peer_credentials(int fd, struct lh_credentials *out) {
    struct ucred c;
    socklen_t n = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0) return -(long)errno;
    out->pid = c.pid;
    out->uid = c.uid;
    out->gid = c.gid;
    return 0;
}

long lh_peer_pidfd(int fd) {
    int p = -1;
    socklen_t n = sizeof p;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &p, &n) == 0) return p;
    struct lh_credentials c;
    long r = lh_peer_credentials(fd, &c);
    return r < 0 ? r : lh_pidfd_open(c.pid);
}

long lh_epoll_wait(int epoll, struct epoll_event *events, int count, int64_t nanoseconds) {
    if (nanoseconds == 0) return LH_RESULT(epoll_wait(epoll, events, count, 0));
    if (nanoseconds < 0) return LH_RESULT(epoll_wait(epoll, events, count, -1));
    struct timespec t = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return LH_RESULT(epoll_pwait2(epoll, events, count, &t, NULL));
}

long lh_receive_credentials(int fd, void *bytes, size_t n, int *pid) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {bytes, n};
    struct msghdr m;
    memset(&m, 0, sizeof m);
    m.msg_iov = &iov;
    m.msg_iovlen = 1;
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof control.bytes;
    *pid = 0;
    long r = LH_RESULT(recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
    if (r < 0) return r;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(struct ucred))) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(c), sizeof who);
            *pid = who.pid;
        } else if (c->cmsg_type == SCM_RIGHTS) {
            // Nobody was asked for descriptors (FDSTORE=1): what came is closed, not leaked.
            int count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            const int *from = (const int *)(const void *)CMSG_DATA(c);
            for (int i = 0; i < count; i++) close(from[i]);
        }
    }
    return r;
}

/// Decimal text without stdio: between fork and exec only async-signal-safe functions may run.
static void write_number(char *out, unsigned value) {
    char digits[12];
    int n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n > 0) *out++ = digits[--n];
    *out = 0;
}

/// In the child. Never returns.
static void become(const struct lh_spawn *what, pid_t parent, int report) {
    sigset_t none;
    for (int s = 1; s < NSIG; s++) signal(s, SIG_DFL);
    sigemptyset(&none);
    if (what->new_session && setsid() < 0) goto failed;
    if (what->death_signal) {
        if (prctl(PR_SET_PDEATHSIG, what->death_signal) < 0) goto failed;
        // The parent may have died before the line above.
        if (getppid() != parent) _exit(127);
    }
    // Everything that is kept is first moved out of the way of the numbers that it shall have.
    int base = 3 + what->passed_count + 1;
    report = fcntl(report, F_DUPFD_CLOEXEC, base);
    if (report < 0) _exit(127);
    int output = -1;
    if (what->output >= 0 && (output = fcntl(what->output, F_DUPFD_CLOEXEC, base)) < 0) goto failed;
    int moved[64];
    if (what->passed_count > 64) {
        errno = E2BIG;
        goto failed;
    }
    for (int i = 0; i < what->passed_count; i++)
        if ((moved[i] = fcntl(what->passed[i], F_DUPFD_CLOEXEC, base)) < 0) goto failed;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0) goto failed;
    if (output >= 0 && (dup2(output, 1) < 0 || dup2(output, 2) < 0)) goto failed;
    for (int i = 0; i < what->passed_count; i++)
        if (dup2(moved[i], 3 + i) < 0) goto failed;
    if (what->own_pid) write_number(what->own_pid, (unsigned)getpid());
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) goto failed;
    execve(what->path, what->argv, what->envp);
failed:;
    int e = errno;
    // Nobody is left to tell when even this fails; the parent then reads end of file and takes the start for good.
    while (write(report, &e, sizeof e) < 0 && errno == EINTR) {}
    _exit(127);
}

long lh_spawn_process(const struct lh_spawn *what) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return -(long)errno;
    // Blocked around the fork so that no handler of ours runs in the child.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) become(what, parent, report[1]);
    int e = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (child < 0) {
        close(report[0]);
        return -(long)e;
    }
    int failure = 0;
    ssize_t n;
    while ((n = read(report[0], &failure, sizeof failure)) < 0 && errno == EINTR) {}
    close(report[0]);
    if (n != sizeof failure) return child;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    return -(long)failure;
}

char *const *lh_environment(void) { return environ; }
