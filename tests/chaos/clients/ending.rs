//! Deletions and erasures of patients, and registrations that are repeated afterwards.

use uuid::Uuid;

use super::{Clerk, keyed};
use crate::record::{Answer, Request};

/// Number of registrations with a key that a clerk still repeats.
const REPEATED: usize = 20;

impl Clerk {
    pub(super) async fn delete(&mut self) {
        let own = self.rng.choice(&self.own).copied();
        if let Some(id) = self.contested_patient().or(own) {
            self.delete_one(id).await;
        }
    }

    pub(super) async fn delete_one(&mut self, id: Uuid) {
        self.ending.insert(id);
        let api = self.any_api();
        let answer = self.ask(api, Request::Delete { id }).await;
        if matches!(answer, Answer::Deleted { .. }) || answer.is_problem("patient-deleted") {
            self.own.retain(|own| *own != id);
        }
    }

    /// Erases a patient, and repeats the request.
    pub(super) async fn erase(&mut self) {
        let Some(id) = self.patient_to_erase() else { return };
        self.ending.insert(id);
        *self.office.contested.lock().unwrap() = Some(id);
        if self.ask_repeatedly(&Request::Erase { id }).await.is_some() {
            self.own.retain(|own| *own != id);
        }
    }

    /// Returns one of this clerk's patients, a patient of any clerk, or sometimes the patient that another
    /// clerk is erasing.
    fn patient_to_erase(&mut self) -> Option<Uuid> {
        if let Some(contested) = self.contested_patient() {
            Some(contested)
        } else if self.rng.bool() {
            self.known_patient()
        } else {
            self.rng.choice(&self.own).copied()
        }
    }

    /// Repeats an earlier registration with its key, preferably of the patient whose erasure was requested
    /// last.
    pub(super) async fn repeat_a_registration(&mut self) {
        let contested = *self.office.contested.lock().unwrap();
        let latest = self.keyed.len().saturating_sub(REPEATED);
        let of_contested = self.keyed.iter().find(|(id, _)| Some(*id) == contested);
        let chosen = of_contested.or_else(|| self.rng.choice(&self.keyed[latest..]));
        if let Some((_, details)) = chosen.cloned() {
            let api = self.any_api();
            self.ask(api, keyed(details)).await;
        }
    }
}
