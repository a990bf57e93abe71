use super::*;
use crate::checkpoint::Checkpoint;
use crate::note::{NoteError, SigningKey};

/// The example request of c2sp.org/tlog-witness.
const EXAMPLE: &str = "old 20852014\n\
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
    5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
    /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n\
    example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

/// The example response of c2sp.org/tlog-witness.
const RESPONSE: &str = "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
    — witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n\
    — witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";

/// A request with a proof of three hashes, which lead nowhere.
fn request() -> String {
    let key = SigningKey::from_seed("example.org/log", &[7; 32]).unwrap();
    let checkpoint = Checkpoint::new("example.org/log", 8, Hash::leaf(b"root")).unwrap();
    let proof = [b"a", b"b", b"c"].map(|leaf| Hash::leaf(leaf)).to_vec();
    AddCheckpoint::new(5, proof, SignedCheckpoint::sign(checkpoint, &key).unwrap()).to_string()
}

#[test]
fn the_examples_of_the_specification_are_parsed() {
    let request: AddCheckpoint = EXAMPLE.parse().unwrap();
    assert_eq!((request.old_size(), request.proof().len()), (20_852_014, 4));
    assert_eq!(request.checkpoint().checkpoint().size(), 20_852_163);
    assert_eq!(request.to_string(), EXAMPLE);
    let Response::Cosigned(signatures) =
        Response::parse(200, Some("text/plain"), RESPONSE.as_bytes()).unwrap()
    else {
        panic!("not cosigned");
    };
    assert_eq!(signatures.len(), 3);
    assert_eq!(Response::Cosigned(signatures).body(), RESPONSE);
}

#[test]
fn malformed_requests_are_rejected() {
    let text = request();
    let first = Hash::leaf(b"a").to_string();
    let cases = [
        (String::new(), RequestError::Structure),
        ("old 5\n".to_owned(), RequestError::Structure),
        (text.replace("old 5", "old 05"), RequestError::OldSize),
        (text.replace("old 5", "old  5"), RequestError::OldSize),
        (text.replace("old 5", "old -5"), RequestError::OldSize),
        (text.replace("old 5", "old"), RequestError::OldSize),
        (text.replace("old 5", "size 5"), RequestError::OldSize),
        (
            text.replace("old 5", "old 9223372036854775808"),
            RequestError::OldSize,
        ),
        (text.replace(&first, "AAAA"), RequestError::Proof),
        (text.replace(&first, &first[1..]), RequestError::Proof),
        (
            text.replace(&first, &[first.as_str(); 62].join("\n")),
            RequestError::Proof,
        ),
        (
            text.replace("\n8\n", "\n08\n"),
            RequestError::Checkpoint(CheckpointError::Size),
        ),
        (
            text.trim_end().to_owned(),
            RequestError::Checkpoint(NoteError::Structure.into()),
        ),
        (
            format!("{text}{}", "a".repeat(MAX_REQUEST_LEN)),
            RequestError::TooLong,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<AddCheckpoint>(), Err(error), "{text:.200}");
    }
    assert_eq!(AddCheckpoint::parse(b"\xff"), Err(RequestError::Structure));
    let longest = text.replace(&first, &[first.as_str(); 61].join("\n"));
    assert_eq!(longest.parse::<AddCheckpoint>().unwrap().proof().len(), 63);
}

#[test]
fn malformed_responses_are_rejected() {
    let parse = Response::parse;
    assert_eq!(parse(200, None, b""), Err(ResponseError::Body(200)));
    assert_eq!(parse(200, None, b"ok\n"), Err(ResponseError::Body(200)));
    assert_eq!(
        parse(200, None, RESPONSE.trim_end().as_bytes()),
        Err(ResponseError::Body(200))
    );
    assert_eq!(
        parse(200, None, RESPONSE.repeat(34).as_bytes()),
        Err(ResponseError::Body(200))
    );
    assert_eq!(parse(200, None, &[0xff]), Err(ResponseError::Body(200)));
    for (content_type, body) in [
        (None, "6\n"),
        (Some("text/plain"), "6\n"),
        (Some(SIZE_TYPE), "6"),
        (Some(SIZE_TYPE), "06\n"),
        (Some(SIZE_TYPE), "six\n"),
        (Some(SIZE_TYPE), "\n"),
        (Some(SIZE_TYPE), "9223372036854775808\n"),
    ] {
        assert_eq!(
            parse(409, content_type, body.as_bytes()),
            Err(ResponseError::Body(409)),
            "{body}"
        );
    }
    assert_eq!(
        parse(409, Some("Text/X.tlog.size; charset=utf-8"), b"6\n"),
        Ok(Response::Conflict { size: 6 })
    );
    for response in [
        Response::BadRequest,
        Response::Forbidden,
        Response::NotFound,
        Response::Unprocessable,
    ] {
        assert_eq!(
            parse(response.status(), None, b"\xffany text"),
            Ok(response.clone())
        );
        assert_eq!(response.body(), "");
    }
    for status in [0, 201, 301, 429, 500, 503, 999] {
        assert_eq!(parse(status, None, b""), Err(ResponseError::Status(status)));
    }
}
