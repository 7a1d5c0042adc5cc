// Apart from CLinux.c because <linux/tcp.h>, whose tcp_info is longer, contradicts <netinet/tcp.h>.
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct lh_stream_position {
    uint64_t received;
    uint64_t acked;
    int32_t unread;
    int32_t unsent;
    uint8_t state;
};

static long info_of(int fd, struct tcp_info *info) {
    socklen_t n = sizeof *info;
    memset(info, 0, sizeof *info);
    return getsockopt(fd, 6 /* IPPROTO_TCP */, TCP_INFO, info, &n) < 0 ? -(long)errno : 0;
}

long lh_bytes_acked(int fd) {
    struct tcp_info info;
    long r = info_of(fd, &info);
    return r < 0 ? r : (long)info.tcpi_bytes_acked;
}

long lh_unsent(int fd) {
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) < 0 ? -(long)errno : n;
}

long lh_stream_position(int fd, struct lh_stream_position *out) {
    struct tcp_info before, after;
    long r = info_of(fd, &before);
    // A peer that goes on sending stops when our window is full, and one that acknowledges when nothing is left: it settles.
    for (int tries = 0; r >= 0 && tries < 100000; tries++) {
        int unread = 0, unsent = 0;
        if (ioctl(fd, SIOCINQ, &unread) < 0 || ioctl(fd, SIOCOUTQ, &unsent) < 0) return -(long)errno;
        if ((r = info_of(fd, &after)) < 0) break;
        if (before.tcpi_bytes_received == after.tcpi_bytes_received && before.tcpi_bytes_acked == after.tcpi_bytes_acked
            && before.tcpi_state == after.tcpi_state) {
            out->received = after.tcpi_bytes_received;
            out->acked = after.tcpi_bytes_acked;
            out->unread = unread;
            out->unsent = unsent;
            out->state = after.tcpi_state;
            return 0;
        }
        before = after;
    }
    return r < 0 ? r : -EAGAIN;
}
