//! Requests that are not valid HTTP, or that a proxy may interpret differently from this service.

use crate::rig::patient;

/// The bytes to send, and the expected statuses of the responses until the connection is closed.
pub(super) struct Shape {
    pub(super) what: &'static str,
    pub(super) sent: Vec<u8>,
    pub(super) statuses: &'static [u16],
}

/// A valid request, after which the connection is closed. If it follows an invalid request, its status 200
/// shows that it was interpreted as a separate request.
pub(super) const LAST: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

/// Statuses if the HTTP library rejects the request and closes the connection.
const REFUSED: &[u16] = &[400];

fn shape(what: &'static str, parts: &[&[u8]], statuses: &'static [u16]) -> Shape {
    Shape {
        what,
        sent: parts.concat(),
        statuses,
    }
}

/// Returns a registration with these headers and this body, followed by `behind`.
fn post(
    what: &'static str,
    headers: &str,
    body: impl AsRef<[u8]>,
    behind: &[u8],
    statuses: &'static [u16],
) -> Shape {
    let head = format!(
        "POST /register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{headers}\r\n\r\n"
    );
    shape(what, &[head.as_bytes(), body.as_ref(), behind], statuses)
}

/// Returns a request with these headers that keeps the connection open, followed by [`LAST`].
fn get(what: &'static str, headers: impl AsRef<[u8]>, statuses: &'static [u16]) -> Shape {
    let start = b"GET /health/live HTTP/1.1\r\nhost: test\r\n";
    shape(what, &[start, headers.as_ref(), b"\r\n\r\n", LAST], statuses)
}

/// Returns a request for this target, followed by [`LAST`].
fn target(what: &'static str, target: impl AsRef<[u8]>, statuses: &'static [u16]) -> Shape {
    let end = b" HTTP/1.1\r\nhost: test\r\n\r\n";
    shape(what, &[b"GET ", target.as_ref(), end, LAST], statuses)
}

/// Returns all shapes.
pub(super) fn shapes() -> Vec<Shape> {
    let tables = [
        lengths(),
        chunks(),
        heads(),
        beginnings(),
        targets(),
        bodies(),
        oversized(),
    ];
    tables.into_iter().flatten().collect()
}

/// Requests whose body length is ambiguous. Request smuggling exploits such differences between proxies and
/// servers (RFC 9112, section 11.2).
fn lengths() -> Vec<Shape> {
    let chunked = "transfer-encoding: chunked";
    vec![
        post("a length and chunks", &format!("content-length: 6\r\n{chunked}"), "0\r\n\r\n", LAST, &[400]),
        post("a length and good chunks", &format!("content-length: 5\r\n{chunked}"), "2\r\n{}\r\n0\r\n\r\n", LAST, &[422]),
        post("chunks and a length", &format!("{chunked}\r\ncontent-length: 4"), "2\r\n{}\r\n0\r\n\r\n", LAST, &[422]),
        post("two lengths", "content-length: 0\r\ncontent-length: 60", "", LAST, REFUSED),
        post("two equal lengths", "content-length: 2\r\ncontent-length: 2", "{}", LAST, &[422, 200]),
        post("a list of lengths", "content-length: 2, 2", "{}", LAST, REFUSED),
        post("a list of other lengths", "content-length: 2, 3", "{}", LAST, REFUSED),
        post("a negative length", "content-length: -1", "", LAST, REFUSED),
        post("a length with a sign", "content-length: +2", "{}", LAST, REFUSED),
        post("a length in base 16", "content-length: 0x2", "{}", LAST, REFUSED),
        post("a length with a space", "content-length: 2 2", "{}", LAST, REFUSED),
        post("a length with a point", "content-length: 2.0", "{}", LAST, REFUSED),
        post("a length of nothing", "content-length: ", "{}", LAST, REFUSED),
        post("a length beyond 64 bits", "content-length: 99999999999999999999", "{}", LAST, REFUSED),
        post("space before the colon of a length", "content-length : 2", "{}", LAST, REFUSED),
        post("space before the colon of an encoding", "transfer-encoding : chunked", "0\r\n\r\n", LAST, REFUSED),
        post("an unknown encoding", "transfer-encoding: xchunked", "0\r\n\r\n", LAST, REFUSED),
        post("an encoding that is none", "transfer-encoding: identity", "0\r\n\r\n", LAST, REFUSED),
        post("chunks that are not last", "transfer-encoding: chunked, identity", "0\r\n\r\n", LAST, REFUSED),
        post("an encoding in quotes", "transfer-encoding: \"chunked\"", "0\r\n\r\n", LAST, REFUSED),
        post("a vertical tab before an encoding", "transfer-encoding:\u{b}chunked", "0\r\n\r\n", LAST, REFUSED),
        post("an encoding on a line of its own", "transfer-encoding:\r\n chunked", "0\r\n\r\n", LAST, REFUSED),
        post("an encoding in capitals, with space", "transfer-encoding:\t CHUNKED ", "2\r\n{}\r\n0\r\n\r\n", LAST, &[422, 200]),
        post("no length at all", "x-a: b", "", LAST, &[400, 200]),
        shape(
            "chunks in HTTP/1.0",
            &[b"POST /register HTTP/1.0\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", LAST],
            REFUSED,
        ),
        get("a length of a request without a body", "content-length: 5\r\n\r\nhello", &[200, 200]),
    ]
}

