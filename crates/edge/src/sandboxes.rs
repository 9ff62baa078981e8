//! The sandboxes this edge may reach, as the control plane last said.

use crate::egress::outlet::Outlet;
use crate::exposures::{self, Exposure};
use crate::pool::Pool;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wardian_wire::edge::{Route, RouteState};
use wardian_wire::SandboxId;

/// How long a request waits for the first routes.
const WAIT_FOR_ROUTES: Duration = Duration::from_secs(10);

/// One sandbox and all the edge holds open for it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: SandboxId,
    rule: RwLock<Rule>,
    /// Cancelled when the sandbox is gone; everything of it ends then.
    pub(crate) cut: CancellationToken,
    pub(crate) pool: Arc<Pool>,
    /// Unconnected sockets made in its edge namespace.
    pub(crate) spares: Mutex<Vec<OwnedFd>>,
    /// Its way out.
    pub(crate) outlet: Outlet,
}

#[derive(Debug)]
struct Rule {
    state: RouteState,
    traffic_token: Option<String>,
    exposures: Vec<Arc<Exposure>>,
}

/// The routes are not known yet.
#[derive(Debug)]
pub(crate) struct NotSynced;

/// All sandboxes.
#[derive(Debug)]
pub(crate) struct Sandboxes {
    table: RwLock<HashMap<SandboxId, Arc<Sandbox>>>,
    synced: watch::Sender<bool>,
}

impl Sandbox {
    fn new(route: Route) -> Self {
        let cut = CancellationToken::new();
        let exposures = exposures::changed(Vec::new(), route.exposures, &cut);
        let outlet = Outlet::new(&route.sandbox, route.egress, route.facts);
        Self {
            id: route.sandbox,
            rule: RwLock::new(Rule {
                state: route.state,
                traffic_token: route.traffic_token,
                exposures,
            }),
            cut,
            pool: Arc::default(),
            spares: Mutex::default(),
            outlet,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner);
        rule.state == RouteState::Running
    }

    /// Whether a request that brought `given` may go to a port, in time that depends on no
    /// content of either token.
    pub(crate) fn admits(&self, given: Option<&[u8]>) -> bool {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner);
        match (&rule.traffic_token, given) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(token), Some(given)) => token.as_bytes().ct_eq(given).into(),
        }
    }

    fn update(&self, route: Route) {
        self.outlet.set(&self.id, route.egress, route.facts);
        let mut rule = self.rule.write().unwrap_or_else(PoisonError::into_inner);
        rule.state = route.state;
        rule.traffic_token = route.traffic_token;
        let before = std::mem::take(&mut rule.exposures);
        rule.exposures = exposures::changed(before, route.exposures, &self.cut);
    }

    /// The exposure of this port and token.
    pub(crate) fn exposure(&self, port: u16, token: &str) -> Option<Arc<Exposure>> {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner);
        exposures::find(&rule.exposures, port, token)
    }

    fn exposures(&self) -> Vec<Arc<Exposure>> {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner);
        rule.exposures.clone()
    }
}

impl Default for Sandboxes {
    fn default() -> Self {
        Self {
            table: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl Sandboxes {
    /// Finds a sandbox; waits for the first routes if there are none yet.
    ///
    /// # Errors
    /// [`NotSynced`] if they have not come in time.
    pub(crate) async fn find(&self, id: &SandboxId) -> Result<Option<Arc<Sandbox>>, NotSynced> {
        if !*self.synced.borrow() {
            let mut synced = self.synced.subscribe();
            let arrived = tokio::time::timeout(WAIT_FOR_ROUTES, synced.wait_for(|known| *known));
            if !matches!(arrived.await, Ok(Ok(_))) {
                return Err(NotSynced);
            }
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Ok(table.get(id).cloned())
    }

    /// A sandbox is new or has changed.
    pub(crate) fn put(&self, route: Route) -> Arc<Sandbox> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.get(&route.sandbox) {
            known.update(route);
            return Arc::clone(known);
        }
        let sandbox = Arc::new(Sandbox::new(route));
        table.insert(sandbox.id.clone(), Arc::clone(&sandbox));
        sandbox
    }

    /// A sandbox is gone, if it was there: all that is open for it ends.
    pub(crate) fn remove(&self, sandbox: &SandboxId) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let removed = table.remove(sandbox);
        drop(table);
        if let Some(removed) = removed {
            removed.end();
        }
    }

    /// These are all there are. From the first time on requests need not wait.
    pub(crate) fn replace(&self, routes: Vec<Route>) -> Vec<Arc<Sandbox>> {
        let kept: HashSet<SandboxId> = routes.iter().map(|route| route.sandbox.clone()).collect();
        let present = routes.into_iter().map(|route| self.put(route)).collect();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<SandboxId> = table
            .keys()
            .filter(|id| !kept.contains(id))
            .cloned()
            .collect();
        let gone: Vec<Arc<Sandbox>> = gone.iter().filter_map(|id| table.remove(id)).collect();
        drop(table);
        for sandbox in gone {
            sandbox.end();
        }
        self.synced.send_replace(true);
        present
    }

    /// Drops what has been idle too long.
    pub(crate) fn sweep(&self) {
        let all: Vec<Arc<Sandbox>> = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.values().cloned().collect()
        };
        for sandbox in all {
            for exposure in sandbox.exposures() {
                exposure.sweep();
            }
            if sandbox.pool.sweep() {
                let mut spares = sandbox
                    .spares
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *spares = Vec::new();
            }
        }
    }
}

impl Sandbox {
    fn end(&self) {
        self.cut.cancel();
        for exposure in self.exposures() {
            exposure.end();
        }
        self.pool.clear();
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        *spares = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_wire::egress::policy::Policy;

    const ID: &str = "aaaaaaaaaaaaaaaaaaa2";

    fn id() -> SandboxId {
        SandboxId::parse(ID).unwrap()
    }

    fn route(state: RouteState, token: Option<&str>) -> Route {
        Route {
            sandbox: id(),
            state,
            traffic_token: token.map(str::to_owned),
            exposures: Vec::new(),
            egress: Policy::default(),
            facts: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_change_keeps_what_is_open_and_a_removal_cuts_it() {
        let sandboxes = Sandboxes::default();
        let first = route(RouteState::Running, None);
        sandboxes.replace(vec![first]);
        let before = sandboxes.find(&id()).await.unwrap().unwrap();
        assert!(before.is_running() && before.admits(None));
        let second = route(RouteState::Paused, Some("secret"));
        assert!(Arc::ptr_eq(&sandboxes.put(second), &before));
        assert!(!before.is_running() && !before.cut.is_cancelled());
        assert!(before.admits(Some(b"secret")) && !before.admits(Some(b"secre")));
        assert!(!before.admits(None));
        sandboxes.remove(&id());
        assert!(before.cut.is_cancelled());
        assert!(sandboxes.find(&id()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_a_sync_does_not_name_is_gone() {
        let sandboxes = Sandboxes::default();
        sandboxes.put(route(RouteState::Running, None));
        sandboxes.replace(vec![]);
        assert!(sandboxes.find(&id()).await.unwrap().is_none());
    }
}
