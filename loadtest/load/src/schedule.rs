//! Sends requests at their scheduled times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::client::{Client, Failure};
use crate::mix::Mix;
use crate::patients::Patients;
use crate::record::{Recorder, Results};

/// The load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Requests per second.
    pub(crate) rate: u32,
    /// Duration of the load before the measurement.
    pub(crate) warm_up: Duration,
    /// Duration of the measurement.
    pub(crate) duration: Duration,
    /// Maximum number of requests without a response.
    pub(crate) max_in_flight: u32,
}

impl Plan {
    /// Returns the scheduled time of a request, from the start of the load.
    fn due(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What all requests share.
struct Load {
    client: Client,
    patients: Patients,
    recorder: Recorder,
    plan: Plan,
}

/// Runs the load, waits for the responses, and returns the results of the measurement.
///
/// # Errors
///
/// An error if the thread that sends the requests cannot be started or ends unexpectedly.
pub(crate) async fn run(client: Client, mix: Mix, patients: Patients, plan: Plan) -> anyhow::Result<Results> {
    let load = Arc::new(Load {
        client,
        patients,
        recorder: Recorder::new(plan.duration)?,
        plan,
    });
    let in_flight = Arc::new(Semaphore::new(plan.max_in_flight as usize));
    let (runtime, shared, places) = (Handle::current(), Arc::clone(&load), Arc::clone(&in_flight));
    // A thread sleeps more precisely than the timer of the runtime, whose resolution is 1 ms.
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("schedule".to_owned())
        .spawn(move || {
            dispatch(&runtime, &mix, &shared, &places);
            // The receiver exists until the end of this function.
            let _ = ended.send(());
        })
        .context("the thread that sends the requests cannot be started")?;
    end.await
        .context("the thread that sends the requests has ended unexpectedly")?;
    // Each request has a timeout, so this ends.
    let _all = in_flight.acquire_many(plan.max_in_flight).await?;
    Ok(load.recorder.results())
}

fn dispatch(runtime: &Handle, mix: &Mix, load: &Arc<Load>, in_flight: &Arc<Semaphore>) {
    let mut random = fastrand::Rng::new();
    let started = Instant::now();
    let end = load.plan.warm_up + load.plan.duration;
    for number in 0.. {
        let due = load.plan.due(number);
        if due >= end {
            return;
        }
        let scheduled = started + due;
        std::thread::sleep(scheduled.saturating_duration_since(Instant::now()));
        let measured = due.checked_sub(load.plan.warm_up);
        let operation = mix.draw(&mut random);
        let Ok(place) = Arc::clone(in_flight).try_acquire_owned() else {
            if let Some(at) = measured {
                let delay = scheduled.elapsed();
                load.recorder
                    .add(operation, at, delay, delay, Err(Failure::NotSent));
            }
            continue;
        };
        let load = Arc::clone(load);
        runtime.spawn(async move {
            let delay = scheduled.elapsed();
            let (operation, result) = load.client.run(operation, &load.patients).await;
            if let Some(at) = measured {
                load.recorder
                    .add(operation, at, delay, scheduled.elapsed(), result);
            }
            drop(place);
        });
    }
}
