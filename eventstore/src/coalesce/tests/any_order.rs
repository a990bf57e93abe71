//! Callers that queue items, stop waiting, overload the queue or make a batch panic, and a shutdown, in any
//! order.

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A caller queues an item.
    Ask,
    /// A caller queues an item that makes the batch panic.
    AskUnlucky,
    /// A caller stops waiting.
    GoAway(prop::sample::Index),
    /// This number of batches may finish.
    Finish(usize),
    ShutDown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => Just(Step::Ask),
        1 => Just(Step::AskUnlucky),
        3 => any::<prop::sample::Index>().prop_map(Step::GoAway),
        4 => (1_usize..4).prop_map(Step::Finish),
        1 => Just(Step::ShutDown),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Answers each item with itself once the worker has a permit. Records the items when the worker takes them.
struct Echo {
    permits: Arc<Semaphore>,
    batches: Arc<std::sync::Mutex<Vec<Vec<Item>>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    number: usize,
    unlucky: bool,
}

impl BatchWorker for Echo {
    type Item = Item;
    type Answer = Item;

    async fn run(&mut self, items: Vec<Item>) -> Vec<Item> {
        self.batches.lock().unwrap().push(items.clone());
        self.permits.acquire().await.unwrap().forget();
        assert!(!items.iter().any(|item| item.unlucky), "unlucky");
        items
    }
}

struct Asked {
    item: Item,
    task: JoinHandle<Result<Item, Rejected>>,
    /// Whether the queue was full or closed when the item arrived.
    full: bool,
    closed: bool,
    /// Whether the caller stopped waiting before the item was taken.
    gone_in_time: bool,
}

/// Lets every task run as far as it can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn take(steps: Vec<Step>, capacity: usize, largest: usize) {
    let permits = Arc::new(Semaphore::new(0));
    let batches: Arc<std::sync::Mutex<Vec<Vec<Item>>>> = Arc::default();
    let echo = Echo {
        permits: Arc::clone(&permits),
        batches: Arc::clone(&batches),
    };
    let taken = |item: Item| {
        batches
            .lock()
            .unwrap()
            .iter()
            .flatten()
            .any(|taken| *taken == item)
    };
    let coalescer = Coalescer::start([echo], capacity, largest);
    let mut shutdown = None;
    let mut asked: Vec<Asked> = Vec::new();
    for step in steps {
        match step {
            Step::Ask | Step::AskUnlucky => {
                let item = Item {
                    number: asked.len(),
                    unlucky: matches!(step, Step::AskUnlucky),
                };
                let (full, closed) = (coalescer.waiting() == capacity, shutdown.is_some());
                let asking = coalescer.clone();
                asked.push(Asked {
                    item,
                    task: tokio::spawn(async move { asking.ask(item).await }),
                    full,
                    closed,
                    gone_in_time: false,
                });
            }
            Step::GoAway(_) if asked.is_empty() => {}
            Step::GoAway(which) => {
                let gone = which.get(&asked).item.number;
                let gone = &mut asked[gone];
                gone.gone_in_time = !taken(gone.item) && !gone.task.is_finished();
                gone.task.abort();
            }
            Step::Finish(batches) => permits.add_permits(batches),
            Step::ShutDown => {
                let coalescer = coalescer.clone();
                shutdown.get_or_insert_with(|| tokio::spawn(async move { coalescer.shutdown().await }));
            }
        }
        settle().await;
        assert!(coalescer.waiting() <= capacity);
    }
    permits.add_permits(1_000);
    coalescer.shutdown().await;
    let batches = batches.lock().unwrap().clone();
    assert!(batches.iter().all(|batch| (1..=largest).contains(&batch.len())));
    let all = batches.concat();
    assert!(
        all.is_sorted_by(|one, next| one < next),
        "items are in order and unique"
    );
    for one in asked {
        let batch = batches.iter().find(|batch| batch.contains(&one.item));
        if one.gone_in_time {
            assert_eq!(batch, None, "an abandoned item is dropped");
            continue;
        }
        let answer = match one.task.await {
            Ok(answer) => answer,
            Err(gone) => {
                assert!(gone.is_cancelled());
                continue;
            }
        };
        let unlucky = batch.is_some_and(|batch| batch.iter().any(|item| item.unlucky));
        let expected = match (one.closed, one.full) {
            (true, _) => Err(Rejected::ShutDown),
            (false, true) => Err(Rejected::Overloaded),
            (false, false) if unlucky => Err(Rejected::Failed),
            (false, false) => Ok(one.item),
        };
        assert_eq!(answer, expected);
        assert_eq!(batch.is_some(), !one.closed && !one.full);
    }
}

proptest! {
    #[test]
    fn each_accepted_item_is_answered_once_and_in_order_whatever_happens(
        steps in steps(),
        capacity in 1_usize..6,
        largest in 1_usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let taken = take(steps, capacity, largest);
            tokio::time::timeout(Duration::from_secs(30), taken).await.unwrap();
        });
    }
}
