//! A sandbox with a policy, servers that it may reach, and clients in it.

use crate::egress::first_bytes::First;
use crate::egress::flow::Flow;
use crate::egress::handlers::Handlers;
use crate::egress::opened::authority::tests::pem;
use crate::egress::opened::authority::Authority;
use crate::egress::opened::serve;
use crate::egress::Egress;
use crate::launcher_client::Launcher;
use crate::sandboxes::{Sandbox, Sandboxes};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use wardian_wire::edge::{FromEdge, Route, RouteState};
use wardian_wire::egress::destination::{Destination, Host};
use wardian_wire::egress::event::Event;
use wardian_wire::egress::policy::{Action, Allow, Policy, Rule, Settings};
use wardian_wire::tls_hello::{ClientHello, ServerName as Named};
use wardian_wire::SandboxId;

pub(super) type TestBody = UnsyncBoxBody<Bytes, Infallible>;
pub(super) const NAME: &str = "api.example.com";

pub(super) struct World {
    pub(super) egress: Arc<Egress>,
    pub(super) sandbox: Arc<Sandbox>,
    sandboxes: Sandboxes,
    /// Whom sandboxes trust, and who signs for servers.
    authority: String,
    pub(super) servers: Authority,
}

pub(super) fn text(text: impl Into<Bytes>) -> TestBody {
    Full::new(text.into()).boxed_unsync()
}

pub(super) fn rule(name: &str, connect_to: Option<SocketAddr>) -> Rule {
    Rule {
        name: name.to_owned(),
        hosts: vec![NAME.to_owned()],
        ports: Vec::new(),
        cidrs: Vec::new(),
        methods: Vec::new(),
        path: None,
        action: match connect_to {
            None => Action::Deny {},
            Some(address) => Action::Allow(Box::new(Allow {
                connect_to: Some(address.to_string()),
                ..Allow::default()
            })),
        },
    }
}

pub(super) fn policy(rules: Vec<Rule>) -> Policy {
    let placeholders = Vec::new();
    Policy {
        rules,
        placeholders,
    }
}

impl World {
    /// A sandbox whose every request to the name goes to `server`.
    pub(super) fn to(server: SocketAddr) -> Self {
        Self::new(policy(vec![rule("all", Some(server))]))
    }

    pub(super) fn new(policy: Policy) -> Self {
        Self::trusting(policy, |roots| roots)
    }

    /// `trusted` makes the settings' text from the PEM of the servers' authority.
    pub(super) fn trusting(policy: Policy, trusted: impl FnOnce(String) -> String) -> Self {
        let (authority, key) = pem();
        let (outside, outside_key) = pem();
        let servers = Authority::new(&outside, &outside_key).unwrap();
        let launcher = Launcher::new("/nowhere".into());
        let egress = Arc::new(Egress::new(
            launcher,
            Handlers::new(None),
            CancellationToken::new(),
        ));
        egress.set(Settings {
            authority_certificate: authority.clone(),
            authority_key: key,
            trusted: trusted(outside),
        });
        let sandboxes = Sandboxes::default();
        let sandbox = sandboxes.put(Route {
            sandbox: SandboxId::parse("aaaaaaaaaaaaaaaaaaa2").unwrap(),
            state: RouteState::Running,
            traffic_token: None,
            exposures: Vec::new(),
            egress: policy,
            facts: Default::default(),
        });
        Self {
            egress,
            sandbox,
            sandboxes,
            authority,
            servers,
        }
    }

    /// Keeps the table of sandboxes alive as long as the world.
    pub(super) fn set(&self, policy: Policy) {
        let _ = &self.sandboxes;
        self.sandbox
            .outlet
            .set(&self.sandbox.id, policy, Default::default());
    }

    /// A connection of the sandbox to `port` of the name, as the edge takes it.
    pub(super) async fn dial(&self, port: u16, first: First) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let to = Destination {
            host: Host::parse(NAME).unwrap(),
            port,
        };
        let flow = Flow::new(Arc::clone(&self.sandbox), to);
        let served = serve(Arc::clone(&self.egress), flow, far.unwrap().0, first);
        self.egress.tasks.spawn(served);
        near.unwrap()
    }

    /// The same inside TLS, with these protocols offered.
    pub(super) async fn dial_tls(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        let stream = self.dial(443, hello()).await;
        let config = client_config(&self.authority, alpn);
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap()
    }

    pub(super) async fn http1(&self) -> http1::SendRequest<TestBody> {
        let stream = self.dial_tls(&["http/1.1"]).await;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    pub(super) async fn http2(&self) -> http2::SendRequest<TestBody> {
        let stream = TokioIo::new(self.dial_tls(&["h2"]).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Waits until this many events have been told.
    pub(super) async fn events(&self, count: usize) -> Vec<Event> {
        let mut all = Vec::new();
        while all.len() < count {
            self.egress.record.due().await;
            match self.egress.record.take().message() {
                FromEdge::Egress { events, .. } => all.extend(events),
                other => panic!("{other:?}"),
            }
        }
        all
    }

    /// A certificate that the world's servers show.
    pub(super) fn certificate(&self, name: &str) -> CertifiedKey {
        self.servers.issue(&Host::parse(name).unwrap()).unwrap()
    }
}

pub(super) fn hello() -> First {
    First::Tls(ClientHello {
        server_name: Named::Absent,
        alpn: Vec::new(),
        encrypted: false,
        length: 0,
    })
}

pub(super) fn client_config(authority: &str, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for one in rustls_pemfile::certs(&mut authority.as_bytes()) {
        roots.add(one.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A server's side: listens first, gets its certificate later.
pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves HTTP inside TLS.
pub(super) fn serve_tls<F, R>(listener: TcpListener, key: CertifiedKey, alpn: &[&str], answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<TestBody>> + Send + 'static,
{
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = alpn.iter().map(|one| one.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                serve_one(TokioIo::new(stream), answer).await;
            });
        }
    });
}

/// Serves HTTP in the clear.
pub(super) fn serve_plain<F, R>(listener: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<TestBody>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_one(TokioIo::new(stream), answer.clone()));
        }
    });
}

async fn serve_one<S, F, R>(stream: S, answer: F)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Send + 'static,
    R: Future<Output = Response<TestBody>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    // A client that goes away is what some tests are about.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(stream, service)
        .await;
}

pub(super) async fn whole<B>(response: Response<B>) -> String
where
    B: hyper::body::Body,
    B::Error: std::fmt::Debug,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
