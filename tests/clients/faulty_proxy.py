"""A proxy that fails the first time for some requests, and prints each failure.

python3 faulty_proxy.py PORT forwards to the service at this port. The first line of the output is the proxy's own port. The failures:

- lost: the first registration is processed, but its connection is closed without a response;
- busy: the second registration is answered with 429, and Retry-After is 1 s;
- reset: the first amendment is processed, but its connection is reset;
- cut: the first stream is closed within its second event.
"""

import re
import socket
import struct
import sys
import threading

# The failures of each kind of request, in their order.
FAILURES = {b"POST /patients ": ["lost", "busy"], b"PATCH ": ["reset"], b"GET /events/stream": ["cut"]}
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def forward(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def read_request(client: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request and (data := client.recv(65536)):
        request += data
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    missing = int(length[1]) - len(body) if length else 0
    while missing > 0 and (data := client.recv(missing)):
        request += data
        missing -= len(data)
    return request


def serve(client: socket.socket, port: int) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as service:
        request = read_request(client)
        failures = next((failures for start, failures in FAILURES.items() if request.startswith(start)), [])
        failure = failures.pop(0) if failures else None
        if failure:
            print(failure, flush=True)
        if failure == "busy":
            client.sendall(BUSY)
            return
        service.sendall(request)
        if failure == "cut":
            stream = b""
            while b"\ndata: " not in stream.partition(b"\ndata: ")[2]:
                stream += service.recv(65536)
            first, data, second = stream.partition(b"\ndata: ")
            client.sendall(first + data + second[: second.index(b"\ndata: ") + 10])
        elif failure:
            service.recv(65536)
            if failure == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            threading.Thread(target=forward, args=(client, service), daemon=True).start()
            forward(service, client)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, int(sys.argv[1])), daemon=True).start()


main()
