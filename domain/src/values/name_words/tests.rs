use proptest::prelude::*;

use super::*;
use crate::Name;

fn words(name: &str) -> Vec<String> {
    name_words(name).into_iter().collect()
}

fn finds(query: &str, name: &str) -> bool {
    NameQuery::parse(query)
        .unwrap_or_else(|error| panic!("{query:?}: {error}"))
        .matches_name(name)
}

#[test]
fn a_name_is_found_by_each_of_these_queries() {
    for (name, queries) in [
        (
            "Dr. Peter James Chalmers",
            &["dr", "dr.", "Chalmers, Peter", "p. j. chalm", "JAMES"][..],
        ),
        (
            "Ana María López Núñez",
            &["lopez", "nunez ana", "LOPEZ-NUNEZ", "mari\u{301}a"],
        ),
        (
            "Ana  López",
            &["ana lopez", "ana\u{a0}\u{3000}lopez", "lópez, ana"],
        ),
        (
            "Ana López",
            &["\u{200e}ana\u{ad} lo\u{200b}pez", "\u{202b}ana\u{202c}"],
        ),
        (
            "María-José d‐e l‑a C–r—u−z",
            &["maria jose", "jose-maria", "d e l a c r u z"],
        ),
        ("GROẞ Anna", &["gross", "groß", "GROSS", "gro"]),
        ("Groß", &["GROẞ"]),
        (
            "Γιώργος Παπαδόπουλος",
            &["ΓΙΩΡΓΟΣ", "γιωργοσ", "παπαδοπουλος", "γιώργος"],
        ),
        ("İnci Işık", &["inci isik", "ınci", "IŞIK", "ışık", "i\u{307}nci"]),
        ("ﬁlip Ａｎａ Ⓛopez", &["FILIP", "fi", "ana lopez"]),
        ("Đặng Thị Hồng", &["dang thi", "đặng", "hong"]),
        (
            "Łukasz Ørsted Æsa Œdip Þór Ħal Guðrún",
            &[
                "lukasz", "orsted", "aesa", "oedip", "thor", "hal", "gudrun", "ŁUKASZ", "ÆSA", "ÞÓR",
            ],
        ),
        (
            "Ŧuu Ɨra Ƚea Ƶoe Ɓala Ɗan Ƙai Ƴar Ŋuyen",
            &["tuu", "ira", "lea", "zoe", "bala", "dan", "kai", "yar", "nuyen"],
        ),
        (
            "Siobhán O’Hara",
            &[
                "o'hara",
                "ohara",
                "hara",
                "o hara",
                "O‘Hara",
                "oʼhara",
                "o`hara",
                "o´hara",
                "o′hara",
                "o＇hara",
                "'hara'",
                "siobhan 'hara",
            ],
        ),
        ("D´Angelo", &["dangelo", "d'angelo", "angelo"]),
        ("Kaʻahumanu", &["kaahumanu", "ka'ahumanu", "ahumanu"]),
        ("Gal·la Marcel·lí", &["galla", "gal·la", "marceŀli", "gal la"]),
        ("Mª José (Pepa) Ruiz_Gil", &["ma", "pepa", "gil"]),
        ("Иван Йованович Ёлкин", &["ИОВАНОВИЧ", "елкин"]),
        (
            "أحمد إبراهيم آدم ٱلله",
            &["احمد", "ابراهيم", "ادم", "الله", "أَحْمَد"],
        ),
        ("فاطمة موسى", &["فاطمه", "موسي", "فـاطـمة", "فَاطِمَة"]),
        (
            "علی\u{200c}رضا کریمی",
            &["عليرضا", "علی رضا", "علی\u{200c}رضا", "رضا", "كريمي"],
        ),
        ("ﻓﺎﻃﻤﺔ", &["فاطمة", "ﻓ\u{fe76}ﺎﻃﻤﺔ"]),
        ("שָׁלוֹם כהן־לוי", &["שלום", "כהן", "לוי"]),
        ("ג׳ורג׳", &["ג'ורג'", "גורג"]),
        ("नेहा शर्मा", &["नेहा", "शर्मा", "ने"]),
        ("สมชาย ใจดี", &["ใจดี", "สม"]),
        ("ក្រឹស្នា", &["ក្រឹស្នា"]),
        ("ක්\u{200d}රිස්", &["ක්\u{200d}රිස්", "ක්රිස්"]),
    ] {
        for query in queries {
            assert!(finds(query, name), "{name:?} by {query:?}");
        }
    }
}

