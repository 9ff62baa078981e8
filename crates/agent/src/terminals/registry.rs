//! Which terminals there are.

use super::command::Wanted;
use super::terminal::{self, Terminal};
use crate::agent::Agent;
use crate::http::native::Problem;
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::sleep;
use wardian_wire::name;

/// The most terminals of one sandbox, those of single connections included.
const MOST: usize = 64;
/// How long a terminal stays for late readers when its program has ended.
const RETENTION: Duration = Duration::from_secs(600);
/// The name that is none: a terminal of the connection's own.
pub(super) const NEW: &str = "new";

/// All terminals of this agent.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    named: RefCell<BTreeMap<String, Rc<Terminal>>>,
    /// How many belong to one connection each.
    own: Cell<usize>,
    /// How many names have been made up.
    counted: Cell<u64>,
    /// Held while one is started, so that two who ask for the same name at once get one.
    starting: Mutex<()>,
}

/// A terminal that ends with its connection; counts as one until dropped.
pub(super) struct Own {
    agent: Rc<Agent>,
    pub(super) terminal: Rc<Terminal>,
}

impl Drop for Own {
    fn drop(&mut self) {
        let own = &self.agent.terminals.own;
        own.set(own.get().saturating_sub(1));
        let terminal = Rc::clone(&self.terminal);
        tokio::task::spawn_local(async move { terminal.kill().await });
    }
}

impl Registry {
    /// All named terminals, by name.
    pub(super) fn all(&self) -> Vec<Rc<Terminal>> {
        self.named.borrow().values().map(Rc::clone).collect()
    }

    /// The terminal called `name`.
    ///
    /// # Errors
    /// 404 `terminal_not_found`.
    pub(super) fn find(&self, name: &str) -> Result<Rc<Terminal>, Problem> {
        let found = self.named.borrow().get(name).map(Rc::clone);
        found.ok_or_else(|| {
            let message = format!("there is no terminal '{}'", name.escape_debug());
            Problem::new(StatusCode::NOT_FOUND, "terminal_not_found", message)
                .hint("GET /v1/terminals lists those there are")
        })
    }

    /// Starts a terminal; `name` is made up if absent. One whose program has ended is replaced.
    ///
    /// # Errors
    /// 409 `terminal_exists`, 503 `no_capacity` at [`MOST`], and those of [`terminal::start`].
    pub(super) async fn create(
        &self,
        agent: &Rc<Agent>,
        name: Option<String>,
        wanted: &Wanted,
    ) -> Result<Rc<Terminal>, Problem> {
        let name = match name {
            Some(name) => checked(name)?,
            None => self.free_name(),
        };
        let _turn = self.starting.lock().await;
        if self.running(&name).is_some() {
            let message = format!("there is a terminal '{name}' already");
            let problem = Problem::new(StatusCode::CONFLICT, "terminal_exists", message);
            return Err(problem.hint("attach to it, delete it, or use another name"));
        }
        self.start(agent, name, wanted).await
    }

    /// The terminal called `name` if its program runs, else a new one. Returns whether it was
    /// there.
    ///
    /// # Errors
    /// Those of [`Registry::create`] but `terminal_exists`.
    pub(super) async fn find_or_create(
        &self,
        agent: &Rc<Agent>,
        name: &str,
        wanted: &Wanted,
    ) -> Result<(Rc<Terminal>, bool), Problem> {
        let name = checked(name.to_owned())?;
        let _turn = self.starting.lock().await;
        match self.running(&name) {
            Some(terminal) => Ok((terminal, true)),
            None => Ok((self.start(agent, name, wanted).await?, false)),
        }
    }

    /// Starts a terminal that lives as long as what this returns.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub(super) async fn create_own(
        &self,
        agent: &Rc<Agent>,
        wanted: &Wanted,
    ) -> Result<Own, Problem> {
        let _turn = self.starting.lock().await;
        self.make_room()?;
        let terminal = terminal::start(agent, None, wanted).await?;
        self.own.set(self.own.get() + 1);
        let agent = Rc::clone(agent);
        Ok(Own { agent, terminal })
    }

    /// Kills a terminal's program and forgets it.
    ///
    /// # Errors
    /// Those of [`Registry::find`].
    pub(super) async fn delete(&self, name: &str) -> Result<(), Problem> {
        let terminal = self.find(name)?;
        terminal.kill().await;
        self.forget(&terminal);
        Ok(())
    }

    async fn start(
        &self,
        agent: &Rc<Agent>,
        name: String,
        wanted: &Wanted,
    ) -> Result<Rc<Terminal>, Problem> {
        if !self.named.borrow().contains_key(&name) {
            self.make_room()?;
        }
        let terminal = terminal::start(agent, Some(name.clone()), wanted).await?;
        self.named.borrow_mut().insert(name, Rc::clone(&terminal));
        tokio::task::spawn_local(retire(Rc::clone(agent), Rc::clone(&terminal)));
        Ok(terminal)
    }

    fn running(&self, name: &str) -> Option<Rc<Terminal>> {
        let named = self.named.borrow();
        let found = named.get(name).filter(|t| t.ending().is_none());
        found.map(Rc::clone)
    }

    /// Makes room for one more, if need be by forgetting the one that ended first.
    fn make_room(&self) -> Result<(), Problem> {
        let mut named = self.named.borrow_mut();
        if named.len() + self.own.get() < MOST {
            return Ok(());
        }
        let ended = named
            .iter()
            .filter_map(|(name, terminal)| Some((terminal.ending()?.since, name.clone())));
        match ended.min() {
            Some((_, name)) => {
                named.remove(&name);
                Ok(())
            }
            None => {
                let message = format!("the sandbox has {MOST} terminals, the most there can be");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let problem = Problem::new(status, "no_capacity", message);
                Err(problem.hint("delete one that is no longer needed"))
            }
        }
    }

    fn forget(&self, terminal: &Rc<Terminal>) {
        self.named
            .borrow_mut()
            .retain(|_, known| !Rc::ptr_eq(known, terminal));
    }

    fn free_name(&self) -> String {
        loop {
            let count = self.counted.get() + 1;
            self.counted.set(count);
            let name = format!("terminal-{count}");
            if !self.named.borrow().contains_key(&name) {
                return name;
            }
        }
    }
}

/// Forgets a terminal some time after it has ended, or when it has been replaced.
async fn retire(agent: Rc<Agent>, terminal: Rc<Terminal>) {
    terminal.wait().await;
    sleep(RETENTION).await;
    agent.terminals.forget(&terminal);
}

/// A name as sandboxes have them, but [`NEW`].
fn checked(name: String) -> Result<String, Problem> {
    if name::is_valid(&name) && name != NEW {
        return Ok(name);
    }
    let message = format!("'{}' is no name for a terminal", name.escape_debug());
    let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message);
    Err(problem.hint("1 to 63 of a-z, 0-9 and -, neither first nor last a -, and not 'new'"))
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn names_are_like_those_of_sandboxes_but_new() {
        assert!(checked("main".to_owned()).is_ok());
        for bad in ["", "new", "A", "a/b"] {
            assert!(checked(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
