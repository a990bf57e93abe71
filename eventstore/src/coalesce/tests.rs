mod any_order;

use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;

/// Doubles its items. Waits for a permit before each batch, records the batches, and panics at 13.
struct Doubling {
    permits: Arc<Semaphore>,
    batches: Arc<std::sync::Mutex<Vec<Vec<u32>>>>,
}

impl BatchWorker for Doubling {
    type Item = u32;
    type Answer = u32;

    async fn run(&mut self, items: Vec<u32>) -> Vec<u32> {
        self.permits.acquire().await.unwrap().forget();
        self.batches.lock().unwrap().push(items.clone());
        assert!(!items.contains(&13), "unlucky");
        items.iter().map(|item| item * 2).collect()
    }
}

struct Rig {
    coalescer: Coalescer<Doubling>,
    permits: Arc<Semaphore>,
    batches: Arc<std::sync::Mutex<Vec<Vec<u32>>>>,
}

impl Rig {
    fn new(capacity: usize, largest: usize) -> Self {
        let permits = Arc::new(Semaphore::new(0));
        let batches = Arc::default();
        let doubling = Doubling {
            permits: Arc::clone(&permits),
            batches: Arc::clone(&batches),
        };
        Self {
            coalescer: Coalescer::start([doubling], capacity, largest),
            permits,
            batches,
        }
    }

    /// Queues an item and returns once the item is queued or rejected.
    async fn ask(&self, item: u32) -> tokio::task::JoinHandle<Result<u32, Rejected>> {
        let coalescer = self.coalescer.clone();
        let task = tokio::spawn(async move { coalescer.ask(item).await });
        tokio::task::yield_now().await;
        task
    }

    /// Waits until the worker has taken all waiting items.
    async fn taken(&self) {
        tokio::time::timeout(Duration::from_secs(5), async {
            while self.coalescer.waiting() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn what_waits_is_answered_together_in_order_and_up_to_the_bound() {
    let rig = Rig::new(100, 4);
    let first = rig.ask(0).await;
    rig.taken().await;
    let mut rest = Vec::new();
    for item in 1..=6 {
        rest.push(rig.ask(item).await);
    }
    rig.permits.add_permits(3);
    assert_eq!(first.await.unwrap(), Ok(0));
    for (item, answer) in (1..=6).zip(rest) {
        assert_eq!(answer.await.unwrap(), Ok(item * 2));
    }
    assert_eq!(
        *rig.batches.lock().unwrap(),
        [vec![0], vec![1, 2, 3, 4], vec![5, 6]]
    );
}

#[tokio::test]
async fn who_can_ask_at_this_moment_is_let_in_before_a_batch_is_closed() {
    let rig = Rig::new(10, 3);
    rig.permits.add_permits(2);
    // The first item wakes the worker, which is scheduled before the other callers.
    let mut first = std::pin::pin!(rig.coalescer.ask(1));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let others = [2, 3, 4].map(|item| {
        let coalescer = rig.coalescer.clone();
        tokio::spawn(async move { coalescer.ask(item).await })
    });
    assert_eq!(first.await, Ok(2));
    for (item, answer) in [2, 3, 4].into_iter().zip(others) {
        assert_eq!(answer.await.unwrap(), Ok(item * 2));
    }
    assert_eq!(*rig.batches.lock().unwrap(), [vec![1, 2, 3], vec![4]]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let rig = Rig::new(2, 1);
    let taken = rig.ask(1).await;
    rig.taken().await;
    let waiting = [rig.ask(2).await, rig.ask(3).await];
    assert_eq!(rig.coalescer.ask(4).await, Err(Rejected::Overloaded));
    rig.permits.add_permits(3);
    assert_eq!(taken.await.unwrap(), Ok(2));
    for (item, answer) in [2, 3].into_iter().zip(waiting) {
        assert_eq!(answer.await.unwrap(), Ok(item * 2));
    }
    assert_eq!(*rig.batches.lock().unwrap(), [vec![1], vec![2], vec![3]]);
}

#[tokio::test]
async fn a_caller_who_goes_away_while_waiting_is_left_out() {
    let rig = Rig::new(10, 10);
    let taken = rig.ask(1).await;
    rig.taken().await;
    let gone = rig.ask(2).await;
    let stays = rig.ask(3).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    rig.permits.add_permits(2);
    assert_eq!(taken.await.unwrap(), Ok(2));
    assert_eq!(stays.await.unwrap(), Ok(6));
    assert_eq!(*rig.batches.lock().unwrap(), [vec![1], vec![3]]);
}

#[tokio::test]
async fn a_panic_rejects_its_own_batch_only() {
    let rig = Rig::new(10, 10);
    rig.permits.add_permits(10);
    assert_eq!(rig.coalescer.ask(13).await, Err(Rejected::Failed));
    assert_eq!(rig.coalescer.ask(4).await, Ok(8));
}

#[tokio::test]
async fn shutdown_answers_what_waits_and_refuses_the_rest() {
    let rig = Rig::new(10, 2);
    let mut asked = Vec::new();
    for item in 0..5 {
        asked.push(rig.ask(item).await);
    }
    rig.permits.add_permits(10);
    rig.coalescer.shutdown().await;
    for (item, answer) in (0..5).zip(asked) {
        assert_eq!(answer.await.unwrap(), Ok(item * 2));
    }
    assert_eq!(rig.coalescer.ask(9).await, Err(Rejected::ShutDown));
}

#[tokio::test]
async fn several_workers_answer_each_item_once() {
    let permits = Arc::new(Semaphore::new(10_000));
    let batches: Arc<std::sync::Mutex<Vec<Vec<u32>>>> = Arc::default();
    let workers = (0..3).map(|_| Doubling {
        permits: Arc::clone(&permits),
        batches: Arc::clone(&batches),
    });
    let coalescer = Coalescer::start(workers, 1_000, 7);
    let asked = (100..400).map(|item| {
        let coalescer = coalescer.clone();
        async move { assert_eq!(coalescer.ask(item).await, Ok(item * 2)) }
    });
    futures::future::join_all(asked).await;
    let mut seen: Vec<u32> = batches.lock().unwrap().concat();
    seen.sort_unstable();
    assert_eq!(seen, (100..400).collect::<Vec<_>>());
}
