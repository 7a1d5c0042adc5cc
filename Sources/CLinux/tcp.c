// Apart from CLinux.c because <linux/tcp.h>, whose tcp_info is longer, contradicts <netinet/tcp.h>.
#include <errno.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>

long lh_bytes_acked(int fd) {
    struct tcp_info info;
    socklen_t n = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, 6 /* IPPROTO_TCP */, TCP_INFO, &info, &n) < 0) return -(long)errno;
    return (long)info.tcpi_bytes_acked;
}
