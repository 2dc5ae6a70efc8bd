/* cc req.c -o req -lzmq && ./req */
#include <stdio.h>
#include <zmq.h>

int main(int argc, char **argv)
{
    void *context = zmq_ctx_new();
    void *server = zmq_socket(context, ZMQ_REQ);
    int timeout = 5000, linger = 0;
    char reply[256];

    zmq_setsockopt(server, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt(server, ZMQ_LINGER, &linger, sizeof linger);
    zmq_connect(server, argc > 1 ? argv[1] : "tcp://127.0.0.1:6660");
    zmq_send(server, "Ahoy!", 5, 0);
    int size = zmq_recv(server, reply, sizeof reply, 0); /* -1: none in 5 seconds; else the whole reply's size */
    if (size >= 0)
        printf("%.*s\n", size < (int)sizeof reply ? size : (int)sizeof reply, reply);
    zmq_close(server);
    zmq_ctx_term(context);
    return size < 0;
}
