//! `--chmod`: octal, or symbolic as chmod(1) takes it (POSIX, "chmod", operands).

/// Read, write and search for everybody.
const ALL: u32 = 0o777;
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod(Change);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// These bits and no others.
    Exactly(u32),
    /// One after another.
    Steps(Vec<Step>),
}

/// One `who op what`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// Bits that it may change.
    who: u32,
    op: Op,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Bits; `search` adds x where something is searchable or executable already.
    Bits { bits: u32, search: bool },
    /// What owner (2), group (1) or others (0) have: its place among the three.
    Copy(u32),
}

impl Chmod {
    /// Reads octal digits up to 7777, or clauses such as `u=rwX,go=rX`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok()?;
            return (mode <= 0o7777).then_some(Self(Change::Exactly(mode)));
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            clause_steps(clause, &mut steps)?;
        }
        Some(Self(Change::Steps(steps)))
    }

    /// The bits, where they do not depend on what is there.
    pub fn exact(&self) -> Option<u32> {
        match self.0 {
            Change::Exactly(mode) => Some(mode),
            Change::Steps(_) => None,
        }
    }

    /// The mode that something of `mode` gets.
    pub fn apply(&self, mode: u32, folder: bool) -> u32 {
        match &self.0 {
            Change::Exactly(exact) => *exact,
            Change::Steps(steps) => {
                // X asks about what was there before all of it.
                let searchable = folder || mode & 0o111 != 0;
                steps
                    .iter()
                    .fold(mode, |mode, step| step.apply(mode, searchable))
            }
        }
    }
}

impl Step {
    fn apply(&self, mode: u32, searchable: bool) -> u32 {
        let bits = match self.what {
            What::Bits { bits, search } => bits | if search && searchable { 0o111 } else { 0 },
            What::Copy(place) => ((mode >> (3 * place)) & 0o7) * 0o111,
        };
        match self.op {
            Op::Add => mode | (bits & self.who),
            Op::Remove => mode & !(bits & self.who),
            Op::Set => (mode & !self.who) | (bits & self.who),
        }
    }
}

/// `ugoa` and what follows: one or more of `+rwx`, `-s`, `=g`.
fn clause_steps(clause: &str, steps: &mut Vec<Step>) -> Option<()> {
    let mut chars = clause.chars().peekable();
    let mut who = 0;
    while let Some(class) = chars.next_if(|c| "ugoa".contains(*c)) {
        who |= match class {
            'u' => SET_UID | 0o700,
            'g' => SET_GID | 0o070,
            'o' => 0o007,
            _ => SET_UID | SET_GID | ALL,
        };
    }
    chars.peek()?;
    while let Some(op) = chars.next() {
        let op = match op {
            '+' => Op::Add,
            '-' => Op::Remove,
            '=' => Op::Set,
            _ => return None,
        };
        // Without a class it is everybody; others alone have no set-id and no sticky bit.
        let special = who == 0 || who & (0o770 | SET_UID | SET_GID) != 0;
        let mut step_who = if who == 0 {
            SET_UID | SET_GID | ALL
        } else {
            who
        };
        let (mut bits, mut search, mut copied) = (0, false, false);
        while let Some(c) = chars.next_if(|c| !"+-=".contains(*c)) {
            match c {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                // There is nothing to take away only where it is searchable: x goes.
                'X' if op == Op::Remove => bits |= 0o111,
                'X' => search = true,
                's' if special => bits |= SET_UID | SET_GID,
                't' if special => {
                    bits |= STICKY;
                    step_who |= STICKY;
                }
                's' | 't' => {}
                'u' | 'g' | 'o' => {
                    let place = match c {
                        'u' => 2,
                        'g' => 1,
                        _ => 0,
                    };
                    let what = What::Copy(place);
                    // A copy sets permissions alone, and the second one of a clause adds to the first.
                    let op = if copied && op == Op::Set { Op::Add } else { op };
                    steps.push(Step {
                        who: step_who & ALL,
                        op,
                        what,
                    });
                    copied = true;
                }
                _ => return None,
            }
        }
        if bits != 0 || search || !copied {
            let op = if copied && op == Op::Set { Op::Add } else { op };
            let what = What::Bits { bits, search };
            steps.push(Step {
                who: step_who,
                op,
                what,
            });
        }
    }
    Some(())
}
