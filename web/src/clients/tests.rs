use axum::http::HeaderValue;

use super::*;

fn proxies(header: ProxyHeader) -> Proxies {
    let networks = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(|network| network.parse().unwrap());
    Proxies::new(networks.to_vec(), header)
}

/// Client of a request from `peer` with these lines of the header.
fn client(header: ProxyHeader, peer: &str, lines: &[&str]) -> String {
    let name = match header {
        ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
        ProxyHeader::Forwarded => header::FORWARDED,
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name.clone(), HeaderValue::from_str(line).unwrap());
    }
    proxies(header)
        .client(peer.parse().unwrap(), &headers)
        .to_string()
}

#[test]
fn a_header_is_believed_of_a_trusted_proxy_only() {
    let header = ProxyHeader::XForwardedFor;
    assert_eq!(client(header, "203.0.113.5", &["198.51.100.1"]), "203.0.113.5");
    assert_eq!(client(header, "10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
    assert_eq!(client(header, "192.0.2.7", &["198.51.100.1"]), "198.51.100.1");
    assert_eq!(
        client(header, "::ffff:10.1.2.3", &["198.51.100.1"]),
        "198.51.100.1"
    );
    assert_eq!(client(header, "10.1.2.3", &[]), "10.1.2.3");
    let mut both = HeaderMap::new();
    both.insert(header::FORWARDED, HeaderValue::from_static("for=198.51.100.1"));
    let peer = "10.1.2.3".parse().unwrap();
    assert_eq!(proxies(header).client(peer, &both), peer, "the other header");
    assert_eq!(Proxies::default().client(peer, &both), peer);
}

#[test]
fn the_client_is_the_right_most_address_that_is_no_trusted_proxy() {
    let header = ProxyHeader::XForwardedFor;
    for (lines, expected) in [
        (&["1.1.1.1, 198.51.100.1"][..], "198.51.100.1"),
        (&["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (&["1.1.1.1", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (&["198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        (&["198.51.100.1:4711"], "198.51.100.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["198.51.100.1, unknown"], "10.1.2.3"),
        (&["198.51.100.1, unknown, 10.9.9.9"], "10.9.9.9"),
        (&["198.51.100.1,"], "10.1.2.3"),
        (&["10.8.8.8, 10.9.9.9"], "10.8.8.8"),
    ] {
        assert_eq!(client(header, "10.1.2.3", lines), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    for (lines, expected) in [
        (&["for=198.51.100.1;proto=https;by=10.1.1.1"][..], "198.51.100.1"),
        (&["proto=https; FOR=\"198.51.100.1:80\""], "198.51.100.1"),
        (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
        (&["for=1.1.1.1, for=198.51.100.1, for=10.9.9.9"], "198.51.100.1"),
        (&["for=198.51.100.1, for=_hidden"], "10.1.2.3"),
        (&["for=198.51.100.1, proto=https"], "10.1.2.3"),
        (&["for=198.51.100.1;for=198.51.100.2"], "10.1.2.3"),
        (&["for=\"198.51.100.1:_p\""], "198.51.100.1"),
        (&["for=\"[2001:db8::1]:_p.-1\""], "2001:db8::1"),
        (&["for=\"198.51.100.1:_\""], "10.1.2.3"),
        (&["for=\"198.51.100.1:123456\""], "10.1.2.3"),
        (&["for=\"unknown:80\""], "10.1.2.3"),
        (&["for=198.51.100.1, for=\"2001:db8::2\""], "2001:db8::2"),
        (
            &["for=1.1.1.1", "for=198.51.100.1", "for=10.9.9.9"],
            "198.51.100.1",
        ),
    ] {
        assert_eq!(
            client(ProxyHeader::Forwarded, "10.1.2.3", lines),
            expected,
            "{lines:?}"
        );
    }
}

/// Each pair is a `Forwarded` value and a `Host` from a client. The proxy appends
/// `for=198.51.100.1;host="…"`, with the `Host` in quotes.
#[test]
fn a_client_does_not_choose_its_address_by_what_its_proxy_quotes_or_passes_on() {
    for (sent, host) in [
        ("", "a,for=5.5.7.1"),
        ("", "a;for=5.5.7.1"),
        ("", "a, for=5.5.7.1, for=10.9.9.9"),
        ("", r#"a\",for=5.5.7.1;x=\"b"#),
        ("", r"a\\"),
        ("for=5.5.7.1, ", "a"),
        ("for=\"5.5.7.1, ", "a"),
        ("for=5.5.7.1;x=\", ", "a"),
        ("for=5.5.7.1;x=\"\\\", ", "a"),
        (",,;;==\"\", ", "a"),
        ("\\, ", "a"),
    ] {
        let line = format!("{sent}for=198.51.100.1;host=\"{host}\"");
        assert_eq!(
            client(ProxyHeader::Forwarded, "10.1.2.3", &[&line]),
            "198.51.100.1",
            "{line}"
        );
        let lines = [sent, &format!("for=198.51.100.1;host=\"{host}\"")];
        assert_eq!(
            client(ProxyHeader::Forwarded, "10.1.2.3", &lines),
            "198.51.100.1",
            "{lines:?}"
        );
    }
}

#[test]
fn a_header_of_any_length_is_looked_at_for_a_few_hops_only() {
    let hops = format!("198.51.100.1{}", ", 10.9.9.9".repeat(MOST_HOPS));
    assert_eq!(
        client(ProxyHeader::XForwardedFor, "10.1.2.3", &[&hops]),
        "10.9.9.9"
    );
}

#[test]
fn an_ipv6_subscriber_is_a_64() {
    let subscriber = |address: &str| subscriber(address.parse().unwrap()).to_string();
    assert_eq!(subscriber("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(subscriber("198.51.100.1"), "198.51.100.1");
}

#[test]
fn a_network_is_in_cidr_notation_or_an_address() {
    for text in ["10.0.0.0/8", " fd00::/8 ", "192.0.2.7", "::1"] {
        text.parse::<Network>().unwrap();
    }
    for text in ["", "10.0.0.0/33", "proxy", "10.0.0.0/8/8", "10.0"] {
        text.parse::<Network>().unwrap_err();
    }
}
