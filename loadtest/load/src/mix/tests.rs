use super::*;

fn drawn(mix: &str, draws: usize) -> [usize; 5] {
    let mix: Mix = mix.parse().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut counts = [0; 5];
    for _ in 0..draws {
        counts[mix.draw(&mut random).index()] += 1;
    }
    counts
}

#[test]
fn operations_are_drawn_in_the_shares_of_the_mix() {
    let [register, read, list, amend, delete] = drawn("read=6,register=3,delete=1", 10_000);
    assert_eq!([list, amend], [0, 0], "operations without a share");
    for (count, share) in [(register, 3000_usize), (read, 6000), (delete, 1000)] {
        assert!(count.abs_diff(share) < 200, "{count} of about {share}");
    }
}

#[test]
fn a_mix_is_displayed_as_it_is_parsed() {
    let mix: Mix = "register=5,read=4,list=1,amend=1,delete=1".parse().unwrap();
    assert_eq!(mix.to_string().parse::<Mix>(), Ok(mix));
}

#[test]
fn an_invalid_mix_is_rejected_with_the_reason() {
    for (text, reason) in [
        ("", InvalidMix::Share(String::new())),
        ("register", InvalidMix::Share("register".to_owned())),
        ("register=-1", InvalidMix::Share("register=-1".to_owned())),
        ("register=1001", InvalidMix::Share("register=1001".to_owned())),
        ("erase=1", InvalidMix::Name("erase".to_owned())),
        ("read=1,read=2", InvalidMix::Repeated("read".to_owned())),
        ("read=0", InvalidMix::Empty),
        ("register=1,delete=1", InvalidMix::Shrinking),
    ] {
        assert_eq!(text.parse::<Mix>(), Err(reason), "{text}");
    }
}
