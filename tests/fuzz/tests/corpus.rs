//! Runs every target on each input in its corpus.

use std::fs;
use std::path::Path;

use fuzz_targets::TARGETS;

#[test]
fn every_kept_input_is_taken_as_it_should_be() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in TARGETS {
        let mut inputs: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(inputs.len() >= 5, "{name} has next to no inputs");
        for input in inputs {
            // If the test fails, the last printed path is the input that failed.
            eprintln!("{}", input.display());
            target(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_program_and_its_inputs() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let names = |folder: &str| {
        let mut names: Vec<String> = fs::read_dir(fuzz.join(folder))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("fuzz_targets"), TARGETS.map(|(name, _)| name));
    assert_eq!(names("corpus"), TARGETS.map(|(name, _)| name));
}
