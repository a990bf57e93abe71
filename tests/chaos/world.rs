//! Processes, servers and the connections between them, and the faults of each.

/// Injects a fault into a server. Each server type has the same methods.
macro_rules! suffer_one {
    ($server:expr, $fault:ident, $began:ident) => {{
        match $fault.kind {
            Kind::Kill => $server.kill().await,
            Kind::Terminate => $server.terminate().await,
            _ => $server.signal("STOP"),
        }
        until($began + $fault.end()).await;
        if $fault.kind == Kind::Stop {
            $server.signal("CONT");
        } else {
            $server.restart().await;
        }
    }};
}

/// Injects the planned faults into a server.
macro_rules! suffer {
    ($name:ident, $server:ty) => {
        async fn $name(server: &mut $server, began: Instant, faults: Vec<Fault>) {
            for fault in faults {
                until(began + fault.at).await;
                suffer_one!(server, fault, began);
            }
        }
    };
}

mod database;
mod redis;
mod rotation;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;
use testkit::{Program, Proxy, SmtpMode, SmtpServer, free_port, wait_until};

use crate::evidence::Usage;
use crate::plan::{Fault, Kind, ROLES, Target};
pub(crate) use database::Database;
pub(crate) use redis::Redis;
use rotation::Keys;

const SOON: Duration = Duration::from_secs(30);
/// `SHUTDOWN_TIMEOUT` of every role. A role that exceeds it may exit with code 1.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Time after its start from which a process handles SIGTERM.
const LISTENS: Duration = Duration::from_secs(3);
/// Interval between checks that a process still runs.
const WATCH: Duration = Duration::from_millis(200);

/// The program under test, or the copy that the environment names, so that long runs do not conflict with
/// other builds.
pub(crate) fn patients() -> PathBuf {
    std::env::var_os("CHAOS_PATIENTS").map_or_else(|| env!("CARGO_BIN_EXE_patients").into(), PathBuf::from)
}

/// The other end of a process's connection.
#[derive(Debug, Clone, Copy)]
enum End {
    Mysql,
    Redis,
    Smtp,
}

/// Two APIs, two projectors, two mailers, and the servers that they need.
pub(crate) struct World {
    pub(crate) mysql: Database,
    redis: Redis,
    pub(crate) smtp: SmtpServer,
    roles: Vec<Role>,
    links: Vec<Proxy>,
    keys: Keys,
    /// The addresses of the APIs for clients.
    pub(crate) apis: [String; 2],
}

/// A process that is restarted when it exits.
struct Role {
    name: String,
    program: Program,
    started: Instant,
}

/// Returns the number of links in a world: from each role to each server of the database, and to Redis or
/// each Sentinel, from each mailer to the mail server, and from the clients to each API.
pub(crate) fn links(mysql: &Database, redis: &Redis) -> usize {
    (mysql.ports().len() + redis.ports().len()) * ROLES.len() + 2 + 2
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .parse()
        .unwrap()
}

impl World {
    pub(crate) async fn start(mysql: Database, redis: Redis) -> Self {
        let smtp = SmtpServer::start(SmtpMode::Plain).await;
        let api_ports = [free_port(), free_port()];
        let mut links = Vec::new();
        let mut roles = Vec::new();
        let keys = Keys::create(database::url(&mysql.ports())).await;
        keys.run(&["migrate"], SOON).await.unwrap();
        for (number, role) in ROLES.iter().enumerate() {
            let mut command = Command::new(patients());
            command
                .arg(role)
                .env("KEYRING_FILE", keys.file())
                .env("SHUTDOWN_TIMEOUT", format!("{}s", SHUTDOWN.as_secs()))
                .env("HTTP_ADDR", format!("127.0.0.1:{}", api_ports[number % 2]))
                .env("MAIL_SEND_TIMEOUT", "1s")
                .env("MAIL_ANSWER_TIMEOUT", "1s")
                .env("MAIL_CONNECT_TIMEOUT", "2s");
            for end in ends(role) {
                let servers = match end {
                    End::Mysql => mysql.ports_for(number),
                    End::Redis => redis.ports(),
                    End::Smtp => vec![port_of(&smtp.url())],
                };
                let proxies = join_all(servers.into_iter().map(Proxy::start)).await;
                let ports: Vec<_> = proxies.iter().map(Proxy::port).collect();
                match end {
                    End::Mysql => command.env("DATABASE_URL", database::url(&ports)),
                    End::Redis => command.envs(redis.settings(&ports)),
                    End::Smtp => command.env("SMTP_URL", format!("smtp://127.0.0.1:{}", ports[0])),
                };
                links.extend(proxies);
            }
            roles.push(Role {
                name: format!("{role} {}", number % 2 + 1),
                program: Program::start(&command),
                started: Instant::now(),
            });
        }
        let mut apis = Vec::new();
        for port in api_ports {
            let link = Proxy::start(port).await;
            apis.push(format!("http://127.0.0.1:{}", link.port()));
            links.push(link);
        }
        assert_eq!(links.len(), self::links(&mysql, &redis));
        let apis = [apis.remove(0), apis.remove(0)];
        for api in &apis {
            wait_until(SOON, "the API is ready", async || is_ready(api).await).await;
        }
        Self {
            mysql,
            redis,
            smtp,
            roles,
            links,
            keys,
            apis,
        }
    }

    /// Returns the URL of the database itself, without a proxy, on the server that accepts writes.
    pub(crate) async fn database(&self) -> String {
        self.mysql.writable().await
    }

