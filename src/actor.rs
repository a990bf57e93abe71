//! The user that runs this process, as the operating system reports it. `USER` and `SUDO_USER` are ignored
//! because any user can set them.

use std::ffi::OsStr;

/// Maximum length of a part of the name, in characters.
const LONGEST: usize = 64;
/// File in which Linux records the user of the login session. A later change of user, for example with sudo,
/// does not alter it.
const LOGIN: &str = "/proc/self/loginuid";
/// Value of the file for a process outside any login session.
const NO_LOGIN: u32 = u32::MAX;

/// Returns the effective user and the host, as `root@host`. If a different user logged in, appends that user:
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

/// Returns the name of a user, or `uid:NUMBER` for a user without a name, as in many containers.
fn name(uid: u32) -> String {
    uzers::get_user_by_uid(uid).map_or_else(|| format!("uid:{uid}"), |user| part(user.name()))
}

fn part(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
