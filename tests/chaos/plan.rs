//! The plan of faults, drawn from a seed. The same seed gives the same faults at the same times.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// The roles of a deployment, by process number.
pub(crate) const ROLES: [&str; 6] = ["api", "api", "projector", "projector", "mailer", "mailer"];
/// The first mailer in [`ROLES`].
const MAILER: usize = 4;
/// Duration of a stop in milliseconds. It exceeds the lease of a subscription (5 s), so that another process
/// takes over.
const STOPPED: std::ops::Range<u64> = 6_000..9_000;
/// Duration of a stop that outlasts the lease of an email: 32 s with the timeouts of this test.
const MAIL_LEASE: Duration = Duration::from_secs(34);
/// Minimum length of a run with faults that last half a minute.
const LONG: Duration = Duration::from_mins(2);
/// The last part of a run, without faults that make an email wait for its lease.
const MAIL_SETTLES: Duration = Duration::from_secs(12);
/// The time before the first fault, in which memory and descriptors are measured under load.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);

/// The target of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A process, by its index in [`ROLES`].
    Role(usize),
    Mysql,
    Redis,
    Smtp,
    /// The connections to a server or to an API, by the index of their proxy in the world.
    Link(usize),
    /// The wrapping keys in the keyring file.
    Keys,
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL, and a restart after a while.
    Kill,
    /// SIGTERM, and a restart after a while.
    Terminate,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// Data on a link is held back for a while, and then every connection of the link is reset, so that
    /// commits succeed but their responses are lost.
    Reset,
    /// All data on a link is delayed.
    Delay,
    /// A link rejects connections.
    Refuse,
    /// A new wrapping key replaces the other wrapping keys.
    Rotate,
    /// Another member of the group becomes the primary, as planned by an operator. A Galera node accepts no
    /// writes for a while.
    Switch,
    /// All servers of the database are restarted, one after the other.
    Roll,
    /// The replica of Redis becomes the master, as planned by an operator.
    Failover,
}

impl Kind {
    /// The kinds of faults of every world.
    pub(crate) const ALL: [Self; 7] = [
        Self::Kill,
        Self::Terminate,
        Self::Stop,
        Self::Reset,
        Self::Delay,
        Self::Refuse,
        Self::Rotate,
    ];

    /// Returns the name of the kind.
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Terminate => "SIGTERM",
            Self::Stop => "SIGSTOP",
            Self::Reset => "reset",
            Self::Delay => "delay",
            Self::Refuse => "refuse",
            Self::Rotate => "rotate",
            Self::Switch => "switch",
            Self::Roll => "rolling restart",
            Self::Failover => "failover",
        }
    }

    /// Returns the kind whose name begins with that word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .chain([Self::Switch, Self::Roll, Self::Failover])
            .find(|kind| kind.name().split(' ').next() == Some(word))
    }
}

/// A planned fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Start time, from the beginning of the plan.
    pub(crate) at: Duration,
    pub(crate) target: Target,
    pub(crate) kind: Kind,
    /// Duration.
    pub(crate) lasts: Duration,
}

impl Fault {
    pub(crate) fn end(&self) -> Duration {
        self.at + self.lasts
    }

    /// Returns the name under which faults of this kind are counted.
    pub(crate) fn name(&self) -> String {
        let target = match self.target {
            Target::Role(role) => ROLES[role],
            Target::Mysql => "database",
            Target::Redis => "Redis",
            Target::Smtp => "mail server",
            Target::Link(_) => "connections",
            Target::Keys => "wrapping keys",
        };
        format!("{} {target}", self.kind.name())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(
            f,
            "{at:7.2} s  {} {:?} for {lasts:.2} s",
            self.name(),
            self.target
        )
    }
}

/// Every fault of a run, ordered by start time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<Fault>,
}

impl Plan {
    /// Draws a plan for a deployment with this number of links, with faults of these kinds only.
    pub(crate) fn draw(seed: u64, time: Duration, links: usize, kinds: &[Kind]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let finale = finale(&mut rng, time).filter(|finale| kinds.contains(&finale.kind));
        let mut faults: Vec<_> = finale.into_iter().collect();
        let mut deck = Vec::new();
        let mut at = WARM_UP;
        while !kinds.is_empty() && at + Duration::from_secs(1) < time {
            if deck.is_empty() {
                deck = cards(kinds);
                rng.shuffle(&mut deck);
            }
            let card = deck.pop().unwrap_or(Card::Reset);
            // A rolling restart takes a minute or longer.
            if card.kind() == Kind::Roll && faults.iter().any(|fault| fault.kind == Kind::Roll) {
                continue;
            }
            let (target, kind) = (card.target(&mut rng, links), card.kind());
            let lasts = lasts(&mut rng, target, kind, time).min(time.saturating_sub(at));
            let fault = Fault {
                at,
                target,
                kind,
                lasts,
            };
            if faults.iter().all(|other| leaves_room(other, &fault)) && settles(&fault, time) {
                faults.push(fault);
                at += Duration::from_millis(rng.u64(400..1_800));
            } else {
                // Returns the card to the deck, so that the fault is drawn again later.
                let place = rng.usize(0..=deck.len() / 2);
                deck.insert(place, card);
                at += Duration::from_millis(200);
            }
        }
        faults.sort_by_key(|fault| fault.at);
        Self { faults }
    }
}