    /// Returns the keyring file of all processes.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.keys.file()
    }

    /// Carries out the planned faults, and returns violations.
    pub(crate) async fn suffer(&mut self, faults: &[Fault]) -> Vec<String> {
        let mut by_target: BTreeMap<Target, Vec<Fault>> = BTreeMap::new();
        for fault in faults {
            by_target.entry(fault.target).or_default().push(*fault);
        }
        let of = |target| by_target.get(&target).cloned().unwrap_or_default();
        let began = Instant::now();
        let end = began + faults.iter().map(Fault::end).max().unwrap_or_default();
        let roles = self.roles.iter_mut().enumerate();
        let roles = join_all(roles.map(|(number, role)| role.suffer(began, end, of(Target::Role(number)))));
        let links = self.links.iter().enumerate();
        let links = join_all(links.map(|(number, link)| suffer_link(link, began, of(Target::Link(number)))));
        let (roles, _, (), (), (), keys) = tokio::join!(
            roles,
            links,
            self.mysql.suffer(began, of(Target::Mysql)),
            self.redis.suffer(began, of(Target::Redis)),
            suffer_smtp(&mut self.smtp, began, of(Target::Smtp)),
            self.keys.suffer(began, of(Target::Keys))
        );
        roles.into_iter().flatten().chain(keys).collect()
    }

    /// Returns the memory and descriptors of every role.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        self.roles.iter().map(Role::usage).collect()
    }

    /// Returns the pids of the running roles.
    pub(crate) fn running(&self) -> Vec<u32> {
        let running = self.roles.iter().filter(|role| role.program.is_running());
        running.map(|role| role.program.pid()).collect()
    }

    /// Returns the logs of all roles.
    pub(crate) fn logs(&self) -> String {
        let logs = self
            .roles
            .iter()
            .map(|role| format!("== {}\n{}\n", role.name, role.program.log()));
        logs.collect()
    }

    /// Stops every role, and returns violations.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        join_all(self.roles.iter_mut().map(Role::terminate))
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

fn ends(role: &str) -> Vec<End> {
    let mut ends = vec![End::Mysql, End::Redis];
    if role == "mailer" {
        ends.push(End::Smtp);
    }
    ends
}

pub(crate) async fn is_ready(api: &str) -> bool {
    let http = testkit::http_client()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let answer = http.get(format!("{api}/health/ready")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

async fn until(moment: Instant) {
    tokio::time::sleep_until(moment.into()).await;
}

impl Role {
    async fn suffer(&mut self, began: Instant, end: Instant, faults: Vec<Fault>) -> Vec<String> {
        let mut incidents = Vec::new();
        for fault in faults {
            self.watch_until(began + fault.at, &mut incidents).await;
            match fault.kind {
                Kind::Kill => self.program.kill9().await,
                Kind::Terminate => incidents.extend(self.terminate().await),
                _ => self.program.signal("STOP"),
            }
            until(began + fault.end()).await;
            if fault.kind == Kind::Stop {
                self.program.signal("CONT");
            } else {
                self.start().await;
            }
        }
        self.watch_until(end, &mut incidents).await;
        incidents
    }

    async fn start(&mut self) {
        self.program.restart().await;
        self.started = Instant::now();
    }

    /// Restarts the process if it exits by itself, as its supervisor would.
    async fn watch_until(&mut self, moment: Instant, incidents: &mut Vec<String>) {
        while Instant::now() < moment {
            if !self.program.is_running() {
                let status = self.program.wait(WATCH).await;
                let log = self.program.stderr();
                let last: Vec<_> = log.lines().rev().take(3).collect();
                incidents.push(format!("{} ended by itself with {status}: {last:?}", self.name));
                self.start().await;
            }
            until(moment.min(Instant::now() + WATCH)).await;
        }
    }

    /// Stops the process. Unless it has just started, it must exit with code 0, or with code 1 after the
    /// shutdown timeout.
    async fn terminate(&mut self) -> Option<String> {
        let hears = self.started.elapsed() > LISTENS;
        let began = Instant::now();
        self.program.terminate();
        while self.program.is_running() {
            if began.elapsed() > SHUTDOWN + Duration::from_secs(5) {
                self.program.kill9().await;
                return Some(format!("{} did not end when it was asked to", self.name));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = self.program.wait(WATCH).await;
        let in_time = began.elapsed() < SHUTDOWN;
        (status != 0 && hears && (in_time || status != 1)).then(|| {
            format!(
                "{} ended with {status} when it was asked to, after {:?}",
                self.name,
                began.elapsed()
            )
        })
    }

    fn usage(&self) -> Usage {
        let folder = format!("/proc/{}", self.program.pid());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes: u64 = line
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or_default();
        let descriptors = std::fs::read_dir(format!("{folder}/fd")).map_or(0, Iterator::count);
        Usage {
            role: self.name.clone(),
            memory: kibibytes * 1024,
            descriptors,
        }
    }
}

async fn suffer_link(link: &Proxy, began: Instant, faults: Vec<Fault>) {
    for fault in faults {
        until(began + fault.at).await;
        match fault.kind {
            Kind::Reset => link.delay(fault.lasts / 4),
            Kind::Delay => link.delay(fault.lasts / 10),
            _ => link.refuse(true),
        }
        until(began + fault.end()).await;
        if fault.kind == Kind::Reset {
            link.reset();
        }
        link.delay(Duration::ZERO);
        link.refuse(false);
    }
}

suffer!(suffer_mysql, testkit::PrivateMysql);
suffer!(suffer_redis, testkit::RedisServer);
suffer!(suffer_smtp, SmtpServer);
