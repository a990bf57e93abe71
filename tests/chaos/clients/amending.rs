//! Amendments of patients.

use uuid::Uuid;

use super::Clerk;
use crate::record::{Answer, Changes, Request};

impl Clerk {
    /// Changes the name, phone number or email address of a patient.
    pub(super) async fn amend(&mut self) {
        let Some(id) = self.patient_to_amend() else { return };
        let mut changes = Changes::default();
        match self.rng.u8(0..4) {
            0 => changes.name = Some(self.name()),
            1 => changes.phone = Some(self.phone()),
            2 => changes.email = Some(self.fresh_email()),
            _ => {
                changes.name = Some(self.name());
                changes.email = Some(self.fresh_email());
            }
        }
        self.amend_one(id, changes).await;
    }

    /// Sends an amendment with a key, and repeats it.
    pub(super) async fn amend_with_a_key(&mut self) {
        let Some(id) = self.patient_to_amend() else { return };
        let Some(sequence) = self.sequences.get(&id).copied() else {
            return;
        };
        // The new name ensures that the amendment changes something.
        let mut changes = Changes {
            name: Some(self.name()),
            ..Changes::default()
        };
        match self.rng.u8(0..3) {
            0 => changes.email = Some(self.fresh_email()),
            1 => changes.email = Some(self.shared_email()),
            _ => {}
        }
        let request = Request::Amend {
            id,
            changes,
            if_match: Some(sequence),
            key: Some(format!("amend {}-{}", self.number, self.requests)),
        };
        self.ask_repeatedly(&request).await;
    }

    pub(super) async fn amend_to_a_shared_email(&mut self) {
        let Some(id) = self.patient_to_amend() else { return };
        let email = Some(self.shared_email());
        let changes = Changes {
            email,
            ..Changes::default()
        };
        let answer = self.amend_one(id, changes).await;
        // Other clients can use the email address soon.
        if matches!(answer, Answer::Amended { .. }) && self.rng.u8(0..4) > 0 {
            let email = Some(self.fresh_email());
            let changes = Changes {
                email,
                ..Changes::default()
            };
            self.amend_one(id, changes).await;
        }
    }

    /// Sends an amendment without `If-Match`, with the last sequence that this clerk knows, or rarely with
    /// the first sequence.
    async fn amend_one(&mut self, id: Uuid, changes: Changes) -> Answer {
        let if_match = match self.rng.u8(0..8) {
            0..3 => None,
            3 => Some(1),
            _ => self.sequences.get(&id).copied(),
        };
        let request = Request::Amend {
            id,
            changes,
            if_match,
            key: None,
        };
        let api = self.any_api();
        self.ask(api, request).await
    }

    /// Returns one of this clerk's patients, or sometimes a patient of any clerk.
    fn patient_to_amend(&mut self) -> Option<Uuid> {
        if let Some(contested) = self.contested_patient() {
            Some(contested)
        } else if self.rng.u8(0..5) == 0 {
            self.known_patient()
        } else {
            self.rng.choice(&self.own).copied()
        }
    }
}