#[test]
fn spaces_have_no_effect_in_chinese_japanese_and_korean_names() {
    for name in [
        "山田 太郎",
        "山田太郎",
        "山田\u{3000}太郎",
        "山田・太郎",
        "山 田太郎",
    ] {
        assert_eq!(words(name), ["太郎", "山田太郎", "田太郎", "郎"], "{name}");
        for query in [
            "山田太郎",
            "山田 太郎",
            "太郎 山田",
            "太郎、山田",
            "山田",
            "太郎",
            "田太郎",
            "山",
            "山田太",
            "太郎山",
        ] {
            assert_eq!(finds(query, name), query != "太郎山", "{name} by {query}");
        }
    }
    for (name, queries) in [
        ("王小明", &["小明", "王 小明", "小明 王", "王小明"][..]),
        ("김철수", &["철수", "김 철수", "\u{1100}\u{1175}\u{11b7}", "김철"]),
        ("ﾔﾏﾀﾞ ﾀﾛｰ", &["ヤマダタロー", "タロー ヤマダ", "ヤマダ"]),
        ("葛\u{e0100} 花子", &["葛花子", "葛", "花子"]),
        ("玛丽亚·洛佩斯", &["洛佩斯", "玛丽亚洛佩斯", "洛佩斯·玛丽亚"]),
        ("山田太郎 Taro Yamada", &["yamada 太郎", "taro 山田", "山田taro"]),
        ("王Wang小明", &["wang", "小明wang王"]),
    ] {
        for query in queries {
            assert!(finds(query, name), "{name} by {query}");
        }
    }
    for (query, name) in [
        ("太郎山田", "山田 太郎"),
        ("山田花子", "山田 太郎"),
        ("山田 花子", "山田 太郎"),
        ("太山", "山田 太郎"),
        ("기", "김철수"),
        ("か", "が"),
        ("王小", "王 Wang 小明"),
    ] {
        assert!(!finds(query, name), "{name} by {query}");
    }
}

#[test]
fn a_query_finds_no_other_names() {
    for (query, name) in [
        ("pez", "Ana López"),
        ("opez", "Ana López"),
        ("lopezz", "Ana López"),
        ("analopez", "Ana López"),
        ("ana ruiz", "Ana López"),
        ("ana lopez lo z", "Ana López"),
        ("ara", "O'Hara"),
        ("o'h ara", "O'Hara"),
        ("hara", "Ohara"),
        ("jeanluc", "Jean-Luc"),
        ("rose", "Ambrose"),
        ("ana", "Anna"),
        ("कि", "क"),
        ("रमा", "शर्मा"),
        ("สมชา", "ชาย"),
        ("محمد", "احمد"),
        ("\u{fffd}a", "\u{fffd}"),
        ("li", "Mal.i"),
    ] {
        assert!(!finds(query, name), "{name:?} by {query:?}");
    }
}

#[test]
fn words_that_begin_another_word_are_dropped() {
    for (name, expected) in [
        ("Ana Anabel Ana", &["anabel"][..]),
        ("Siobhán O’Hara", &["hara", "ohara", "siobhan"]),
        ("'Pepe' James' d''Or", &["dor", "james", "or", "pepe"]),
        ("rock'n'roll", &["nroll", "rocknroll", "roll"]),
        ("H.-J. 2nd", &["2nd", "h", "j"]),
        ("ʼ Ana", &["ana"]),
        // Letters that are otherwise ignored.
        ("ʼ", &["ʼ"]),
        ("ـ", &["ـ"]),
        // Names without letters and digits.
        ("", &[UNSEARCHABLE]),
        (" - ", &[UNSEARCHABLE]),
        ("\u{200d}", &[UNSEARCHABLE]),
    ] {
        assert_eq!(words(name), expected, "{name:?}");
    }
    let query = NameQuery::parse("ana lopez an LÓPEZ l").unwrap();
    assert!(query.words().eq(["ana", "lopez"]));
    assert!(
        NameQuery::parse("太郎 山田")
            .unwrap()
            .words()
            .eq(["太郎", "山田"])
    );
}

#[test]
fn the_words_of_a_name_are_bounded() {
    assert_eq!(words(&format!("{}b", "a".repeat(64))), ["a".repeat(64)]);
    assert_eq!(words(&"각".repeat(64))[0].chars().count(), 64);
    let numbers: Vec<String> = (100..200).map(|number| number.to_string()).collect();
    assert_eq!(words(&numbers.join(" ")), numbers[..32]);
    // Whole words are kept before parts.
    let name = format!("山田太郎 x'y'z {}", numbers[..30].join(" "));
    let kept = words(&name);
    assert_eq!(kept.len(), 32);
    assert!(kept.contains(&"山田太郎".to_owned()) && kept.contains(&"xyz".to_owned()));
    assert!(!kept.contains(&"yz".to_owned()));
    // A word can replace its own beginnings even if there is no room for other words.
    let chain: Vec<String> = (1..=60).map(|chars| "a".repeat(chars)).collect();
    assert_eq!(words(&chain.join(" ")), ["a".repeat(60)]);
}

