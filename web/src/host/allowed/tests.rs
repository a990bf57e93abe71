use axum::http::Version;

use super::*;

fn accepts(hosts: &Hosts, target: &str, host: Option<&str>) -> bool {
    let mut request = Request::get(target);
    if let Some(host) = host {
        request = request.header("host", host);
    } else {
        request = request.version(Version::HTTP_10);
    }
    hosts.check(&request.body(()).unwrap(), false).is_ok()
}

const LOOPBACK: [&str; 12] = [
    "localhost",
    "LOCALHOST:8000",
    "localhost.",
    "localhost.:8000",
    "service.localhost",
    "a.b.LocalHost:1",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.255.255.254",
    "[::1]",
    "[::1]:8000",
    "[::ffff:127.0.0.1]:8000",
];

const FOREIGN: [&str; 14] = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "localhost.evil.example:8000",
    "127.0.0.1.evil.example",
    "evillocalhost",
    ".localhost",
    "0.0.0.0",
    "[::]",
    "192.168.1.7",
    "128.0.0.1",
    "[::2]",
    "%6cocalhost",
    "127.1",
];

#[test]
fn an_open_api_answers_to_loopback_names_alone_on_any_port() {
    let hosts = Hosts::new(true, Vec::new(), None);
    for host in LOOPBACK {
        assert!(accepts(&hosts, "/", Some(host)), "{host}");
    }
    for host in FOREIGN {
        assert!(!accepts(&hosts, "/", Some(host)), "{host}");
    }
    assert!(
        accepts(&hosts, "/", None),
        "no browser sends HTTP/1.0 without a host"
    );
}

#[test]
fn both_the_header_and_an_absolute_target_have_to_be_allowed() {
    let hosts = Hosts::new(true, Vec::new(), None);
    for (target, host, expected) in [
        ("http://localhost:8000/items", "localhost:8000", true),
        ("http://evil.example/items", "localhost:8000", false),
        ("http://localhost/items", "evil.example", false),
        ("http://localhost@evil.example/items", "localhost", false),
    ] {
        assert_eq!(accepts(&hosts, target, Some(host)), expected, "{target} {host}");
    }
}

#[test]
fn hosts_that_it_was_told_of_are_added() {
    let told_of = [
        "Clinic.Example.com.",
        "*.internal.example",
        "192.0.2.7",
        "2001:db8::1",
        "[fd00::1]",
    ];
    let hosts = |open| Hosts::new(open, told_of.map(|host| host.parse().unwrap()).to_vec(), None);
    for open in [true, false] {
        let hosts = hosts(open);
        for host in [
            "clinic.example.com",
            "clinic.EXAMPLE.com.:443",
            "a.internal.example",
            "b.a.internal.example:1",
        ]
        .into_iter()
        .chain([
            "192.0.2.7:80",
            "[2001:db8::1]:80",
            "[::ffff:192.0.2.7]",
            "[fd00::1]",
        ])
        .chain(LOOPBACK)
        {
            assert!(accepts(&hosts, "/", Some(host)), "{host}");
        }
        for host in [
            "internal.example",
            "evilinternal.example",
            "a.clinic.example.com",
            "192.0.2.8",
        ]
        .into_iter()
        .chain(FOREIGN)
        {
            assert!(!accepts(&hosts, "/", Some(host)), "{host}");
        }
    }
}

#[test]
fn with_authentication_or_a_star_every_host_is_accepted() {
    for hosts in [
        Hosts::new(false, Vec::new(), None),
        Hosts::new(true, vec!["*".parse().unwrap()], None),
    ] {
        for host in FOREIGN.into_iter().chain(LOOPBACK) {
            assert!(accepts(&hosts, "/", Some(host)), "{host}");
        }
        assert!(!accepts(&hosts, "/", Some("a b")), "a host must be valid");
    }
}

#[test]
fn the_host_of_the_public_url_is_one_of_its_own() {
    let public = Some("api.example.com");
    let (open, closed) = (
        Hosts::new(true, Vec::new(), public),
        Hosts::new(false, Vec::new(), public),
    );
    assert!(accepts(&open, "/", Some("api.example.com:8443")) && !accepts(&open, "/", Some("evil.example")));
    assert!(
        accepts(&closed, "/", Some("evil.example")),
        "with authentication, every host is accepted"
    );
}

#[test]
fn a_setting_is_a_host_and_nothing_else() {
    for text in [
        "*",
        " api ",
        "my_service",
        "*.example.com",
        "10.0.0.1",
        "::1",
        "[::1]",
        "a.",
    ] {
        text.parse::<AllowedHost>().unwrap();
    }
    for text in [
        "",
        ".",
        "*example.com",
        "*.",
        "**",
        "a.*.example",
        "example.com:8000",
        "127.0.0.1:8000",
        "[::1]:80",
        "http://example.com",
        "example.com/",
        ".example.com",
        "a..b",
        "a b",
        "bücher.example",
    ] {
        assert_eq!(text.parse::<AllowedHost>(), Err(NoHost), "{text}");
    }
}
