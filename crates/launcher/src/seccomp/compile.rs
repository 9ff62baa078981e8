//! A compiler from rules per system call to BPF: ranges of calls that share an answer are found by
//! binary search, so that a call costs a handful of instructions.

use super::TooLong;
use libc::sock_filter;

#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Calls of the x32 ABI carry this bit and the architecture of x86-64.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;
/// The kernel's own limit.
const LONGEST: usize = 4096;

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allowed,
    /// `EPERM`.
    Denied,
    /// `ENOSYS`: as if the kernel were older.
    Missing,
    /// `EAFNOSUPPORT`.
    UnsupportedFamily,
}

impl Action {
    fn value(self) -> u32 {
        let errno = |errno: libc::c_int| libc::SECCOMP_RET_ERRNO | errno as u32;
        match self {
            Self::Allowed => libc::SECCOMP_RET_ALLOW,
            Self::Denied => errno(libc::EPERM),
            Self::Missing => errno(libc::ENOSYS),
            Self::UnsupportedFamily => errno(libc::EAFNOSUPPORT),
        }
    }
}

/// Where an argument is. All that is looked at here the kernel takes as 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// The low half of the argument with this index.
    Low(u32),
}

impl Argument {
    fn load(self) -> sock_filter {
        let Self::Low(index) = self;
        statement(LOAD, ARGUMENTS_AT + 8 * index)
    }
}

/// Allows a call depending on an argument.
#[derive(Debug)]
pub(super) struct Test {
    code: Vec<sock_filter>,
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn answer(action: Action) -> sock_filter {
    statement(RETURN, action.value())
}

impl Test {
    /// Allowed if the argument has none of `bits`, else `otherwise`.
    pub(super) fn no_bits(argument: Argument, bits: u32, otherwise: Action) -> Self {
        let code = vec![
            argument.load(),
            jump(JUMP_ANY_BIT, bits, 0, 1),
            answer(otherwise),
            answer(Action::Allowed),
        ];
        Self { code }
    }

    /// Allowed if the argument is one of `values`, else `otherwise`.
    pub(super) fn one_of(argument: Argument, values: &[u32], otherwise: Action) -> Self {
        let mut code = vec![argument.load()];
        for value in values {
            code.push(jump(JUMP_EQUAL, *value, 0, 1));
            code.push(answer(Action::Allowed));
        }
        code.push(answer(otherwise));
        Self { code }
    }

    /// `otherwise` if the argument is one of `values`, else allowed.
    pub(super) fn none_of(argument: Argument, values: &[u32], otherwise: Action) -> Self {
        let mut code = vec![argument.load()];
        for value in values {
            code.push(jump(JUMP_EQUAL, *value, 0, 1));
            code.push(answer(otherwise));
        }
        code.push(answer(Action::Allowed));
        Self { code }
    }

    /// Also allowed if what was looked at is `value` and then `argument` is one of `values`.
    pub(super) fn or_when(mut self, value: u32, argument: Argument, values: &[u32]) -> Self {
        let Some(last) = self.code.pop() else {
            return self;
        };
        self.code.push(jump(JUMP_EQUAL, value, 1, 0));
        self.code.push(last);
        self.code.push(argument.load());
        for value in values {
            self.code.push(jump(JUMP_EQUAL, *value, 0, 1));
            self.code.push(answer(Action::Allowed));
        }
        self.code.push(last);
        self
    }
}

/// Collects rules.
#[derive(Debug)]
pub(super) struct Compiler {
    rules: Vec<(u32, Vec<sock_filter>)>,
}

impl Compiler {
    pub(super) fn new() -> Self {
        Self { rules: Vec::new() }
    }

    /// The same answer whatever the arguments. A rule given earlier for the call stays.
    pub(super) fn always(&mut self, call: libc::c_long, action: Action) {
        self.add(call, vec![answer(action)]);
    }

    /// An answer that depends on an argument.
    pub(super) fn test(&mut self, call: libc::c_long, test: Test) {
        self.add(call, test.code);
    }

    fn add(&mut self, call: libc::c_long, code: Vec<sock_filter>) {
        let Ok(call) = u32::try_from(call) else {
            return;
        };
        if !self.rules.iter().any(|(known, _)| *known == call) {
            self.rules.push((call, code));
        }
    }

    /// Compiles. Calls up to `last_known` without a rule are denied, later ones are missing: a
    /// program then falls back to what it did before the kernel had them.
    pub(super) fn finish(mut self, last_known: libc::c_long) -> Result<Vec<sock_filter>, TooLong> {
        self.rules.sort_by_key(|(call, _)| *call);
        let ranges = self.ranges(u32::try_from(last_known).map_err(|_| TooLong)?);
        let kill = statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
        let mut program = vec![
            statement(LOAD, ARCHITECTURE_AT),
            jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
            kill,
            statement(LOAD, NUMBER_AT),
        ];
        #[cfg(target_arch = "x86_64")]
        program.extend([jump(JUMP_AT_LEAST, X32, 0, 1), kill]);
        program.extend(search(&ranges));
        if program.len() > LONGEST {
            return Err(TooLong);
        }
        Ok(program)
    }

    /// First call of each range and what to do from there on.
    fn ranges(&self, last_known: u32) -> Vec<(u32, Vec<sock_filter>)> {
        let denied = vec![answer(Action::Denied)];
        let missing = vec![answer(Action::Missing)];
        let mut ranges: Vec<(u32, Vec<sock_filter>)> = Vec::new();
        let mut push = |first: u32, code: &Vec<sock_filter>| {
            if !ranges.last().is_some_and(|(_, last)| same(last, code)) {
                ranges.push((first, code.clone()));
            }
        };
        let mut next = 0;
        for (call, code) in &self.rules {
            if *call > next {
                push(next, &denied);
            }
            push(*call, code);
            next = call + 1;
        }
        if next <= last_known {
            push(next, &denied);
        }
        push(next.max(last_known + 1), &missing);
        ranges
    }
}

fn same(left: &[sock_filter], right: &[sock_filter]) -> bool {
    let key = |f: &sock_filter| (f.code, f.jt, f.jf, f.k);
    left.iter().map(key).eq(right.iter().map(key))
}

/// A binary search over the first call of each range.
fn search(ranges: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    match ranges {
        [] => Vec::new(),
        [(_, code)] => code.clone(),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let below = search(low);
            // A conditional jump reaches 255 instructions only; a plain one reaches everywhere.
            let distance = u32::try_from(below.len()).unwrap_or(u32::MAX);
            let mut code = vec![
                jump(JUMP_AT_LEAST, high[0].0, 0, 1),
                statement(JUMP, distance),
            ];
            code.extend(below);
            code.extend(search(high));
            code
        }
    }
}

/// Runs a program as the kernel does, for tests.
#[cfg(test)]
pub(super) fn simulate(
    program: &[sock_filter],
    arch: u32,
    number: u32,
    arguments: [u64; 3],
) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend([0; 8]);
    arguments.iter().for_each(|a| data.extend(a.to_le_bytes()));
    let (mut at, mut value) = (0, 0_u32);
    loop {
        let step = program[at];
        let condition = match step.code {
            LOAD => {
                let from = step.k as usize;
                value = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
                at += 1;
                continue;
            }
            JUMP => {
                at += 1 + step.k as usize;
                continue;
            }
            RETURN => return step.k,
            JUMP_EQUAL => value == step.k,
            JUMP_AT_LEAST => value >= step.k,
            JUMP_ANY_BIT => value & step.k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += 1 + usize::from(if condition { step.jt } else { step.jf });
    }
}