/// The last fault of a long run: a server is unavailable long enough for the pauses between retries to grow.
fn finale(rng: &mut Rng, time: Duration) -> Option<Fault> {
    let target = if rng.u8(0..4) == 0 {
        Target::Redis
    } else {
        Target::Mysql
    };
    let lasts = Duration::from_millis(rng.u64(13_000..28_000));
    (time >= LONG).then(|| Fault {
        at: time.saturating_sub(lasts),
        target,
        kind: Kind::Kill,
        lasts,
    })
}

/// A kind of fault without its target.
#[derive(Debug, Clone, Copy)]
enum Card {
    KillRole,
    KillMailer,
    EndRole,
    StopRole,
    KillMysql,
    EndMysql,
    StopMysql,
    KillRedis,
    EndRedis,
    KillSmtp,
    Reset,
    Delay,
    Refuse,
    Rotate,
    SwitchMysql,
    RollMysql,
    StopRedis,
    SwitchRedis,
}

/// Returns every fault of these kinds. Frequent faults occur several times.
fn cards(kinds: &[Kind]) -> Vec<Card> {
    use Card::{
        Delay, EndMysql, EndRedis, EndRole, KillMailer, KillMysql, KillRedis, KillRole, KillSmtp, Refuse,
        Reset, RollMysql, Rotate, StopMysql, StopRedis, StopRole, SwitchMysql, SwitchRedis,
    };
    let mut cards = vec![
        KillRole,
        KillRole,
        KillMailer,
        EndRole,
        EndRole,
        StopRole,
        StopRole,
        KillMysql,
        EndMysql,
        StopMysql,
        KillRedis,
        EndRedis,
        KillSmtp,
        Reset,
        Reset,
        Reset,
        Delay,
        Refuse,
        Rotate,
        Rotate,
        SwitchMysql,
        RollMysql,
        StopRedis,
        SwitchRedis,
    ];
    // A process that is connected to a suspended server waits for it, unless Sentinels name another server.
    let has_sentinels = kinds.contains(&Kind::Failover);
    cards.retain(|card| kinds.contains(&card.kind()) && (has_sentinels || !matches!(card, StopRedis)));
    cards
}

impl Card {
    const fn kind(self) -> Kind {
        match self {
            Self::KillRole | Self::KillMailer | Self::KillMysql | Self::KillRedis | Self::KillSmtp => {
                Kind::Kill
            }
            Self::EndRole | Self::EndMysql | Self::EndRedis => Kind::Terminate,
            Self::StopRole | Self::StopMysql | Self::StopRedis => Kind::Stop,
            Self::Reset => Kind::Reset,
            Self::Delay => Kind::Delay,
            Self::Refuse => Kind::Refuse,
            Self::Rotate => Kind::Rotate,
            Self::SwitchMysql => Kind::Switch,
            Self::RollMysql => Kind::Roll,
            Self::SwitchRedis => Kind::Failover,
        }
    }

    fn target(self, rng: &mut Rng, links: usize) -> Target {
        let any_role = Target::Role(rng.usize(0..ROLES.len()));
        let serving = Target::Role(rng.usize(0..MAILER));
        let mailer = Target::Role(rng.usize(MAILER..ROLES.len()));
        let link = Target::Link(rng.usize(0..links));
        match self {
            Self::KillRole => serving,
            Self::KillMailer => mailer,
            Self::EndRole | Self::StopRole => any_role,
            Self::KillMysql | Self::EndMysql | Self::StopMysql | Self::SwitchMysql | Self::RollMysql => {
                Target::Mysql
            }
            Self::KillRedis | Self::EndRedis | Self::StopRedis | Self::SwitchRedis => Target::Redis,
            Self::KillSmtp => Target::Smtp,
            Self::Reset | Self::Delay | Self::Refuse => link,
            Self::Rotate => Target::Keys,
        }
    }
}

