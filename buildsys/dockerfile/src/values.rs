//! Paths, modes and signals.

/// Signals of Linux by name, without `SIG`.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS",
    "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU",
    "XFSZ",
];

/// `path` as an absolute one, seen from `folder`, without `.`, `..`, doubled or trailing slashes.
pub(crate) fn clean_path(folder: &str, path: &str) -> String {
    let folder = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether chmod takes it: octal up to 7777, or symbolic.
pub(crate) fn is_mode(text: &str) -> bool {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    }
    text.split(',').all(|clause| {
        let operations = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        operations.starts_with(['+', '-', '=']) && {
            let mut parts = operations.split(['+', '-', '=']);
            parts.all(|part| {
                part.chars()
                    .all(|c| matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't'))
                    || matches!(part, "u" | "g" | "o")
            })
        }
    })
}

/// Whether it names a signal: a number, or a name with or without `SIG`.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|offset| offset.parse::<u8>().is_ok_and(|offset| offset <= 15))
    };
    SIGNALS.contains(&name) || realtime("RTMIN+") || realtime("RTMAX-")
}
