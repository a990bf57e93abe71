//! Ids that this service generates.

use eventstore::Clock;
use uuid::{ClockSequence, NoContext, Uuid};

/// Generates a UUIDv7 of the current time. It is unique without coordination, and ordered by time to the
/// millisecond.
pub(crate) fn new_id(clock: &dyn Clock) -> Uuid {
    new_id_in_order(clock, NoContext)
}

/// Like [`new_id`], but ids from the same `order` are in the order of their generation.
pub(crate) fn new_id_in_order(
    clock: &dyn Clock,
    order: impl ClockSequence<Output = impl Into<u128>>,
) -> Uuid {
    let micros = clock.now().as_micros().unsigned_abs();
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(order, micros / 1_000_000, nanos))
}