fn lasts(rng: &mut Rng, target: Target, kind: Kind, time: Duration) -> Duration {
    let rare = rng.u8(0..4) == 0 && time >= LONG;
    Duration::from_millis(match (target, kind) {
        // The server's own start-up time is added.
        (Target::Mysql, Kind::Kill) if rare => rng.u64(8_000..20_000),
        (Target::Mysql, Kind::Stop) => rng.u64(1_000..7_000),
        (Target::Role(role), Kind::Stop) if role >= MAILER && rare => {
            return MAIL_LEASE + Duration::from_millis(rng.u64(0..4_000));
        }
        (_, Kind::Stop) => rng.u64(STOPPED),
        // Shorter and longer than the interval at which a process reads a changed keyring.
        (_, Kind::Rotate) => rng.u64(500..7_000),
        (_, Kind::Reset) => rng.u64(300..800),
        (_, Kind::Delay | Kind::Refuse) => rng.u64(1_000..4_000),
        (_, Kind::Switch | Kind::Roll | Kind::Failover) => 0,
        (_, Kind::Kill | Kind::Terminate) => rng.u64(0..1_500),
    })
}

/// Returns the pause of a target after a fault: the time until it works again, plus time for some work.
fn rest(target: Target) -> Duration {
    Duration::from_millis(match target {
        Target::Mysql => 5_000,
        Target::Role(_) | Target::Smtp => 2_500,
        Target::Redis | Target::Keys => 1_000,
        Target::Link(_) => 300,
    })
}

fn leaves_room(one: &Fault, other: &Fault) -> bool {
    let (earlier, later) = if one.at <= other.at {
        (one, other)
    } else {
        (other, one)
    };
    earlier.target != later.target || earlier.end() + rest(earlier.target) <= later.at
}

/// Whether the fault's effect on mail ends before the run. The leases of a killed mailer must expire first.
fn settles(fault: &Fault, time: Duration) -> bool {
    let of_mail = match fault.target {
        Target::Role(role) => role >= MAILER && fault.kind != Kind::Terminate,
        Target::Smtp => true,
        Target::Mysql | Target::Redis | Target::Link(_) | Target::Keys => false,
    };
    !of_mail || fault.at + MAIL_SETTLES <= time
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HALF_A_MINUTE: Duration = Duration::from_secs(30);

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let plan = Plan::draw(7, HALF_A_MINUTE, 16, &Kind::ALL);
        assert_eq!(plan, Plan::draw(7, HALF_A_MINUTE, 16, &Kind::ALL));
        assert_ne!(plan, Plan::draw(8, HALF_A_MINUTE, 16, &Kind::ALL));
    }

    #[test]
    fn every_fault_ends_within_the_run_and_nothing_is_broken_twice_at_a_time() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, Duration::from_mins(5), 16, &Kind::ALL);
            assert!(plan.faults.len() > 100, "{}", plan.faults.len());
            for (index, fault) in plan.faults.iter().enumerate() {
                assert!(fault.end() <= Duration::from_mins(5));
                assert!(
                    plan.faults[..index]
                        .iter()
                        .all(|earlier| leaves_room(earlier, fault))
                );
            }
        }
    }

    #[test]
    fn minutes_have_every_kind_of_fault_also_stops_for_longer_than_the_lease_of_a_mail() {
        let plan = Plan::draw(1, Duration::from_mins(6), 16, &Kind::ALL);
        let kinds: BTreeSet<_> = plan.faults.iter().map(Fault::name).collect();
        assert_eq!(kinds.len(), 19, "{kinds:?}");
        assert!(plan.faults.iter().any(|fault| fault.lasts >= MAIL_LEASE));
    }

    #[test]
    fn a_plan_has_one_rolling_restart_and_redis_hangs_only_where_sentinels_replace_it() {
        let kinds = [&Kind::ALL[..], &[Kind::Roll]].concat();
        let plan = Plan::draw(1, Duration::from_mins(6), 16, &kinds);
        let count = |name| plan.faults.iter().filter(|fault| fault.name() == name).count();
        assert_eq!(
            (count("rolling restart database"), count("SIGSTOP Redis")),
            (1, 0)
        );
        let kinds = [&Kind::ALL[..], &[Kind::Failover]].concat();
        let plan = Plan::draw(1, Duration::from_mins(6), 16, &kinds);
        assert!(plan.faults.iter().any(|fault| fault.name() == "SIGSTOP Redis"));
    }

    #[test]
    fn a_plan_of_some_kinds_has_no_others() {
        for kind in Kind::ALL {
            let plan = Plan::draw(1, Duration::from_mins(3), 16, &[kind]);
            assert!(!plan.faults.is_empty() && plan.faults.iter().all(|fault| fault.kind == kind));
        }
        assert_eq!(Plan::draw(1, HALF_A_MINUTE, 16, &[]).faults, []);
        assert_eq!(Kind::named("kill"), Some(Kind::Kill));
        assert_eq!(Kind::named(""), None);
    }
}