/// Requests with chunked bodies. If a chunk is malformed, the service sends an error response and closes the
/// connection.
fn chunks() -> Vec<Shape> {
    let good = "2\r\n{}\r\n0\r\n\r\n";
    let chunked = |what, body: &str, statuses| post(what, "transfer-encoding: chunked", body, LAST, statuses);
    vec![
        chunked("good chunks", good, &[422, 200]),
        chunked("an extension", "2;a=b\r\n{}\r\n0\r\n\r\n", &[422, 200]),
        chunked(
            "an extension with a line break in quotes",
            "2;a=\"b\r\nc\"\r\n{}\r\n0\r\n\r\n",
            &[400],
        ),
        chunked(
            "an extension with a bare line feed",
            "2;\nxx\r\n{}\r\n0\r\n\r\n",
            &[400],
        ),
        chunked(
            "an endless extension",
            &format!("2;a={}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(40_000)),
            &[400],
        ),
        chunked("a size with 0x", "0x2\r\n{}\r\n0\r\n\r\n", &[400]),
        chunked("a size with a sign", "+2\r\n{}\r\n0\r\n\r\n", &[400]),
        chunked("a negative size", "-2\r\n{}\r\n0\r\n\r\n", &[400]),
        chunked("no size", "\r\n{}\r\n0\r\n\r\n", &[400]),
        chunked("a size that is none", "zz\r\n{}\r\n0\r\n\r\n", &[400]),
        chunked(
            "a size beyond 64 bits",
            "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
            &[400],
        ),
        chunked("a size that is too small", "1\r\n{}\r\n0\r\n\r\n", &[400]),
        chunked("chunks between bare line feeds", "2\n{}\n0\n\n", &[400]),
        chunked(
            "trailers",
            "2\r\n{}\r\n0\r\nhost: evil\r\ncontent-length: 5\r\nx-injected: x\r\n\r\n",
            &[422, 200],
        ),
        chunked(
            "endless trailers",
            &format!("2\r\n{{}}\r\n0\r\n{}\r\n", "a: b\r\n".repeat(20_000)),
            &[400],
        ),
    ]
}

fn heads() -> Vec<Shape> {
    vec![
        get("a folded header", "x-a: b\r\n c", REFUSED),
        get("a bare carriage return", "x-a: b\rx-injected: c", REFUSED),
        get("a NUL in a value", "x-a: b\0c", REFUSED),
        get("a NUL in a name", "x\0a: b", REFUSED),
        get("no colon", "nonsense", REFUSED),
        get("no name", ": x", REFUSED),
        get("a name beyond ASCII", "x-\u{e9}: x", REFUSED),
        get("a name with a space", "x a: b", REFUSED),
        get("bytes beyond ASCII in a value", b"x-a: \xff\xfe", &[200, 200]),
        get(
            "a request id on two lines",
            "x-request-id: a\r\n x-injected: b",
            REFUSED,
        ),
        get(
            "a request id with a carriage return",
            "x-request-id: a\rset-cookie: b",
            REFUSED,
        ),
        get(
            "a request id with a tab",
            "x-request-id: a\tset-cookie: b",
            &[200, 200],
        ),
        get(
            "an upgrade to HTTP/2",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA",
            &[200, 200],
        ),
        get(
            "an upgrade to a web socket",
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13",
            &[200, 200],
        ),
        get(
            "a method in a header",
            "x-http-method-override: DELETE",
            &[200, 200],
        ),
        get(
            "where it came from in headers",
            "x-forwarded-host: evil\r\nx-forwarded-proto: javascript\r\nx-original-url: /metrics\r\nx-rewrite-url: /metrics",
            &[200, 200],
        ),
        post(
            "an expectation",
            "content-length: 2\r\nexpect: 100-continue",
            "{}",
            LAST,
            &[100, 422, 200],
        ),
        post(
            "another expectation",
            "content-length: 2\r\nexpect: 200-ok",
            "{}",
            LAST,
            &[422, 200],
        ),
    ]
}

fn beginnings() -> Vec<Shape> {
    let whole = |what, bytes: &[u8], statuses| shape(what, &[bytes, LAST], statuses);
    vec![
        whole(
            "lines that end with a line feed alone",
            b"GET /health/live HTTP/1.1\nhost: test\n\n",
            &[200, 200],
        ),
        whole("an empty line before", b"\r\n", &[200]),
        whole(
            "a header before a space",
            b"GET /health/live HTTP/1.1\r\n x: y\r\nhost: test\r\n\r\n",
            REFUSED,
        ),
        whole("HTTP/0.9", b"GET /health/live\r\n", REFUSED),
        whole(
            "HTTP/2 without having asked",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[],
        ),
        whole(
            "HTTP/1.2",
            b"GET /health/live HTTP/1.2\r\nhost: test\r\n\r\n",
            REFUSED,
        ),
        whole(
            "HTTP/3.0",
            b"GET /health/live HTTP/3.0\r\nhost: test\r\n\r\n",
            REFUSED,
        ),
        whole(
            "a version in small letters",
            b"GET /health/live http/1.1\r\nhost: test\r\n\r\n",
            REFUSED,
        ),
        whole(
            "HTTP/1.0, where no host is needed",
            b"GET /health/live HTTP/1.0\r\n\r\n",
            &[200],
        ),
        whole(
            "HTTP/1.0 that goes on",
            b"GET /health/live HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
            &[200, 200],
        ),
        whole(
            "TLS where none is spoken",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00",
            REFUSED,
        ),
        whole("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", REFUSED),
        whole(
            "a method that is none",
            b"GE(T / HTTP/1.1\r\nhost: test\r\n\r\n",
            REFUSED,
        ),
        whole(
            "a method in small letters",
            b"get /health/live HTTP/1.1\r\nhost: test\r\n\r\n",
            &[405, 200],
        ),
        whole(
            "a trace",
            b"TRACE /health/live HTTP/1.1\r\nhost: test\r\nauthorization: secret\r\n\r\n",
            &[405, 200],
        ),
        whole(
            "a tunnel",
            b"CONNECT example.com:80 HTTP/1.1\r\nhost: test\r\n\r\n",
            &[404, 200],
        ),
        whole(
            "a good request before",
            b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n",
            &[200, 200],
        ),
    ]
}

fn targets() -> Vec<Shape> {
    vec![
        target(
            "an absolute target",
            "http://evil.example/health/live",
            &[200, 200],
        ),
        target("a target that is an authority", "evil.example:80", &[404, 200]),
        target("an asterisk", "*", &[404, 200]),
        target("two slashes", "//health/live", &[404, 200]),
        target("a dot", "/./health/live", &[404, 200]),
        target("two dots", "/patients/../health/live", &[404, 200]),
        target("two dots, encoded", "/patients/%2e%2e/health/live", &[404, 200]),
        target(
            "two dots of more bytes than they need",
            "/patients/%c0%ae%c0%ae",
            &[404, 200],
        ),
        target("a NUL, encoded", "/patients/%00", &[404, 200]),
        target("a slash, encoded", "/patients%2F7", &[404, 200]),
        target("a slash in an id, encoded", "/patients/a%2Fb", &[404, 200]),
        target("a parameter in the path", "/patients;x=1", &[404, 200]),
        target("a slash at the end", "/health/live/", &[308, 200]),
        target("half an escape", "/patients/%zz", &[404, 200]),
        target(
            "line breaks, encoded",
            "/patients/%0d%0aset-cookie:x=y",
            &[404, 200],
        ),
        target(
            "line breaks in a query, encoded",
            "/patients?after=%0d%0ax-injected:y",
            &[422, 200],
        ),
        target("SQL in an id", "/patients/'%20OR%201=1--", &[404, 200]),
        target("SQL in a cursor", "/patients?after='%20OR%20'1'='1", &[422, 200]),
        target(
            "SQL in a limit",
            "/events?limit=1;DROP%20TABLE%20events",
            &[422, 200],
        ),
        target(
            "SQL in a moment",
            "/patients/01a20c52-84f4-752b-9b94-14a23061549a?at=2026-01-01';--",
            &[422, 200],
        ),
        target("letters beyond ASCII", "/patients/\u{e9}", &[404, 200]),
        target("a byte that is no text", b"/patients/\xff", REFUSED),
        target("a backslash", "\\patients", REFUSED),
        target("a space", "/health/live x", REFUSED),
        target("a fragment", "/health/live#x", &[200, 200]),
    ]
}

fn bodies() -> Vec<Shape> {
    let good = patient("a@example.com").to_string();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let body = |what, headers: &str, body: &[u8], statuses| {
        let length = format!("content-length: {}{headers}", body.len());
        post(what, &length, body, LAST, statuses)
    };
    vec![
        body(
            "two byte order marks",
            "",
            &[b"\xef\xbb\xbf\xef\xbb\xbf", good.as_bytes()].concat(),
            &[400, 200],
        ),
        body("UTF-16", "", &utf16, &[400, 200]),
        body(
            "UTF-16 that says so",
            "\r\ncontent-encoding: identity",
            &utf16,
            &[400, 200],
        ),
        body(
            "compressed",
            "\r\ncontent-encoding: gzip",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
            &[415, 200],
        ),
        body("a request in a body", "", LAST, &[400, 200]),
    ]
}

fn oversized() -> Vec<Shape> {
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    let header = |length: usize| format!("x-a: {}", "a".repeat(length));
    vec![
        target(
            "a long path",
            format!("/patients/{}", "a".repeat(10_000)),
            &[404, 200],
        ),
        target(
            "a path that is too long",
            format!("/patients/{}", "a".repeat(70_000)),
            &[431],
        ),
        target(
            "a long query",
            format!("/patients?after={}", "1".repeat(10_000)),
            &[422, 200],
        ),
        target(
            "many parameters",
            format!("/patients?{}", "after=1&".repeat(5_000)),
            &[422, 200],
        ),
        get("a header that is too long", header(1_000_000), &[431]),
        get("too many headers", "x-a: b\r\n".repeat(101) + "x-a: b", &[431]),
        get(
            "far too many headers",
            "x-a: b\r\n".repeat(20_000) + "x-a: b",
            &[431],
        ),
        post(
            "a key that is too long",
            &format!("content-length: 2\r\nidempotency-key: {}", "k".repeat(256)),
            "{}",
            LAST,
            &[422, 200],
        ),
        post(
            "a body that is too long",
            "content-length: 10000000",
            " ".repeat(100_000),
            b"",
            &[413],
        ),
        post(
            "a body that says it is endless",
            "content-length: 9223372036854775807",
            " ".repeat(100_000),
            b"",
            &[413],
        ),
        post(
            "too many chunks",
            "transfer-encoding: chunked",
            chunk.repeat(20) + "0\r\n\r\n",
            LAST,
            &[413],
        ),
    ]
}
