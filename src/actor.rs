//! Who runs this process, as the operating system knows it. `USER` and `SUDO_USER` are not asked: anybody can
//! set them.

use std::ffi::OsStr;

/// Maximum length of a part of the name, in characters.
const LONGEST: usize = 64;
/// Where Linux keeps the user that a session began with. Later changes of user, such as by sudo, leave it as
/// it is.
const LOGIN: &str = "/proc/self/loginuid";
/// Stands there for a process outside any session.
const NO_LOGIN: u32 = u32::MAX;

/// The effective user and the host, as `root@host`; and the user that logged in, if that is another one, as
/// `root@host (login ana)`.
pub(crate) fn actor() -> String {
    let host = hostname::get().ok();
    let host = host.as_deref().map_or_else(|| "unknown".to_owned(), part);
    let effective = uzers::get_effective_uid();
    let user = format!("{}@{host}", name(effective));
    let login = std::fs::read_to_string(LOGIN)
        .ok()
        .and_then(|login| login.trim().parse().ok())
        .filter(|login| *login != NO_LOGIN && *login != effective);
    match login {
        Some(login) => format!("{user} (login {})", name(login)),
        None => user,
    }
}

/// The name of a user; `uid:NUMBER` for a user that has no name, as in many containers.
fn name(uid: u32) -> String {
    uzers::get_user_by_uid(uid).map_or_else(|| format!("uid:{uid}"), |user| part(user.name()))
}

fn part(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