#[test]
fn a_query_is_bounded() {
    for (input, rejected) in [
        ("", NameQueryError::Empty),
        (" \u{200b}\u{3000}", NameQueryError::Empty),
        (" - ' . ´", NameQueryError::Empty),
        ("\u{fffd}", NameQueryError::Empty),
        (&*"a".repeat(65), NameQueryError::TooLong),
        (&*"ß".repeat(33), NameQueryError::TooLong),
        ("a b c d e f g h i", NameQueryError::TooManyWords),
        ("a\nb", NameQueryError::ControlCharacter(ControlCharacter)),
        ("a\u{202e}b", NameQueryError::ControlCharacter(ControlCharacter)),
    ] {
        assert_eq!(NameQuery::parse(input).unwrap_err(), rejected, "{input:?}");
    }
    for input in ["a b c d e f g h ab A", &"a".repeat(64), &"각".repeat(64)] {
        let query = NameQuery::parse(input).unwrap();
        assert!(query.words().count() <= 8);
        assert_eq!(format!("{query:?}"), "NameQuery(..)");
    }
    assert_eq!(
        NameQueryError::TooManyWords.to_string(),
        "must contain at most 8 different words"
    );
}

#[test]
fn the_words_with_a_prefix_are_those_from_the_prefix_to_its_end() {
    for (word, end) in [("ab", "ac"), ("a\u{d7ff}", "a\u{e000}"), ("a\u{10ffff}", "b")] {
        assert_eq!(prefix_end(word), end);
    }
    assert!(prefix_end("\u{10ffff}") > "\u{10ffff}".repeat(64));
}

#[test]
fn every_character_that_is_a_name_is_found_by_its_words() {
    for c in '\0'..=char::MAX {
        if let Ok(name) = Name::parse(&c.to_string()) {
            check(name.as_str());
        }
    }
}

/// Checks what is true for every name.
fn check(name: &str) {
    let words = name_words(name);
    assert!((1..=MAX_NAME_WORDS).contains(&words.len()), "{name:?}");
    for word in &words {
        assert!((1..=MAX_WORD_CHARS).contains(&word.chars().count()), "{name:?}");
        assert!(*word < prefix_end(word));
        let query = NameQuery::parse(word).unwrap_or_else(|error| panic!("{name:?}, {word:?}: {error}"));
        assert!(
            query.words().eq([word]),
            "folding {word:?} of {name:?} again changes it"
        );
        assert!(name_words(word).contains(word), "{name:?}, {word:?}");
        assert!(query.matches(&words), "{name:?} by {word:?}");
    }
    match NameQuery::parse(name) {
        Ok(query) => assert!(query.matches(&words), "{name:?} by itself"),
        Err(NameQueryError::TooLong | NameQueryError::TooManyWords) => {}
        Err(error) => panic!("{name:?}: {error}"),
    }
}

fn names() -> impl Strategy<Value = String> {
    let characters: Vec<char> = concat!(
        "aLlÓßẞςÆŁİı山田太ーヤﾔﾞ가أىیةनि्ำﷺʼ0 '’´·.-\u{1100}\u{1161}\u{11a8}\u{64e}\u{301}\u{3099}",
        "\u{345}\u{200c}\u{200d}\u{3000}"
    )
    .chars()
    .collect();
    let characters = proptest::sample::select(characters);
    prop_oneof![
        proptest::collection::vec(characters, 1..200).prop_map(String::from_iter),
        "([a-z가-각一-丏]{1,3}[ ']){1,100}[a-z]",
        "\\PC{1,60}",
    ]
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in any::<String>(), query in any::<String>()) {
        let words = name_words(&text);
        prop_assert!((1..=MAX_NAME_WORDS).contains(&words.len()));
        if let Ok(query) = NameQuery::parse(&query) {
            prop_assert!((1..=MAX_QUERY_WORDS).contains(&query.words().count()));
            let _ = query.matches(&words);
        }
    }

    #[test]
    fn every_name_is_found_by_its_words(text in names()) {
        if let Ok(name) = Name::parse(&text) {
            check(name.as_str());
        }
    }

    #[test]
    fn the_words_between_a_prefix_and_its_end_begin_with_it(
        word in "[ab\u{10ffff}]{1,4}",
        other in "[ab\u{10ffff}]{0,6}",
    ) {
        let inside = word <= other && other < prefix_end(&word);
        prop_assert_eq!(inside, other.starts_with(&word));
    }
}
