//! Types of events.

/// Defines the event types from the names of the variants of [`PatientEvent`](crate::PatientEvent), each with
/// a constant for its stored name.
macro_rules! event_types {
    ($($event_type:ident, $constant:ident;)+) => {
        /// Type of an event. The compiler checks that each [`PatientEvent`](crate::PatientEvent) has a type,
        /// and that each `match` has every type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventType {
            $(
                #[doc = concat!("Type of [`PatientEvent::", stringify!($event_type), "`](crate::PatientEvent::", stringify!($event_type), ").")]
                $event_type,
            )+
        }

        impl EventType {
            /// All types.
            pub const ALL: &[Self] = &[$(Self::$event_type),+];

            /// Stored name of the type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$event_type => stringify!($event_type),)+
                }
            }
        }

        $(
            #[doc = concat!("Stored name of [`EventType::", stringify!($event_type), "`].")]
            pub const $constant: &str = EventType::$event_type.name();
        )+

        /// Stored names of all types.
        pub const EVENT_TYPES: [&str; EventType::ALL.len()] = [$($constant),+];
    };
}

event_types! {
    PatientRegistered, PATIENT_REGISTERED;
    PatientAmended, PATIENT_AMENDED;
    PatientDeleted, PATIENT_DELETED;
    PatientErased, PATIENT_ERASED;
    PatientHeld, PATIENT_HELD;
    PatientHoldReleased, PATIENT_HOLD_RELEASED;
}

impl EventType {
    /// Returns the type with a stored name. `None` if the type is unknown.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }

    /// Whether events of this type contain personal data, in [`PERSONAL_FIELDS`](crate::PERSONAL_FIELDS). In
    /// a sealed log, the personal data of other events would be stored unencrypted.
    #[must_use]
    pub const fn is_personal(self) -> bool {
        match self {
            Self::PatientRegistered | Self::PatientAmended => true,
            Self::PatientDeleted | Self::PatientErased | Self::PatientHeld | Self::PatientHoldReleased => {
                false
            }
        }
    }
}

/// Whether events of a type contain personal data, see [`EventType::is_personal`].
#[must_use]
pub fn is_personal(event_type: &str) -> bool {
    EventType::of(event_type).is_some_and(EventType::is_personal)
}

/// Returns the versions with which new events of a type are stored: an empty list if the type is unknown.
/// Each type has its own version numbers.
///
/// A registration is stored with version 1.1 only if it has a member that version 1.0 does not have, so that
/// earlier programs can read all other registrations during an upgrade.
#[must_use]
pub fn current_versions(event_type: &str) -> &'static [&'static str] {
    match EventType::of(event_type) {
        Some(EventType::PatientRegistered) => &["1.0", "1.1"],
        Some(
            EventType::PatientAmended
            | EventType::PatientDeleted
            | EventType::PatientErased
            | EventType::PatientHeld
            | EventType::PatientHoldReleased,
        ) => &["1.0"],
        None => &[],
    }
}
