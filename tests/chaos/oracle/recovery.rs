//! Checks that the system recovered by itself and released its resources.

use super::Objections;
use super::history::History;
use crate::evidence::Evidence;

/// Maximum time until everything works again.
const RECOVERY: f64 = 15.0;
/// Maximum additional memory of a process at rest, compared with its memory under load before the first
/// fault.
const MORE_MEMORY: u64 = 48 << 20;
const MORE_DESCRIPTORS: usize = 16;

pub(super) fn objections(evidence: &Evidence, _: &History) -> Objections {
    let mut objections = evidence.incidents.clone();
    match evidence.recovered_after {
        Some(seconds) if seconds <= RECOVERY => {}
        seconds => objections.push(format!("it worked again after {seconds:?} s")),
    }
    for (before, after) in evidence.before.iter().zip(&evidence.after) {
        if after.memory > before.memory + MORE_MEMORY {
            objections.push(format!("memory: {before:?}, then {after:?}"));
        }
        if after.descriptors > before.descriptors + MORE_DESCRIPTORS {
            objections.push(format!("descriptors: {before:?}, then {after:?}"));
        }
    }
    if evidence.before.is_empty() || evidence.before.len() != evidence.after.len() {
        objections.push("memory and descriptors were not measured".to_owned());
    }
    objections
}
