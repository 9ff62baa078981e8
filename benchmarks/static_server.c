/* Answers every request with the same 1 KiB, over kept connections: as much of a web server as is
 * needed to measure what stands before it. Usage: static_server PORT */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY = 1024, MOST = 4096 };
static struct { char bytes[8192]; size_t used; } heads[MOST];

static void answer(int fd, const char *reply, size_t length) {
    size_t *used = &heads[fd].used;
    char *bytes = heads[fd].bytes;
    ssize_t got = read(fd, bytes + *used, sizeof heads[fd].bytes - 1 - *used);
    if (got <= 0) {
        *used = 0;
        close(fd);
        return;
    }
    *used += (size_t)got;
    bytes[*used] = 0;
    for (char *end; (end = strstr(bytes, "\r\n\r\n")) != NULL;) {
        if (write(fd, reply, length) != (ssize_t)length)
            abort();
        *used -= (size_t)(end + 4 - bytes);
        memmove(bytes, end + 4, *used + 1);
    }
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 64;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1, polling = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("listen");
        return 1;
    }
    static char reply[BODY + 256];
    int head = sprintf(reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(reply + head, 'x', BODY);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(polling, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(polling, ready, 256, -1);
        for (int at = 0; at < count; at++) {
            if (ready[at].data.fd != listener) {
                answer(ready[at].data.fd, reply, (size_t)head + BODY);
                continue;
            }
            int fd = accept(listener, NULL, NULL);
            if (fd < 0 || fd >= MOST)
                abort();
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            event.data.fd = fd;
            epoll_ctl(polling, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
