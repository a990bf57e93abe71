use futures::FutureExt;

use super::*;

const JOHN: Uuid = Uuid::from_u128(1);
const JANE: Uuid = Uuid::from_u128(2);

#[tokio::test]
async fn only_commands_for_the_same_patient_wait_for_each_other() {
    let locks = PatientLocks::default();
    let john = locks.lock(JOHN).await.unwrap();
    assert!(locks.lock(JANE).now_or_never().is_some());
    assert!(locks.try_lock(JOHN).is_none());
    let mut second = Box::pin(locks.lock(JOHN));
    assert!(second.as_mut().now_or_never().is_none());
    drop(john);
    assert!(second.await.is_ok());
    assert!(locks.try_lock(JOHN).is_some());
}

#[tokio::test]
async fn a_command_that_is_dropped_while_it_waits_delays_no_other_command() {
    let locks = PatientLocks::default();
    let first = locks.lock(JOHN).await.unwrap();
    let [mut dropped, mut third] = [0, 1].map(|_| Box::pin(locks.lock(JOHN)));
    assert!(dropped.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    drop(dropped);
    assert!(third.as_mut().now_or_never().is_none());
    drop(first);
    assert!(third.await.is_ok());
    assert!(locks.all().is_empty(), "unused locks are removed");
}

#[tokio::test(start_paused = true)]
async fn a_command_does_not_wait_for_an_unlimited_time() {
    let locks = PatientLocks::default();
    let first = locks.lock(JOHN).await.unwrap();
    assert_eq!(locks.lock(JOHN).await.unwrap_err(), CommandError::Contended);
    drop(first);
    assert!(locks.all().is_empty());
}
