#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CLinux.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

long lh_send_descriptors(int fd, const void *bytes, size_t n, const int *descriptors, int count) {
    union {
        char bytes[CMSG_SPACE(253 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {(void *)bytes, n};
    struct msghdr m;
    if (count < 0 || count > 253) return -EINVAL;
    memset(&m, 0, sizeof m);
    m.msg_iov = &iov;
    m.msg_iovlen = 1;
    if (count > 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        memset(control.bytes, 0, m.msg_controllen);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(c), descriptors, (size_t)count * sizeof(int));
    }
    return LH_RESULT(sendmsg(fd, &m, MSG_NOSIGNAL));
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
